"""Box losses: EIoU, Focal-EIoU and CDIoU, formats, and the values of other libraries for the whole family."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import jaxlosses
from tests import compiled as jl
from tests.golden import golden
from tests.losses.test_properties import boxes
from tests.losses.test_worked_numbers import A, B

GOLDEN = golden("boxes")
EIOU_LOSSES = [0.7477231330, 1.4, 2.078125, 1.2, 1.2291666667]
CORNER_DISTANCES = [0.2336853296, 0.6324555320, 0.3851423538, 0.4472135955, 0.3017766953]


@pytest.fixture
def double():
    with jax.enable_x64(True):
        yield


@pytest.mark.usefixtures("double")
class TestWorkedNumbers:
    """Values worked out from the papers' formulas, in double precision."""

    def test_eiou(self):
        np.testing.assert_allclose(jl.eiou_loss(A, B), EIOU_LOSSES, rtol=1e-9)
        np.testing.assert_allclose(jl.box_eiou(A, B), 1 - np.array(EIOU_LOSSES), rtol=1e-9)
        gradient = jax.grad(lambda a: jl.eiou_loss(a, B[0]))(jnp.array(A[0], float))
        np.testing.assert_allclose(gradient, [0.0013229883, -0.0570419474, -0.1789111516, -0.1151588747], rtol=1e-7)

    def test_cdiou(self):
        expected = 1 - np.array([1 / 3, 0, 0.0625, 0, 1 / 3]) + CORNER_DISTANCES
        np.testing.assert_allclose(jl.cdiou_loss(A, B), expected, rtol=1e-9)
        np.testing.assert_allclose(jl.cdiou_loss(A[0], B[0]), 0.9003519963, rtol=1e-9)
        np.testing.assert_allclose(jl.box_cdiou(A[0], B[0]), 0.3340996480, rtol=1e-9)
        gradient = jax.grad(lambda a: jl.cdiou_loss(a, B[0]))(jnp.array(A[0], float))
        np.testing.assert_allclose(gradient, [-0.0716651468, -0.0671770757, -0.1560252655, -0.1357143270], rtol=1e-8)

    def test_the_scale_of_the_authors_repository(self):
        np.testing.assert_allclose(
            jl.cdiou_loss(A[0], B[0], similarity="giou", weight=0.00025),
            1 - 0.2333333333 + 0.001 * 0.2336853296 / 4,
            rtol=1e-9,
        )

    def test_focal_eiou(self):
        """A pair that overlaps, a nested one and a disjoint one."""
        a, b = [A[0], A[2], A[1]], [B[0], B[2], B[1]]
        np.testing.assert_allclose(jl.focal_eiou_loss(a, b)[0], 0.4316981521, rtol=1e-9)
        np.testing.assert_allclose(jl.focal_eiou_loss(a, b, reduction="mean"), 0.3170764674, rtol=1e-9)
        weighted = jl.focal_eiou_loss(a, b, mean_over="weights", reduction="mean")
        np.testing.assert_allclose(weighted, 1.1497299723, rtol=1e-9)
        np.testing.assert_allclose(
            jl.focal_eiou_loss(a, b, variant="focal_l1"), [0.6163348056, 1.3094472798, 0.9803846494], rtol=1e-9
        )

    def test_focal_l1(self):
        values = jl.focal_l1_loss([0.2, 0.5, 1.0, 2.0], [0.0] * 4)
        np.testing.assert_allclose(values, [0.1014498210, 0.3849877360, 0.7862831900, 1.2715368385], rtol=1e-9)
        np.testing.assert_allclose(jl.focal_l1_loss([1.0, 2.0], [0.0, 0.0], beta=1 / np.e), [0.75, 1.75], rtol=1e-9)
        np.testing.assert_allclose(jl.focal_l1_loss([-1.0, 2.0], [0.0, 0.0], beta=1.0), [0.6795704570] * 2, rtol=1e-9)
        x = jnp.linspace(0.001, 3, 100_001)
        slopes = jax.vmap(jax.grad(lambda x: jl.focal_l1_loss(x, 0.0)))(x)
        np.testing.assert_allclose(slopes.max(), 1, rtol=1e-8)
        np.testing.assert_allclose(x[slopes.argmax()], 0.4598493015, atol=5e-5)
        np.testing.assert_allclose(slopes[-1], -0.8 * np.e * np.log(0.8), rtol=1e-9)


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("name", GOLDEN["losses"])
def test_torchvision_and_the_papers(name):
    """torchvision adds 1e-7 to its denominators."""
    loss, *variant = name.split(", ")
    options = {"variant": variant[0]} if variant else {}
    a, b = jnp.array(GOLDEN["boxes"]), jnp.array(GOLDEN["targets"])
    expected = GOLDEN["losses"][name]
    exact = loss in ("eiou_loss", "focal_eiou_loss", "cdiou_loss")
    digits = {"rtol": 1e-9, "atol": 1e-12} if exact else {"rtol": 2e-6, "atol": 1e-6}
    np.testing.assert_allclose(jl.get(loss)(a, b, **options), expected["values"], **digits)
    gradient = jax.grad(lambda a: jl.get(loss)(a, b, **options, reduction="sum"))(a)
    np.testing.assert_allclose(gradient, expected["gradient"], **digits)


