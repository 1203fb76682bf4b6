"""VGG-16 and VGG-19 against torch's, from a file and from nothing; their derivatives; and what is refused."""

import functools
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

import jaxlosses as jl
from jaxlosses.feature_extractors import vgg
from tests import test_api
from tests.golden import golden, vgg_weights

GOLDEN = golden("vgg")["cases"]
JOHNSON = ("relu1_2", "relu2_2", "relu3_3", "relu4_3")
TINY = vgg.init(jax.random.key(0), width=2)
IMAGES, OTHERS = jax.random.uniform(jax.random.key(1), (2, 2, 16, 16, 3))


@pytest.mark.parametrize("name", vgg.__all__)
def test_docstrings_have_the_agreed_form(name, monkeypatch):
    monkeypatch.setitem(test_api.PUBLIC, name, getattr(vgg, name))
    test_api.test_a_docstring_has_its_parts(name)


@pytest.mark.parametrize("case", GOLDEN, ids=lambda case: f"{case['depth']}-{case['width']}-{case['pooling']}")
def test_torch_gives_the_same_activations_and_gradients(case, tmp_path):
    """A file with torchvision's names gives torch's activations and gradients; the case of width 64 is of full size."""
    path = tmp_path / "weights.safetensors"
    classifier = {"classifier.0.weight": np.zeros((2, 3), np.float32), "classifier.0.bias": np.zeros(2, np.float32)}
    save_file(vgg_weights.weights(case["depth"], case["width"]) | classifier, path)
    params = vgg.load(path)
    path.unlink()

    @jax.jit
    def maps_and_gradient(image):
        def total(image):
            maps = vgg.features(params, image, layers=tuple(case["layers"]), pooling=case["pooling"])
            return sum(jnp.mean(x**2) for x in maps.values()), maps

        return jax.grad(total, has_aux=True)(image)

    gradient, maps = maps_and_gradient(vgg_weights.image())
    results = maps | {"gradient": gradient}
    for name, expected in (case["layers"] | {"gradient": case["gradient of the sum of mean squares"]}).items():
        ours, tolerance = vgg_weights.summary(results[name]), 1e-4 * expected["std"]
        assert ours["shape"] == expected["shape"]
        for what in ("mean", "std", "picks"):
            np.testing.assert_allclose(ours[what], expected[what], rtol=1e-4, atol=tolerance, err_msg=name)


def test_the_entries_are_where_torchvision_has_them():
    positions = {
        16: [0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28],
        19: [0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34],
    }
    for depth, expected in positions.items():
        names = {f"features.{position}.{kind}" for position in expected for kind in ("weight", "bias")}
        assert set(vgg_weights.weights(depth, 1)) == names


def test_the_names_of_the_layers():
    for depth, convolutions in ((16, (2, 2, 3, 3, 3)), (19, (2, 2, 4, 4, 4))):
        params = jax.eval_shape(functools.partial(vgg.init, depth=depth, width=1), jax.random.key(0))
        layers = []
        for block, count in enumerate(convolutions, start=1):
            layers += [f"{kind}{block}_{i + 1}" for i in range(count) for kind in ("conv", "relu")] + [f"pool{block}"]
        run = functools.partial(vgg.features, layers=layers)
        maps = jax.eval_shape(run, params, jnp.zeros((2, 67, 40, 3)))
        assert set(maps) == set(layers)
        assert maps["pool5"].shape == (2, 2, 1, 8)
    assert list(vgg.features(TINY, IMAGES, layers=("relu1_1", "conv1_1"))) == ["relu1_1", "conv1_1"]
    assert list(vgg.features(TINY, IMAGES, layers="conv1_1")) == ["conv1_1"]


def test_initial_parameters_keep_the_scale():
    maps = jax.jit(lambda key: vgg.features(vgg.init(key, width=16), IMAGES, layers=JOHNSON[:3]))(jax.random.key(3))
    scales = [float(jnp.sqrt(jnp.mean(x**2))) for x in maps.values()]
    assert min(scales) > 0.3
    assert max(scales) < 4


