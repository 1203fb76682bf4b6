"""What a first independent review broke, and stays mended."""

import functools

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest

from jaxlosses import Objective, Term
from tests import compiled as jl

NAN, INF = jnp.nan, jnp.inf
Z = jnp.array([[2.0, 1.0, 0.0], [0.0, 1.0, 2.0]])


@pytest.mark.parametrize("loss", ["softmax_cross_entropy", "nll_loss"])
def test_a_label_out_of_range_is_loud_also_in_a_weighted_mean(loss):
    def mean(z):
        return jl.get(loss)(-jnp.abs(z), jnp.array([5, 0]), class_weights=[1.0, 2.0, 3.0], reduction="mean")

    value, gradient = jax.value_and_grad(mean)(Z)
    assert jnp.isnan(value)
    assert jnp.isnan(gradient).any(axis=1).all()
    objective = Objective({"a": Term(loss, ("z", "y"), options={"class_weights": [1.0, 2.0, 3.0]})})
    total, aux = objective({"z": -jnp.abs(Z), "y": jnp.array([5, 0])})
    assert jnp.isnan(total)
    assert aux["weight"]["a"] == 1


def test_nan_weights_are_loud():
    assert jnp.isnan(jl.squared_error(jnp.ones(3), jnp.zeros(3), sample_weights=[1.0, NAN, 1.0], reduction="mean"))


@pytest.mark.parametrize("loss", ["dice_loss", "jaccard_loss", "tversky_loss"])
@pytest.mark.parametrize("logit", [-22.0, -23.0, -46.0, -50.0, -80.0])
def test_confident_masks_without_smoothing_have_a_finite_gradient(loss, logit):
    options = [{"squared": True}, {}] if loss == "dice_loss" else [{}]
    for keywords in options:

        def mean(z, keywords=keywords):
            return jl.get(loss)(
                z, jnp.zeros((1, 4)), class_axis=None, smooth=0.0, activation="sigmoid", reduction="mean", **keywords
            )

        value, gradient = jax.value_and_grad(mean)(jnp.full((1, 4), logit))
        assert value in (0, 1)
        np.testing.assert_array_equal(gradient, 0)
        assert jnp.isfinite(jax.hessian(mean)(jnp.full((1, 4), logit))).all()


@pytest.mark.parametrize("loss", jl.names("boxes"))
@pytest.mark.parametrize("side", [2e-10, 1e-12, 1e-15, 1e-19, 1e-30])
def test_tiny_boxes_have_a_finite_gradient(loss, side):
    tiny = jnp.array([0.0, 0.0, side, side])
    for target in (jnp.zeros(4), tiny, 2 * tiny, jnp.array([0.0, 0, 1, 1])):
        value, gradient = jax.value_and_grad(functools.partial(jl.get(loss).function, reduction="sum"))(tiny, target)
        assert jnp.isfinite(value)
        assert jnp.isfinite(gradient).all()


def test_ignore_label_without_a_class_axis():
    p, g = jnp.array([[0.9, 0.1, 0.5, NAN]]), jnp.array([[1, 0, 255, 255]])
    for loss in jl.names("segmentation"):
        options = {} if loss == "lovasz_hinge_loss" else {"class_axis": None}
        ignored = jl.get(loss)(p, g, ignore_label=255, **options)
        np.testing.assert_allclose(ignored, jl.get(loss)(p[:, :2], g[:, :2], **options), rtol=1e-6)
    with pytest.raises(Exception, match="dice_loss: targets must lie in"):
        jl.checked(jl.dice_loss)(p[:, :3], g[:, :3], class_axis=None)
    with pytest.raises(ValueError, match="ignore_label=1 needs labels that are class ids"):
        jl.softmax_cross_entropy(jnp.zeros((2, 3)), jnp.eye(3)[:2], ignore_label=1)
    with pytest.raises(ValueError, match=r"class ids need more than one class; did you mean targets\[..., None\]\?"):
        jl.dice_loss(p[..., None], g)


def test_nan_predictions_are_never_swallowed():
    assert jnp.isnan(jl.entropy([NAN, 0.5]))
    assert jnp.isnan(jl.cross_entropy([NAN, 0.5], [0.5, 0.5], eps=1e-7))
    assert jnp.isnan(jl.binary_cross_entropy(NAN, 1.0))
    for loss in jl.names("boxes"):
        assert jnp.isnan(jl.get(loss)([NAN, 0.0, 1.0, 1.0], [0.0, 0.0, 1.0, 1.0], reduction="sum"))
    assert jnp.isnan(jl.iou_loss([NAN, 0.0, 1.0, 1.0], [0.0, 0.0, 1.0, 1.0], mode="log"))
    assert jnp.isnan(jl.dice_loss([[NAN, 0.5]], [[1.0, 0.0]], class_axis=None)).all()


