"""Regression tests: faults that reviews found at the edges of losses and objectives, and that stay mended."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxlosses
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
    options = [{"squared_denominator": True}, {}] if loss == "dice_loss" else [{}]
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
    with pytest.raises(
        ValueError, match=r"class ids need more than one class, .* use class_axis=None with probabilities\[..., 0\]$"
    ):
        jl.dice_loss(p[..., None], g)


def test_nan_predictions_are_never_swallowed():
    assert jnp.isnan(jl.entropy([NAN, 0.5]))
    assert jnp.isnan(jl.cross_entropy([NAN, 0.5], [0.5, 0.5], eps=1e-7))
    assert jnp.isnan(jl.binary_cross_entropy(NAN, 1.0))
    for loss in jl.names("boxes"):
        assert jnp.isnan(jl.get(loss)([NAN, 0.0, 1.0, 1.0], [0.0, 0.0, 1.0, 1.0], reduction="sum"))
    assert jnp.isnan(jl.iou_loss([NAN, 0.0, 1.0, 1.0], [0.0, 0.0, 1.0, 1.0], variant="log"))
    assert jnp.isnan(jl.dice_loss([[NAN, 0.5]], [[1.0, 0.0]], class_axis=None)).all()


def test_a_weight_of_zero_cancels_a_class_that_is_out():
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
    for delta in (jnp.ones((8, 1)), jnp.ones(8), np.ones(1), [1.0] * 8):
        with pytest.raises(ValueError, match=r"huber_loss: delta must be a number, got .*did you mean jax.vmap"):
            jaxlosses.huber_loss(jnp.ones(8), jnp.zeros(8), delta=delta)


def test_checked_does_not_mind_a_masked_weight():
    jl.checked(jl.squared_error)(jnp.ones(2), jnp.zeros(2), where=[True, False], sample_weights=[1.0, -1.0])


INVALID = {
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


@pytest.mark.usefixtures("_annotations_off")
@pytest.mark.parametrize("message", INVALID)
def test_what_cannot_be_meant_is_said_in_the_users_words(message):
    with pytest.raises(ValueError) as error:  # noqa: PT011
        INVALID[message]()
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


# Second derivatives, and slopes of what is infinite


INF = jnp.inf
A = jnp.array
BENT = {
    "focal, sure": (lambda q: jl.softmax_focal_loss(q, 0), A([50.0, 0.0]), A([[0.0, 0], [0, 0]])),
    "focal, alone": (lambda q: jl.softmax_focal_loss(q, 0), A([1.0, -INF]), A([[0.0, 0], [0, 0]])),
    "q below 1e-19": (lambda z: jl.cross_entropy(jax.nn.softmax(z), [1.0, 0.0]), A([0.0, -60.0]), 0),
    "p below 1e-19": (lambda z: jl.entropy(jax.nn.softmax(z)), A([0.0, -60.0]), 0),
    "truth below 1e-19": (
        lambda z: jl.kl_divergence(jnp.log(A([0.5, 0.5])), jax.nn.softmax(z)),
        A([0.0, -60.0]),
        0,
    ),
    "a row without classes": (
        lambda z: jl.softmax_cross_entropy(z, A([0, 0]), reduction="sum"),
        A([[-INF, -INF], [-INF, 1.0]]),
        0,
    ),
    "no negatives": (
        lambda z: jl.info_nce_loss(
            z, A([[1.0, 0.0]]), negatives=A([[1.0, 0.0]]), negatives_where=A([False]), reduction="sum"
        ),
        A([[0.0, 2.0]]),
        0,
    ),
}


@pytest.mark.parametrize("case", BENT)
def test_second_derivatives_where_a_reciprocal_squared_overflows(case):
    f, x, expected = BENT[case]
    for hessian in (jax.jacfwd(jax.jacrev(f)), jax.jacrev(jax.jacrev(f)), jax.jacfwd(jax.jacfwd(f))):
        np.testing.assert_allclose(hessian(x), jnp.broadcast_to(expected, hessian(x).shape), atol=1e-18)


def test_a_tiny_residual_still_bends():
    # l'' = -α (log βx + 1), α = e β
    np.testing.assert_allclose(
        jax.hessian(lambda p: jl.focal_l1_loss(p, 0.0, beta=0.5))(1e-22), -np.e * 0.5 * (np.log(0.5e-22) + 1), rtol=1e-5
    )


def test_an_integer_floor():
    np.testing.assert_allclose(
        jax.grad(lambda q: jl.cross_entropy(q, A([0.5, 0.5]), eps=0))(A([0.2, 0.8])), [-2.5, -0.625]
    )


def test_a_floor_has_no_slope_at_itself():
    assert jax.grad(lambda p: jl.binary_cross_entropy(p, 1.0, eps=0.25))(0.25) == 0
    np.testing.assert_array_equal(jax.grad(lambda p: jl.log_loss(p, 0, eps=0.25))(A([0.25, 0.75])), 0)


def test_an_infinite_row_of_weight_zero_moves_nothing():
    q, p, weights = A([[0.0, 1.0], [0.5, 0.5]]), A([[0.5, 0.5], [0.5, 0.5]]), A([0.0, 1.0])
    total = lambda loss, **options: lambda p: loss(q, p, sample_weights=weights, reduction="sum", **options)  # noqa: E731
    np.testing.assert_allclose(jax.grad(total(jl.cross_entropy))(p), [[0, 0], [np.log(2)] * 2], atol=1e-7)
    np.testing.assert_allclose(
        jax.grad(total(jl.kl_divergence, input_type="probabilities"))(p), [[0, 0], [1, 1]], atol=1e-7
    )


def test_derivatives_by_logits_are_finite_where_the_divergence_is_not():
    gradients = jax.grad(lambda q, p: jl.kl_divergence(q, p, input_type="logits"), (0, 1))(
        A([-INF, 0.0]), A([0.5, 0.2])
    )
    assert all(jnp.isfinite(gradient).all() for gradient in gradients)


def test_smoothing_away_a_label_that_is_excluded():
    np.testing.assert_allclose(jl.softmax_cross_entropy(A([-INF, 0.0, 0.0]), 0, label_smoothing=1.0), np.log(2))


def test_slopes_of_the_branch_that_is_not_taken():
    assert jax.grad(lambda p: jl.huber_loss(p, 0.0))(INF) == 1
    assert jax.grad(lambda p: jl.huber_loss(p, 0.0, delta=INF))(2.0) == 2
    assert jax.grad(lambda p: jl.smooth_l1_loss(p, 0.0))(INF) == 1
    assert jax.grad(lambda b: jl.smooth_l1_loss(1e25, 0.0, beta=b))(1.0) == -0.5


def test_a_wide_alpha_leaves_infinity_infinite():
    with jax.enable_x64(True):
        given = A([-INF, 0.5], jnp.float32), A([1, 0])
        assert jl.sigmoid_focal_loss(*given, alpha=np.float64(0.25))[0] == INF
