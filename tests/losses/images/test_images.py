"""Perceptual, content and style losses: the papers' numbers, torch's, identities, trees of maps, masks, derivatives."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tests import compiled as jl
from tests.cases import two_layers
from tests.golden import golden

GOLDEN = golden("images")
NAN = float("nan")
LOSSES = ["perceptual_loss", "content_loss", "style_loss", "content_style_loss"]
PAIRS = LOSSES[:3]

# Two channels at four positions
F, P = (
    np.array(rows, np.float32).T.reshape(1, 2, 2, 2) for rows in ([[1, 2, 0, 1], [0, 1, 3, 1]], [[1] * 4, [0, 0, 2, 2]])
)


def draw(seed, *shapes, batch=3):
    """Maps by name, for as many shapes."""
    keys = jax.random.split(jax.random.key(seed), len(shapes))
    return {
        f"relu{i}": jax.random.normal(key, (batch, *shape))
        for i, (key, shape) in enumerate(zip(keys, shapes, strict=True))
    }


X, Y, Z = (draw(seed, (4, 3, 2), (2, 2, 5)) for seed in range(3))


@functools.cache
def compiled(name, **options):
    return jax.jit(functools.partial(jl.get(name).function, **options))


@pytest.mark.parametrize("double", [False, True], ids=["float32", "float64"])
@pytest.mark.parametrize(
    ("loss", "options", "expected"),
    [
        ("content_loss", {}, 2.5),
        ("style_loss", {"variant": "gatys"}, 0.05859375),
        ("perceptual_loss", {}, 0.625),
        ("content_loss", {"variant": "johnson"}, 0.625),
        ("style_loss", {}, 0.234375),
    ],
)
def test_worked_numbers(loss, options, expected, double):
    with jax.enable_x64(double):
        inputs = [x.astype(np.float64) if double else x for x in (F, P)]
        np.testing.assert_allclose(jl.get(loss)(*inputs, **options), [expected], rtol=1e-9 if double else 1e-5)
    np.testing.assert_allclose(
        jl.get(loss)(*(x.astype(jnp.bfloat16) for x in (F, P)), **options), [expected], rtol=2e-2
    )


def test_content_style_is_the_worked_sum():
    total = jl.content_style_loss(F, P, P, content_weight=2.0, style_weight=100.0)
    np.testing.assert_allclose(total, [2 * 2.5 + 100 * 0.05859375], rtol=1e-6)
    total = jl.content_style_loss(F, P, P, content_weight=2.0, style_weight=100.0, variant="johnson")
    np.testing.assert_allclose(total, [2 * 0.625 + 100 * 0.234375], rtol=1e-6)


@pytest.mark.parametrize("case", GOLDEN["cases"], ids=lambda case: f"{case['loss']}-{'-'.join(case['options'])}")
def test_torch_gives_the_same_values_and_gradients(case):
    with jax.enable_x64(True):
        inputs = [{k: jnp.array(v) for k, v in GOLDEN["inputs"][name].items()} for name in case["inputs"]]
        loss = functools.partial(jl.get(case["loss"]).function, **case["options"])
        np.testing.assert_allclose(loss(*inputs), case["values"], rtol=1e-10)
        weighed = functools.partial(loss, sample_weights=jnp.array([1.0, 2.0]), reduction="sum")
        gradients = jax.grad(weighed, argnums=tuple(range(len(inputs))))(*inputs)
        expected = [{k: np.array(v) for k, v in tree.items()} for tree in case["gradients"]]
        jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-9, atol=1e-12), list(gradients), expected)


def test_torch_gives_the_same_gram_matrix():
    with jax.enable_x64(True):
        x = jnp.array(GOLDEN["inputs"]["x"]["a"])
        expected = np.array(GOLDEN["gram"]["gatys"])
        np.testing.assert_allclose(jl.gram_matrix(x, variant="gatys"), expected, rtol=1e-12)
        np.testing.assert_allclose(jl.gram_matrix(x), expected / x[0].size, rtol=1e-12)
        weights = jnp.cos(jnp.arange(expected.size, dtype=float)).reshape(expected.shape)  # not symmetric
        gradient = jax.grad(lambda x: jnp.sum(weights * jl.gram_matrix(x, variant="gatys")))(x)
    np.testing.assert_allclose(gradient, GOLDEN["gram"]["gradient under cos(0, 1, ...)"], rtol=1e-9)


maps = hnp.arrays(np.float32, (2, 3, 2, 4), elements=st.floats(-4, 4, width=32))


@given(maps, maps, st.permutations(range(6)), st.floats(-2, 2, width=32))
@settings(max_examples=20, deadline=None, derandomize=True)
def test_identities_of_content_and_style(f, p, order, scale):
    close = functools.partial(np.testing.assert_allclose, rtol=2e-4, atol=1e-4)
    gram = np.asarray(jl.gram_matrix(f))
    close(gram, np.swapaxes(gram, 1, 2), rtol=0, atol=0)
    assert np.linalg.eigvalsh(gram.astype(np.float64)).min() >= -1e-5
    style, gatys = compiled("style_loss")(f, p), compiled("style_loss", variant="gatys")(f, p)
    close(style, 4 * gatys)
    assert (style >= 0).all()
    shuffled = f.reshape(2, 6, 4)[:, list(order)].reshape(f.shape)
    close(compiled("style_loss")(shuffled, p), style)
    close(compiled("style_loss")(f, f[:, ::-1, ::-1]), 0)
    close(compiled("style_loss")(scale * f, scale * p), scale**4 * style)
    close(compiled("style_loss")(p, f), style)
    content, perceptual = compiled("content_loss")(f, p), compiled("perceptual_loss")(f, p)
    close(content, ((f - p) ** 2).sum((1, 2, 3)) / 2)
    close(perceptual, np.square(f - p).mean((1, 2, 3)))  # with the images as features: their MSE
    close(compiled("content_loss", variant="johnson")(f, p), perceptual)
    close(compiled("content_style_loss", style_weight=3.0)(f, p, p), content + 3 * gatys)


def test_content_depends_on_positions_and_style_on_channels():
    assert jl.content_loss(F, F[:, ::-1])[0] > 0.1
    assert jl.style_loss(F, F[..., ::-1])[0] > 0.1


@pytest.mark.parametrize("loss", LOSSES)
def test_equal_images_have_no_loss_and_no_gradient(loss):
    inputs = (X,) * len(jl.get(loss).inputs)
    np.testing.assert_array_equal(jl.get(loss)(*inputs), 0)
    gradient = jax.grad(lambda x: jl.get(loss)(x, *inputs[1:], reduction="sum"))(X)
    for g in gradient.values():
        np.testing.assert_allclose(g, 0, atol=1e-4 if loss == "content_style_loss" else 1e-6)
    hessian = jax.jit(jax.jvp, static_argnums=0)(
        jax.grad(lambda x: jl.get(loss)(x, *inputs[1:], reduction="sum")), (X,), (Y,)
    )[1]
    assert sum(jnp.vdot(h, y) for h, y in zip(hessian.values(), Y.values(), strict=True)) > 0


@pytest.mark.parametrize("loss", PAIRS)
def test_layers_add_up(loss):
    each = [jl.get(loss)(X[k], Y[k]) for k in X]
    expected = 2.0 * each[0] + 0.5 * each[1]
    for form in (dict, lambda maps: tuple(maps.values()), lambda maps: list(maps.values()), lambda maps: {"net": maps}):
        numbers = form({"relu0": 2.0, "relu1": 0.5})
        np.testing.assert_allclose(jl.get(loss)(form(X), form(Y), layer_weights=numbers), expected, rtol=1e-6)
        np.testing.assert_allclose(jl.get(loss)(form(X), form(Y)), each[0] + each[1], rtol=1e-6)
    weights = jnp.array([2.0, 0.5])  # traced, as for a sweep
    value = jax.jit(lambda w: jl.get(loss)(list(X.values()), tuple(Y.values()), layer_weights=w))(weights)
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    sweep = jax.vmap(lambda w: jl.get(loss)(X["relu0"], Y["relu0"], layer_weights=w))(weights)
    np.testing.assert_allclose(sweep, weights[:, None] * each[0][None], rtol=1e-6)
    gradient = jax.grad(lambda w: jnp.sum(jl.get(loss)(X, Y, layer_weights=w)))({"relu0": 2.0, "relu1": 0.5})
    np.testing.assert_allclose(list(gradient.values()), [e.sum() for e in each], rtol=1e-5)


def test_the_order_of_a_dict_changes_nothing():
    backwards = dict(reversed(Y.items()))
    np.testing.assert_array_equal(jl.perceptual_loss(X, backwards), jl.perceptual_loss(X, Y))


def test_layers_of_content_and_style():
    content = jl.content_loss(X["relu1"], Y["relu1"])
    style = [jl.style_loss(X[k], Z[k], variant="gatys") for k in X]
    both = functools.partial(jl.content_style_loss, style_weight=10.0)
    expected = content + 10 * (0.2 * style[0] + 0.4 * style[1])
    layers = {"content_layers": ["relu1"], "style_layers": {"relu0": 0.2, "relu1": 0.4}}
    np.testing.assert_allclose(both(X, Y, Z, **layers), expected, rtol=1e-6)
    listed = [list(maps.values()) for maps in (X, Y, Z)]
    layers = {"content_layers": [1], "style_layers": (0,)}
    np.testing.assert_allclose(both(*listed, **layers), content + 10 * style[0], rtol=1e-6)
    only = {"relu1": Y["relu1"]}, {"relu0": Z["relu0"]}  # what the targets have is what is compared
    np.testing.assert_allclose(both(X, *only), content + 10 * style[0], rtol=1e-6)


def test_the_style_of_an_image_of_another_size():
    small, large = X["relu0"], jnp.tile(X["relu0"], (1, 2, 3, 1))
    for variant in ("johnson", "gatys"):
        np.testing.assert_allclose(jl.style_loss(large, small, variant=variant), 0, atol=1e-12)
    with pytest.raises(ValueError, match=r"content_loss: features \(3, 8, 9, 2\) and target_features \(3, 4, 3, 2\)"):
        jl.content_loss(large, small)


def test_one_style_for_a_batch_by_vmap():
    style = Y["relu0"][:1]
    mapped = jax.vmap(lambda f: jl.style_loss(f[None], style)[0])(X["relu0"])
    np.testing.assert_allclose(mapped, jl.style_loss(X["relu0"], jnp.repeat(style, 3, axis=0)), rtol=1e-6)


def test_fast_neural_style_has_the_mean_over_the_gram_matrix():
    gram = [jl.gram_matrix(maps["relu1"]) for maps in (X, Y)]
    mean = jnp.mean((gram[0] - gram[1]) ** 2, axis=(1, 2))
    np.testing.assert_allclose(jl.style_loss(X["relu1"], Y["relu1"], layer_weights=1 / 5**2), mean, rtol=1e-6)


@pytest.mark.parametrize("loss", LOSSES)
def test_a_network_is_applied_to_every_side(loss):
    images = [maps["relu0"] for maps in (X, Y, Z)][: len(jl.get(loss).inputs)]
    inside = jl.get(loss)(*images, extract=two_layers)
    np.testing.assert_allclose(inside, jl.get(loss)(*map(two_layers, images)), rtol=1e-6)
    half = jl.get(loss)(*images, extract=lambda x: two_layers(x.astype(jnp.bfloat16))["wide"])
    assert half.dtype == jnp.float32


@pytest.mark.parametrize("extract", [None, two_layers], ids=["maps", "images"])
@pytest.mark.parametrize("loss", LOSSES)
def test_the_gradient_into_targets(loss, extract):
    inputs = [maps["relu0"] for maps in (X, Y, Z)][: len(jl.get(loss).inputs)]
    gradients = [
        jax.grad(
            functools.partial(jl.get(loss), extract=extract, detach_targets=stop, reduction="sum"), range(len(inputs))
        )(*inputs)
        for stop in (False, True)
    ]
    np.testing.assert_allclose(gradients[0][0], gradients[1][0], rtol=1e-4, atol=1e-5)
    assert all((g != 0).any() for g in gradients[0])
    assert all((g == 0).all() for g in gradients[1][1:])


@pytest.mark.parametrize("loss", ["perceptual_loss", "content_style_loss"])
def test_a_masked_image_reaches_neither_a_layer_nor_the_network(loss):
    count = len(jl.get(loss).inputs)
    corrupted = [{**maps, "relu1": maps["relu1"].at[1].set(NAN)} for maps in (X, Y, Z)][:count]
    clean = [jax.tree.map(lambda x: x[jnp.array([0, 2])], maps) for maps in (X, Y, Z)][:count]
    for keywords in ({"where": jnp.array([True, False, True])}, {"sample_weights": jnp.array([1.0, 0.0, 1.0])}):
        for pick, extract in ((lambda maps: maps, None), (lambda maps: maps["relu1"], two_layers)):
            mean = jax.jit(jax.value_and_grad(functools.partial(jl.get(loss), extract=extract, reduction="mean")))
            value, gradient = mean(*map(pick, corrupted), **keywords)
            expected, expected_gradient = mean(*map(pick, clean))
            np.testing.assert_allclose(value, expected, rtol=1e-5)
            for g, e in zip(jax.tree.leaves(gradient), jax.tree.leaves(expected_gradient), strict=True):
                np.testing.assert_allclose(g[jnp.array([0, 2])], e, rtol=1e-4, atol=1e-7)
                assert (g[1] == 0).all()


def test_nan_that_is_not_masked_is_nan_in_the_value():
    for loss in PAIRS:
        value = jl.get(loss)(X, {**Y, "relu1": Y["relu1"].at[1, 0, 0, 0].set(NAN)})
        assert jnp.isnan(value).tolist() == [False, True, False]


def test_an_empty_batch_of_several_layers():
    empty = jax.tree.map(lambda x: x[:0], X)
    for loss in ("perceptual_loss", "style_loss"):
        value, gradient = jax.value_and_grad(lambda x, loss=loss: jl.get(loss)(x, empty, reduction="mean"))(empty)
        assert value == 0
        assert jl.get(loss)(empty, empty).shape == (0,)
        assert jax.tree.map(jnp.shape, gradient) == jax.tree.map(jnp.shape, empty)
    assert jl.gram_matrix(empty["relu0"]).shape == (0, 2, 2)


def test_the_gradient_of_a_gram_matrix_is_one_product_and_copies_no_map():
    f, a = (jnp.ones((2, 32, 32, 8)) for _ in range(2))
    step = jax.value_and_grad(lambda f: jl.style_loss(f, a, reduction="mean"))
    assert str(jax.make_jaxpr(step)(f)).count("dot_general") == 3  # G, A and the gradient
    assert jax.jit(step).lower(f).compile().memory_analysis().temp_size_in_bytes < f.nbytes / 4


def test_a_mean_fits_where_a_square_does_not():
    f = jnp.zeros((1, 16, 16, 4)).at[0, 0, 0, 0].set(2e19)
    np.testing.assert_allclose(jl.perceptual_loss(f, 0 * f), [4e38 / 1024], rtol=1e-6)
    np.testing.assert_allclose(jl.content_loss(f, 0 * f), [2e38], rtol=1e-6)