@pytest.mark.parametrize("name", GOLDEN["pairwise"])
def test_all_pairs_as_in_torchvision(name):
    ours = getattr(jl, f"box_{name}")(GOLDEN["boxes"], GOLDEN["targets"][:5], pairwise=True)
    np.testing.assert_allclose(ours, np.array(GOLDEN["pairwise"][name])[:, :5], atol=2e-6)


@pytest.mark.parametrize("name", GOLDEN["formats"])
def test_formats_as_in_torchvision(name):
    source, target = name.split()
    written = jl.box_convert(GOLDEN["boxes"], "xyxy", source)
    np.testing.assert_allclose(jl.box_convert(written, source, target), GOLDEN["formats"][name], rtol=1e-5, atol=1e-6)


def test_an_unknown_format_and_a_wrong_axis():
    with pytest.raises(ValueError, match=r"^box_convert: target must be one of 'xyxy', 'xywh', 'cxcywh', got 'yolo'$"):
        jl.box_convert([0.0, 0.0, 1.0, 1.0], "xyxy", "yolo")
    with pytest.raises(ValueError, match=r"^box_sort_corners: boxes \(3,\) must end in an axis of 4$"):
        jl.box_sort_corners([0.0, 0.0, 1.0])
    message = r"^box_iou: boxes \(3, 4\) and targets \(2, 3\) must be \(\.\.\., N, 4\) and \(\.\.\., M, 4\)$"
    with pytest.raises(ValueError, match=message):
        jl.box_iou(jnp.zeros((3, 4)), jnp.zeros((2, 3)), pairwise=True)


def test_sorted_corners_are_no_longer_inverted():
    inverted = [10.0, 40.0, 20.0, 20.0]
    np.testing.assert_array_equal(jl.box_sort_corners(inverted), [10, 20, 20, 40])
    assert jnp.isfinite(jl.checked(jl.iou_loss)(jl.box_sort_corners(inverted), [60.0, 40.0, 70.0, 50.0]))


BOX_LOSSES = [name for name in jl.names("boxes") if name != "focal_l1_loss"]


@given(boxes(), boxes())
def test_eiou_family(a, b):
    iou, diou, eiou = (getattr(jl, f"{name}_loss")(a, b) for name in ("iou", "diou", "eiou"))
    assert (eiou >= diou - 1e-6).all()
    assert (eiou < 3.25).all()
    assert (eiou >= 0).all()
    focal = jl.focal_eiou_loss(a, b)
    assert (focal <= eiou + 1e-6).all()
    np.testing.assert_allclose(focal, np.sqrt(np.maximum(1 - iou, 0)) * eiou, atol=1e-5)
    np.testing.assert_allclose(jl.focal_eiou_loss(a, b, gamma=0.0), eiou, rtol=1e-6)
    same_sides = np.concatenate([b[:, :2], b[:, :2] + (a[:, 2:] - a[:, :2])], axis=1)
    np.testing.assert_allclose(jl.eiou_loss(a, same_sides), jl.diou_loss(a, same_sides), atol=1e-5)
    distance = jl.cdiou_loss(a, b) - iou
    assert (distance >= -1e-6).all()
    assert (distance < 1).all()
    for name in BOX_LOSSES:
        loss = getattr(jl, name)
        np.testing.assert_allclose(loss(b, a), loss(a, b), atol=1e-5)
        np.testing.assert_allclose(loss(3 * a, 3 * b), loss(a, b), atol=1e-5)
        np.testing.assert_allclose(loss(a, a), 0, atol=1e-6)


def test_the_supremum_of_eiou_is_approached_by_a_point_in_a_corner():
    loss = jl.eiou_loss([0.0, 0.0, 1e-4, 1e-4], [0.0, 0.0, 1.0, 1.0])
    np.testing.assert_allclose(loss, 3.25, atol=1e-3)