def test_nothing_after_the_last_layer_is_computed():
    flops = [
        jax.jit(functools.partial(vgg.features, TINY, layers=layers)).lower(IMAGES).cost_analysis()["flops"]
        for layers in (["relu1_1"], ["pool3", "relu1_1"])
    ]
    assert flops[0] < 0.3 * flops[1]
    first = {name: TINY[name] for name in ("conv1_1", "conv1_2")}  # so parameters of later layers are not needed
    np.testing.assert_array_equal(
        vgg.features(first, IMAGES, layers=["pool1"])["pool1"], vgg.features(TINY, IMAGES, layers=["pool1"])["pool1"]
    )


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float64])
def test_it_computes_in_the_dtype_of_the_images(dtype):
    layers = JOHNSON[:2]
    with jax.enable_x64(True):
        run = jax.jit(functools.partial(vgg.features, TINY, layers=layers))
        maps = run(IMAGES.astype(dtype))
        assert {x.dtype for x in maps.values()} == {jnp.dtype(dtype)}
        loss = jl.perceptual_loss(maps, run(OTHERS.astype(dtype)))
    full = jl.perceptual_loss(IMAGES, OTHERS, extract=functools.partial(vgg.features, TINY, layers=layers))
    np.testing.assert_allclose(loss, full, rtol=0.1 if dtype == jnp.bfloat16 else 1e-5)