def test_a_weight_of_zero_silences_a_class_that_is_out():
    z = jnp.array([[1.0, -INF, 0.5]])
    for labels in (jnp.array([[0.5, 0, 0.5]]), jnp.array([1])):
        for loss, keyword in ((jl.softmax_focal_loss, "alpha"), (jl.softmax_cross_entropy, "class_weights")):
            assert jnp.isfinite(loss(z, labels, **{keyword: [1.0, 0.0, 1.0]})).all()
    assert jl.sigmoid_focal_loss(INF, 0.0, alpha=1.0) == 0


def test_gradients_by_class_weights_beside_a_class_that_is_out():
    z, soft = jnp.array([[1.0, -INF, 0.5], [0.2, -INF, 1.0]]), jnp.array([[0.5, 0, 0.5], [1.0, 0, 0]])
    slopes = [
        jax.grad(
            lambda w: jl.softmax_cross_entropy(
                z, jnp.array([0, 2]), class_weights=w, label_smoothing=0.1, reduction="mean"
            )
        ),
        jax.grad(lambda w: jl.softmax_cross_entropy(z, soft, class_weights=w, reduction="mean")),
        jax.grad(lambda w: jl.softmax_focal_loss(z, soft, alpha=w, reduction="mean")),
    ]
    for slope in slopes:
        assert jnp.isfinite(slope(jnp.ones(3))).all()


def test_a_multiplier_of_zero_switches_a_term_off():
    assert jl.combine.sum({"a": 1.0, "b": NAN}, {"b": 0.0})[0] == 1
    assert jl.combine.uncertainty({"a": 1.0, "b": INF}, {"a": 0.0, "b": 0.0}, {"b": 0.0})[0] == 1
    assert jax.grad(lambda w: jl.combine.sum({"a": 3.0}, {"a": w})[0])(0.0) == 3


@pytest.mark.parametrize("off", [{"weights": {"b": 0.0}}, {"step": 10}], ids=["weight", "ramp"])
def test_nan_under_a_weight_that_is_0_for_now_does_not_reach_the_total(off):
    objective = Objective(
        {"a": Term("mse", ("p", "p")), "b": Term("mse", ("q", "q"), start=1, ramp=5)}, boundaries=[10]
    )
    total, aux = objective({"p": jnp.ones(2), "q": jnp.full(2, NAN)}, **{"step": 20, **off})
    assert total == 0
    assert jnp.isnan(aux["loss"]["b"])


def test_a_sample_weight_of_zero_protects_a_foreign_loss():
    objective = Objective({"a": Term(lambda p, t: (p - t) ** 2, ("p", "t"), sample_weights="w")})
    data = {"t": jnp.array([0, NAN, 0]), "w": jnp.array([1.0, 0, 1])}
    gradient = jax.grad(lambda p: objective(data | {"p": p})[0])(jnp.array([1.0, 2, 3]))
    np.testing.assert_allclose(gradient, [1, 0, 3])


@pytest.mark.parametrize(
    "wrap", [functools.partial, jax.jit, lambda f: functools.partial(jax.jit(f))], ids=["partial", "jit", "both"]
)
def test_a_wrapped_loss_keeps_its_facts(wrap):
    objective = Objective({"a": Term(wrap(jl.squared_error), ("p", "t"), where="m")}, combine="uncertainty")
    data = {"p": jnp.array([1.0, 3.0]), "t": jnp.zeros(2), "m": jnp.array([True, False])}
    total, aux = objective(data, params=objective.init())
    assert total == 0.5
    assert aux["count"]["a"] == 1
    halved = Objective({"a": Term(functools.partial(jl.huber_loss, delta=0.5), ("p", "t"))})
    np.testing.assert_allclose(halved(data)[0], (0.375 + 1.375) / 2)


def test_keywords_do_not_broadcast_values():
    said = r"huber_loss: a keyword has broadcast its values from \(8,\) to \(8, 8\)"
    with jax.numpy_rank_promotion("allow"), pytest.raises(ValueError, match=said):
        jl.huber_loss(jnp.ones(8), jnp.zeros(8), delta=jnp.ones((8, 1)))
    assert jl.huber_loss(jnp.ones(8), jnp.zeros(8), delta=jnp.ones(8)).shape == (8,)


