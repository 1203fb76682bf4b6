"""Targets that are class ids: the sums of one-hot targets, without a one-hot array, and hints for shapes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxlosses as jl
from jaxlosses.losses.segmentation._class_ids import _by_comparison, _by_place, softmax, sum_by_class

pytestmark = pytest.mark.usefixtures("_annotations_off")

CLASSES = 5
SHAPE = (2, 3, 4, CLASSES)
KEYS = jax.random.split(jax.random.key(0), 4)
LOGITS = jax.random.normal(KEYS[0], SHAPE)
IDS = jax.random.randint(KEYS[1], SHAPE[:-1], 0, CLASSES).at[0].min(3)  # class 4 is absent in the first image
WEIGHTS = jax.random.uniform(KEYS[2], SHAPE[:-1])
WHERE = jax.random.bernoulli(KEYS[3], 0.7, SHAPE[:-1])

LOSSES = {
    "dice_loss": [{}, {"squared_denominator": True}, {"soft_labels": True, "log": True}],
    "jaccard_loss": [{}, {"smooth": 0.0}],
    "tversky_loss": [{"fp_weight": 0.3, "fn_weight": 0.7}],
    "sensitivity_specificity_loss": [{"sensitivity_weight": 0.4}],
}
OPTIONS = [
    {},
    {"activation": "softmax"},
    {"activation": "sigmoid", "where": WHERE},
    {"where": WHERE, "sample_weights": WEIGHTS},
    {"sample_weights": WEIGHTS, "classes": "present"},
    {"activation": "softmax", "ignore_label": 1, "per_class": True},
    {"per_image": False, "classes": (3, 1), "sample_weights": WEIGHTS[:, 0, 0]},
    {"average": "micro", "include_background": False, "where": WHERE[:, 0, 0]},
]
CASES = [(name, {**own, **more}) for name, rows in LOSSES.items() for own in rows for more in OPTIONS]


def one_hot(options):
    """Dense targets of the ids, and the options that mean the same for them."""
    options = dict(options)
    ignored = options.pop("ignore_label", None)
    if ignored is not None:
        options["where"] = options.get("where", jnp.ones(IDS.shape, bool)) & (ignored != IDS)
    return jax.nn.one_hot(IDS, CLASSES), options


@pytest.mark.parametrize(("name", "options"), CASES, ids=range(len(CASES)))
def test_ids_are_as_good_as_one_hot_targets(name, options):
    loss = jl.get(name)
    p = LOGITS if options.get("activation") else jax.nn.sigmoid(LOGITS)
    targets, same_options = one_hot(options)

    def total(weighted, p, targets, options):
        return jnp.sum(jnp.sin(loss(p, targets, **{**options, **weighted})))

    weighted = {key: options[key] for key in ("sample_weights",) if key in options}
    results = []
    for g, given in ((IDS, options), (targets, same_options)):
        f = lambda w, p, g=g, given=given: total(w, p, g, given)  # noqa: E731
        second = jax.jvp(lambda q, f=f: jax.grad(f, argnums=1)(weighted, q), (p,), (jnp.cos(7 * p),))[1]
        results.append((f(weighted, p), jax.grad(f, argnums=(0, 1))(weighted, p), second))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-6), *results)


@pytest.mark.parametrize("name", LOSSES)
def test_the_class_axis_may_be_anywhere(name):
    p, loss = jax.nn.sigmoid(LOGITS), jl.get(name)
    for axis in (1, 2):
        np.testing.assert_allclose(loss(jnp.moveaxis(p, -1, axis), IDS, class_axis=axis), loss(p, IDS), rtol=1e-6)


def dice_in_numpy(p, ids):
    """1 - (2 Σpg + 1)/(Σp + Σg + 1), the mean over the classes, in float64."""
    p, ids = np.asarray(p, np.float64), np.asarray(ids)
    g = (ids[..., None] == np.arange(CLASSES)).astype(np.float64)
    return np.mean(1 - (2 * (p * g).sum((1, 2)) + 1) / (p.sum((1, 2)) + g.sum((1, 2)) + 1), -1)


def test_values_of_the_formula():
    p = jax.nn.sigmoid(LOGITS)
    np.testing.assert_allclose(jl.dice_loss(p, IDS), dice_in_numpy(p, IDS), rtol=1e-6)


def test_many_pixels_of_one_class_are_counted_exactly():
    ids = jnp.zeros((1, 8, 300_000), jnp.int32).at[0, 0, 0].set(1)
    p = jnp.full((*ids.shape, 2), 0.1)
    expected = [1 - (0.2 * 2_399_999 + 1) / (0.1 * 2_400_000 + 2_399_999 + 1), 1 - 1.2 / (0.1 * 2_400_000 + 2)]
    np.testing.assert_allclose(jl.dice_loss(p, ids, per_class=True)[0], expected, rtol=2e-5)


@pytest.mark.parametrize(
    ("name", "options"), [(n, {**o, **m}) for n, rows in LOSSES.items() for o in rows[:1] for m in OPTIONS]
)
def test_an_id_out_of_range_is_nan_in_its_image_alone(name, options):
    loss = jl.get(name)
    if options.get("per_image") is False:
        options = {key: x for key, x in options.items() if key != "per_image"}
    options = {key: x for key, x in options.items() if key not in ("where", "ignore_label")}
    for wrong in (CLASSES, -1):
        ids = IDS.at[1, 0, 0].set(wrong)
        values, gradient = loss(LOGITS, ids, **options), jax.grad(lambda p: jnp.sum(loss(p, ids, **options)))(LOGITS)  # noqa: B023
        assert jnp.all(jnp.isnan(values[1]))
        assert jnp.all(jnp.isfinite(values[0]))
        assert jnp.any(jnp.isnan(gradient[1]))
        masked = loss(LOGITS, ids, **{**options, "where": jnp.ones(ids.shape, bool).at[1, 0, 0].set(False)})
        assert jnp.all(jnp.isfinite(masked))


@pytest.mark.parametrize(
    "options", [{}, {"where": WHERE}, {"ignore_label": 1}, {"classes": "present"}, {"soft_labels": True}]
)
@pytest.mark.parametrize("name", ["dice_loss", "jaccard_loss", "tversky_loss", "sensitivity"])
def test_no_array_of_the_size_of_the_predictions_is_made_for_the_gradient(name, options):
    """Beside the gradient itself: the one-hot array of ids, which are an argument of the program, would be one."""
    if name == "sensitivity":
        options = {key: x for key, x in options.items() if key not in ("classes", "soft_labels")}
    loss = jl.sensitivity if name == "sensitivity" else jl.get(name)
    shape = (4, 64, 64, 21)
    p, ids = jnp.full(shape, 0.3), jnp.zeros(shape[:-1], jnp.int32)
    options = {**options, **({"where": jnp.ones(shape[:-1], bool)} if "where" in options else {})}

    def total(p, ids):
        return jnp.sum(loss(p, ids, **options))

    compiled = jax.jit(jax.grad(total)).lower(p, ids).compile()
    assert compiled.memory_analysis().temp_size_in_bytes < 0.4 * p.nbytes


def test_both_ways_to_sum():
    x = jax.random.normal(KEYS[2], (2, 3, 7))
    ids = jax.random.randint(KEYS[3], x.shape, 0, 4)
    expected = np.stack(
        [[np.sum(np.float64(a)[b == k]) for k in range(4)] for a, b in zip(np.asarray(x), np.asarray(ids), strict=True)]
    )
    for by in (_by_place, _by_comparison):
        np.testing.assert_allclose(by(4, x, ids), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(sum_by_class(x, ids, 4, per_image=True), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(sum_by_class(x, ids, 4, per_image=False), expected.sum(0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        sum_by_class(x[:, 0, :1], ids[:, 0, :1], 4, per_image=True).sum(), x[:, 0, 0].sum(), rtol=1e-6
    )
    assert sum_by_class(x[:0], ids[:0], 4, per_image=True).shape == (0, 4)
    np.testing.assert_array_equal(sum_by_class(x[:0], ids[:0], 4, per_image=False), np.zeros(4))
    batched = jax.vmap(lambda x: sum_by_class(x, ids, 4, per_image=True))(jnp.stack([x, 2 * x]))
    np.testing.assert_allclose(batched, np.stack([expected, 2 * expected]), rtol=1e-5, atol=1e-6)


def test_eager_calls_do_not_compile_again():
    p = jax.nn.sigmoid(LOGITS)
    jl.dice_loss(p, IDS)
    with jax.log_compiles(True), pytest.MonkeyPatch.context() as patch:
        import logging

        messages = []
        patch.setattr(
            logging.Logger, "warning", lambda self, text, *args: messages.append(text % args if args else text)
        )
        jl.dice_loss(p, IDS)
    assert not [text for text in messages if "ompil" in text], messages


def test_a_softmax():
    z = jnp.array([[1.0, -jnp.inf, 3.0, 1e30], [-jnp.inf] * 4, [88.0, 89.0, -200.0, 0.5]])
    with np.errstate(invalid="ignore"):
        e = np.exp(np.float64(z) - np.max(np.float64(z), -1, keepdims=True))
    expected = np.nan_to_num(e / e.sum(-1, keepdims=True))
    np.testing.assert_allclose(softmax(z, -1), expected, rtol=1e-6, atol=1e-37)
    jacobian = jax.jacrev(lambda z: softmax(z, -1))(z)
    for row in range(3):
        exact = np.diag(expected[row]) - np.outer(expected[row], expected[row])
        np.testing.assert_allclose(jacobian[row, :, row], exact, rtol=1e-5, atol=1e-7)
    x = jnp.array([[0.3, -1.0, 0.7]])
    for order in (1, 2):
        ours, jaxs = (lambda x: jnp.sum(jnp.sin(softmax(x, -1)))), (lambda x: jnp.sum(jnp.sin(jax.nn.softmax(x))))
        derivative = jax.grad if order == 1 else jax.hessian
        np.testing.assert_allclose(derivative(ours)(x), derivative(jaxs)(x), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("kind", ["Auto", "Explicit"])
def test_ids_on_a_mesh(kind):
    devices = jax.devices()
    mesh = jax.make_mesh((2,), ("data",), axis_types=(getattr(jax.sharding.AxisType, kind),), devices=devices[:2])
    p = jax.nn.sigmoid(LOGITS)
    with jax.set_mesh(mesh):
        spec = jax.sharding.NamedSharding(mesh, jax.P("data"))
        sharded = jax.device_put(p, spec), jax.device_put(IDS, spec)
        for options in ({}, {"activation": "softmax"}):
            f = lambda p, ids, options=options: jnp.sum(jl.dice_loss(p, ids, **options, reduction="mean"))  # noqa: E731
            value, gradient = jax.jit(jax.value_and_grad(f))(*sharded)
            value, gradient = np.asarray(value), np.asarray(gradient)
            expected = jax.value_and_grad(f)(np.asarray(p), np.asarray(IDS))
            np.testing.assert_allclose(value, expected[0], rtol=1e-6)
            np.testing.assert_allclose(gradient, expected[1], rtol=1e-4, atol=1e-7)


P = jnp.full((2, 3, 4, 5), 0.2)
HINTS = {
    r"use class_axis=None with probabilities\[:, 0\]$": lambda: jl.dice_loss(
        P[:, :1], P[:, 0].astype(int), class_axis=1
    ),
    r"use class_axis=None with probabilities\[..., 0\]$": lambda: jl.dice_loss(P[..., :1], P[..., 0].astype(int)),
    r"got \(2, 1, 4, 5\); did you mean targets\[:, 0\]\?$": lambda: jl.dice_loss(P, P[:, :1].astype(int), class_axis=1),
    r"got \(2, 3, 4, 1\); did you mean targets\[:, :, :, 0\]\?$": lambda: jl.dice_loss(P, P[..., :1].astype(int)),
    r"got \(2, 4, 5\); did you mean class_axis=1\?$": lambda: jl.dice_loss(P, P[:, 0].astype(int)),
    r"got \(7,\); check the class axis \(class_axis=\)$": lambda: jl.dice_loss(P, jnp.zeros(7, int)),
}


@pytest.mark.parametrize("hint", HINTS)
def test_hints(hint):
    with pytest.raises(ValueError, match=hint):
        HINTS[hint]()


def test_hints_that_are_followed_work():
    masks = (P[:, 0] > 0.1).astype(jnp.int32)
    one_class = jl.dice_loss(P[:, :1][:, 0], masks, class_axis=None)
    np.testing.assert_allclose(one_class, jl.dice_loss(P[:, :1], masks[:, None], class_axis=1), rtol=1e-6)