def test_normalize_is_of_imagenet():
    prepared = (IMAGES - jnp.array([0.485, 0.456, 0.406]).reshape(1, 1, 1, 3)) / jnp.array(
        [0.229, 0.224, 0.225]
    ).reshape(1, 1, 1, 3)
    ours, theirs = vgg.features(TINY, IMAGES), vgg.features(TINY, prepared, normalize=False)
    np.testing.assert_allclose(ours["relu2_2"], theirs["relu2_2"], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("pooling", ["max", "average"])
def test_derivatives_of_a_style_transfer(pooling):
    """Forward, reverse, second derivatives and vmap of the whole chain of images, network and loss."""
    extract = functools.partial(vgg.features, TINY, layers=("relu1_1", "relu2_1"), pooling=pooling)
    photo, painting = OTHERS[:1, :8, :8], OTHERS[1:, :8, :10]
    x, along = IMAGES[:1, :8, :8], OTHERS[1:, 8:16, 8:16] - 0.5

    def loss(x):
        layers = {"content_layers": ["relu2_1"], "style_layers": ["relu1_1", "relu2_1"], "style_weight": 10.0}
        return jl.content_style_loss(x, photo, painting, extract=extract, **layers, reduction="mean")

    def derivatives(x):
        _, forward = jax.jvp(loss, (x,), (along,))
        _, curve = jax.jvp(jax.grad(loss), (x,), (along,))
        mapped = jax.vmap(lambda image: jax.grad(loss)(image[None])[0])(jnp.concatenate([x, x + 1e-6 * along]))
        return forward, curve, mapped

    with jax.enable_x64(True):
        x, along, photo, painting = (a.astype(jnp.float64) for a in (x, along, photo, painting))
        slope, (forward, curve, mapped) = jax.jit(jax.grad(loss)), jax.jit(derivatives)(x)
        np.testing.assert_allclose(mapped[:1], slope(x), rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(forward, jnp.vdot(slope(x), along), rtol=1e-9)
        numeric = (slope(x + 1e-6 * along) - slope(x - 1e-6 * along)) / 2e-6
        np.testing.assert_allclose(curve, numeric, rtol=1e-5, atol=1e-6)


def test_a_masked_image_does_not_reach_the_network():
    def mean(x, params, where):
        extract = functools.partial(vgg.features, params, layers=JOHNSON[:2])
        return jl.style_loss(x, OTHERS, extract=extract, where=where, reduction="mean")

    step = jax.jit(jax.value_and_grad(mean, argnums=(0, 1)))
    corrupted, where = IMAGES.at[1].set(jnp.nan), jnp.array([True, False])
    expected, clean = step(IMAGES, TINY, where)
    value, gradients = step(corrupted, TINY, where)
    np.testing.assert_array_equal(value, expected)
    jax.tree.map(np.testing.assert_array_equal, gradients, clean)
    assert (gradients[0][1] == 0).all()


REFUSED = {
    "a layer of VGG-19": (
        lambda: vgg.features(TINY, IMAGES, layers=["relu3_4"]),
        r"^vgg.features: the network has no layer 'relu3_4'; did you mean 'relu",
    ),
    "a word": (
        lambda: vgg.features(TINY, IMAGES, layers=["logits"]),
        r"no layer 'logits'; it has conv1_1, relu1_1, conv1_2",
    ),
    "no layer": (
        lambda: vgg.features(TINY, IMAGES, layers=[]),
        r"^vgg.features: layers must name at least one layer, such as 'relu2_2'$",
    ),
    "another pooling": (
        lambda: vgg.features(TINY, IMAGES, pooling="mean"),
        r"pooling must be one of 'max', 'average', got 'mean'",
    ),
    "one image": (
        lambda: vgg.features(TINY, IMAGES[0]),
        r"images \(16, 16, 3\) must be \(N, H, W, 3\); did you mean images\[None\]\?",
    ),
    "channels first": (
        lambda: vgg.features(TINY, jnp.moveaxis(IMAGES, -1, 1)),
        r"\(2, 3, 16, 16\) must be .*jnp.moveaxis\(images, 1, -1\)\?",
    ),
    "grey": (lambda: vgg.features(TINY, IMAGES[..., :1]), r"images \(2, 16, 16, 1\) must be \(N, H, W, 3\)"),
    "too small": (
        lambda: vgg.features(TINY, IMAGES[:, :15], layers=["relu5_1"]),
        r"\(2, 15, 16, 3\) are too small for relu5_1: H and W must be 16 or more",
    ),
    "another depth": (
        lambda: vgg.init(jax.random.key(0), depth=13),
        r"^vgg.init: depth must be one of 16, 19, got 13$",
    ),
    "other parameters": (
        lambda: vgg.features({"features.0.weight": {}}, IMAGES),
        r"params have no 'conv1_1'; they must be from vgg.load or vgg.init",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_refused(what):
    call, words = REFUSED[what]
    with pytest.raises(ValueError, match=words):
        call()


def test_integers_are_refused():
    with pytest.raises(
        TypeError, match=r"images must be floats in \[0, 1\], got uint8; images.astype\(float\) / 255\?"
    ):
        vgg.features(TINY, np.zeros((1, 8, 8, 3), np.uint8))


def without(weights, *names):
    return {name: array for name, array in weights.items() if name not in names}


FILES = {
    "an entry is missing": (
        lambda w: without(w, "features.2.bias"),
        r"must be the weights of torchvision's vgg16 or vgg19 .* it is like vgg16, but without features.2.bias$",
    ),
    "batch normalization": (
        lambda w: w | {"features.1.running_mean": np.zeros(2, np.float32)},
        r"\(no batch normalization\) .* but with features.1.running_mean$",
    ),
    "another network": (
        lambda w: {"conv1.weight": np.zeros((2, 3, 7, 7), np.float32)},
        r"but without features.0.weight, features.0.bias, features.2.weight and 23 more$",
    ),
    "a kernel of another shape": (
        lambda w: w | {"features.2.weight": np.zeros((1, 4, 3, 3), np.float32)},
        r"features.2.weight \(1, 4, 3, 3\) must be \(1, 1, 3, 3\), as \(out, in, 3, 3\) and \(out,\)",
    ),
    "a bias of another shape": (
        lambda w: w | {"features.0.bias": np.zeros(3, np.float32)},
        r"features.0.bias \(3,\) must be \(1,\)",
    ),
    "a kernel of two axes": (
        lambda w: w | {"features.0.weight": np.zeros((1, 27), np.float32)},
        r"features.0.weight \(1, 27\) must be \(1, 3, 3, 3\)",
    ),
}


@pytest.mark.parametrize("what", FILES)
def test_a_file_of_other_weights_is_refused(what, tmp_path):
    change, words = FILES[what]
    path = tmp_path / "weights.safetensors"
    save_file(change(vgg_weights.weights(16, 1)), path)
    with pytest.raises(ValueError, match=words) as error:
        vgg.load(str(path))
    assert str(error.value).startswith(f"vgg.load: {path}")


def test_a_file_that_is_not_safetensors_is_refused(tmp_path):
    path = tmp_path / "vgg16-397923af.pth"
    path.write_bytes(b"PK\x03\x04" + bytes(100))
    with pytest.raises(
        ValueError,
        match=r"is not a safetensors file .* the top of jaxlosses.feature_extractors.vgg says how to make one",
    ):
        vgg.load(path)
    with pytest.raises(FileNotFoundError):
        vgg.load(tmp_path / "nowhere.safetensors")


def test_without_safetensors_only_load_fails(monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors", None)
    with pytest.raises(ImportError, match=r'pip install "jaxlosses\[vgg\]"'):
        vgg.load("weights.safetensors")


def test_importing_jaxlosses_loads_neither_this_module_nor_safetensors():
    script = "import jaxlosses, sys; assert not {'jaxlosses.feature_extractors.vgg', 'safetensors'} & set(sys.modules)"
    script += "; from jaxlosses.feature_extractors import vgg; assert 'safetensors' not in sys.modules"
    subprocess.run([sys.executable, "-W", "error", "-c", script], check=True)