def test_checked_does_not_mind_a_masked_weight():
    jl.checked(jl.squared_error)(jnp.ones(2), jnp.zeros(2), where=[True, False], sample_weights=[1.0, -1.0])


MEANT = {
    "term 'a': where must be a path into the data, such as 'batch.label', got True": lambda: Objective(
        {"a": Term("mse", ("p", "t"), where=True)}
    ),
    "term 'a': inputs must be a path into the data, such as 'batch.label', got 0": lambda: Objective(
        {"a": Term("mse", (0, 1))}
    ),
    "term 'a': must be a jaxlosses.Term, got 'mse'": lambda: Objective({"a": "mse"}),
    "boundaries must be a list of steps (integers), got 5": lambda: Objective(
        {"a": Term("mse", ("p", "t"))}, boundaries=5
    ),
    "boundaries must be a list of steps (integers), got [5.7]": lambda: Objective(
        {"a": Term("mse", ("p", "t"))}, boundaries=[5.7]
    ),
    "term 'a': weight must be a number or a function of the step, got '2'": lambda: Objective(
        {"a": Term("mse", ("p", "t"), weight="2")}
    ),
    "losses: no loss for ['b']; give one for each of ['a', 'b']": lambda: Objective(
        {"a": Term("mse", ("p", "t")), "b": Term("mse", ("p", "t"))}, combine="uncertainty"
    ).init({"a": 1.0}),
    "losses: no term 'c'; there are ['a']": lambda: Objective(
        {"a": Term("mse", ("p", "t"))}, combine="uncertainty"
    ).init({"c": 1.0}),
    "term 'a': the function for an input raised KeyError: 'zz'": lambda: Objective(
        {"a": Term("mse", (lambda d: d["zz"], "t"))}
    )({}),
    "no family named 'box'; did you mean 'boxes'?": lambda: jl.names("box"),
    "register: ('zz', 'zz') repeats a name": lambda: jl.register("zz", aliases=("zz",))(lambda p, t: p),
    "box_iou: boxes (3, 5) and targets (2, 5) must be (..., N, 4) and (..., M, 4)": lambda: jl.box_iou(
        jnp.zeros((3, 5)), jnp.zeros((2, 5)), pairwise=True
    ),
}


@pytest.fixture
def _annotations_off():
    """Our own words, and not the type checker's, are what a user meets."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.mark.usefixtures("_annotations_off")
@pytest.mark.parametrize("message", MEANT)
def test_what_cannot_be_meant_is_said_in_the_users_words(message):
    with pytest.raises(ValueError) as error:  # noqa: PT011
        MEANT[message]()
    assert str(error.value) == message


def test_an_array_as_a_weight_hashes():
    assert hash(Objective({"a": Term("mse", ("p", "t"), weight=jnp.array(2.0))})) == hash(
        Objective({"a": Term("mse", ("p", "t"), weight=2.0)})
    )


def test_an_unsigned_step_does_not_wrap_around():
    objective = Objective(
        {"a": Term("mse", ("p", "t"), start=1, ramp=10), "b": Term("mae", ("p", "t"))}, boundaries=[10]
    )
    data = {"p": jnp.ones(2), "t": jnp.zeros(2)}
    with jax.numpy_dtype_promotion("standard"):
        assert objective(data, step=jnp.uint32(3), stage=1)[1]["weight"]["a"] == 0
        assert objective(data, step=jnp.uint32(15))[1]["weight"]["a"] == 0.5


def test_parts_add_up_by_the_builtin_sum():
    parts = [jl.squared_error([float(k)], [0.0], reduction="parts") for k in range(3)]
    assert sum(parts).mean() == pytest.approx(5 / 3)
    with pytest.raises(TypeError, match="Parts can be added to Parts"):
        1 + parts[0]


def test_a_pixel_without_classes_is_gone():
    logits = jnp.array([[[2.0, -1.0], [-INF, -INF], [0.5, 1.0]]])
    labels = jnp.array([[0, 1, 1]])
    whole = jl.dice_loss(logits, labels, activation="softmax")
    np.testing.assert_allclose(whole, jl.dice_loss(logits[:, ::2], labels[:, ::2], activation="softmax"), rtol=1e-6)