@given(st.floats(-3, 3), st.floats(0.37, 1))
def test_focal_l1_family(x, beta):
    loss = jl.focal_l1_loss
    value = loss(x, 0.0, beta=beta)
    assert value >= 0
    np.testing.assert_allclose(loss(-x, 0.0, beta=beta), value)
    np.testing.assert_allclose(loss(1.0 + 1e-4, 0.0, beta=beta), loss(1.0 - 1e-4, 0.0, beta=beta), atol=5e-4)
    assert abs(jax.grad(loss)(x, 0.0, beta=beta)) <= 1 + 1e-5


def test_focal_l1_of_no_error():
    """x² log x has no second derivative at 0; value and gradient are exactly 0."""
    loss = lambda x: jl.focal_l1_loss(x, 0.0)  # noqa: E731
    for derivative in (loss, jax.grad(loss), jax.grad(jax.grad(loss))):
        assert derivative(0.0) == 0
    assert jnp.isnan(loss(jnp.nan))


def test_boxes_attract_each_other_only_if_the_weight_is_constant():
    """A 4 x 4 box shifted by 3: with a gradient through its weight it is pushed away."""

    def loss(shift, **options):
        box = jnp.array([0.0, 0.0, 4.0, 4.0]) + shift * jnp.array([1.0, 0.0, 1.0, 0.0])
        return jl.focal_eiou_loss(box, jnp.array([0.0, 0.0, 4.0, 4.0]), **options)

    np.testing.assert_allclose(jax.grad(loss)(3.0), 0.0853, atol=5e-5)
    np.testing.assert_allclose(jax.grad(lambda s: loss(s, detach_weight=False))(3.0), -0.1297, atol=5e-5)


@pytest.mark.parametrize("options", [{}, {"mean_over": "weights"}, {"detach_weight": False}])
def test_disjoint_boxes_have_no_weight(options):
    step = jax.value_and_grad(lambda a: jl.focal_eiou_loss(a, jnp.array(B[1:2] * 2), **options, reduction="mean"))
    value, gradient = step(jnp.array(A[1:2] * 2, jnp.float32))
    assert value == 0
    assert (gradient == 0).all()


@pytest.mark.parametrize("name", BOX_LOSSES)
def test_corners_that_meet_and_boxes_without_area(name):
    """Equal boxes, points, a point in a box, lines: finite values and gradients, and second ones."""
    a = jnp.array([[1.0, 1, 2, 2], [1, 1, 1, 1], [1, 1, 1, 1], [0, 0, 2, 0], [0, 0, 0, 2]])
    b = jnp.array([[1.0, 1, 2, 2], [1, 1, 1, 1], [0, 0, 2, 2], [0, 0, 2, 0], [1, 0, 1, 2]])
    loss = lambda a: jl.get(name)(a, b)  # noqa: E731
    gradient = jax.grad(lambda a: loss(a).sum())
    assert jnp.isfinite(loss(a)).all()
    assert jnp.isfinite(gradient(a)).all()
    assert (gradient(a)[:2] == 0).all()
    assert jnp.isfinite(jax.jvp(gradient, (a,), (jnp.ones_like(a),))[1]).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: jl.focal_eiou_loss(A, B, variant="focal"),
            r"variant must be one of 'weighted', 'focal_l1', got 'focal'",
        ),
        (lambda: jl.focal_eiou_loss(A, B, mean_over="mean"), r"mean_over must be one of 'examples', 'weights', got"),
        (
            lambda: jl.focal_eiou_loss(A, B, variant="focal_l1", mean_over="weights"),
            r"variant='focal_l1': mean_over must be one of 'examples', got 'weights'",
        ),
        (
            lambda: jl.cdiou_loss(A, B, similarity="diaou"),
            r"similarity must be one of 'iou', 'giou', 'diou', 'ciou', 'eiou'",
        ),
    ],
)
def test_words_that_are_not_an_option(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_beta_out_of_range_raises():
    with pytest.raises(ValueError, match=r"focal_l1_loss: beta must be a number in \[1/e, 1\], got 0.2"):
        jaxlosses.focal_l1_loss([1.0], [0.0], beta=0.2)
    with pytest.raises(Exception, match=r"focal_l1_loss: beta must lie in \[1/e, 1\]"):
        jl.checked(jax.jit(jl.focal_l1_loss))([1.0], [0.0], beta=jnp.float32(0.2))
