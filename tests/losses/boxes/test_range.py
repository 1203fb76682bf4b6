"""Box losses from the smallest to the largest numbers, at equal boxes, and the memory of all pairs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxlosses as jl

LOSSES = [name for name in jl.names("boxes") if name != "focal_l1_loss"]
SIMILARITIES = ["box_iou", "box_giou", "box_diou", "box_ciou", "box_eiou", "box_cdiou"]
UNIT = [0.0, 0.0, 1.0, 1.0]


def by_formula(a, b):
    """The losses from the papers' formulas, in double precision."""
    low, high = np.maximum(a[:2], b[:2]), np.minimum(a[2:], b[2:])
    intersection = np.prod(np.maximum(high - low, 0))
    sides_a, sides_b = a[2:] - a[:2], b[2:] - b[:2]
    union = np.prod(sides_a) + np.prod(sides_b) - intersection
    hull = np.maximum(a[2:], b[2:]) - np.minimum(a[:2], b[:2])
    iou = 1 - intersection / union
    diou = iou + np.sum(((a[:2] + a[2:] - b[:2] - b[2:]) / 2) ** 2) / np.sum(hull**2)
    v = 4 / np.pi**2 * (np.arctan2(*sides_a) - np.arctan2(*sides_b)) ** 2
    eiou = diou + np.sum(((sides_a - sides_b) / hull) ** 2)
    corners = [np.hypot(a[x] - b[x], a[y] - b[y]) for x in (0, 2) for y in (1, 3)]
    return {
        "iou_loss": iou,
        "giou_loss": iou + (np.prod(hull) - union) / np.prod(hull),
        "diou_loss": diou,
        "ciou_loss": diou + v * v / (iou + v),
        "eiou_loss": eiou,
        "focal_eiou_loss": np.sqrt(1 - iou) * eiou,
        "cdiou_loss": iou + np.mean(corners) / np.hypot(*hull),
    }


PAIRS = {
    "tiny": (np.array([0.0, 0, 4, 4]) * 1e-30, np.array([1.0, 1, 6, 5]) * 1e-30),
    "huge": (np.array([0.0, 0, 4, 4]) * 1e30, np.array([1.0, 1, 6, 5]) * 1e30),
    "a point far away": (np.array(UNIT), np.full(4, 1e20)),
    "small in large": (np.array([1.0, 1, 2, 2]) * 1e-18, np.array([0.0, 0, 1, 1]) * 1e18),
    "tiny in huge": (np.array([1.0, 1, 2, 2]) * 1e-20, np.array([0.0, 0, 1, 1]) * 1e20),
    "thin": (np.array([0.0, 0, 4, 4]) * ([1e-20, 1e20] * 2), np.array([1.0, 1, 6, 5]) * ([1e-20, 1e20] * 2)),
    "the whole range": (np.array([-3e38, -3e38, 3e38, 3e38]), np.array([1e38, 0, 2e38, 3e38])),
}


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("name", LOSSES)
def test_values_and_gradients_of_any_size(name, pair):
    a, b = (np.float32(box) for box in PAIRS[pair])
    loss = jl.get(name)
    value, gradients = jax.value_and_grad(loss, (0, 1))(a, b)
    np.testing.assert_allclose(value, by_formula(*map(np.float64, (a, b)))[name], rtol=1e-5)
    # Moving or scaling both boxes changes nothing.
    assert np.isfinite(gradients).all()
    if (name, pair) == ("cdiou_loss", "tiny in huge"):
        return  # corners that are 1e-40 of the diagonal apart count as equal: no square is so small
    for axis in (0, 1):
        slopes = np.float64([gradient[axis::2] for gradient in gradients])
        largest = np.abs(slopes).max()
        np.testing.assert_allclose(slopes.sum() / max(largest, 1e-37), 0, atol=1e-5)
    with jax.enable_x64(True):
        exact = jax.grad(loss, (0, 1))(np.float64(a), np.float64(b))
    np.testing.assert_allclose(gradients, exact, rtol=1e-4, atol=1e-5 * np.abs(exact).max() + 1e-36)


def test_second_derivatives_of_tiny_boxes():
    """They grow with the square of the scale; at 1e-13 they are about 1e25."""
    a, b = np.float32([0, 0, 4, 4]), np.float32([1, 1, 6, 5])
    hessian = jax.jit(jax.hessian(jl.giou_loss))
    scale = np.float32(2.0**-43)
    np.testing.assert_allclose(hessian(a * scale, b * scale) * scale**2, hessian(a, b), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", LOSSES + SIMILARITIES)
def test_equal_boxes_have_slope_0_whatever_the_rounding(name):
    corners, sides = np.split(np.random.default_rng(0).uniform(0.01, 3000, (1000, 4)), 2, axis=1)
    boxes = np.concatenate([corners, corners + sides], axis=1)
    boxes = np.float32(np.concatenate([boxes, boxes * 1e-30, boxes * 1e30, [[1806.38, 1811.4, 1809.73, 1815.4]]]))
    loss = getattr(jl, name)
    total = lambda a, b: (jnp.sum(values := loss(a, b)), values)  # noqa: E731
    gradients, values = jax.jit(jax.grad(total, (0, 1), has_aux=True))(boxes, boxes)
    best = 0 if name in LOSSES else np.float32(1.001) if name == "box_cdiou" else 1
    assert (values == best).all()
    assert not np.any(gradients)


@pytest.mark.parametrize("name", SIMILARITIES)
def test_the_gradient_of_all_pairs_needs_little_more_memory_than_the_values(name):
    n = 2048
    boxes = jax.ShapeDtypeStruct((n, 4), jnp.float32)
    total = lambda a, b: jnp.sum(getattr(jl, name)(a, b, pairwise=True))  # noqa: E731
    memory = jax.jit(jax.grad(total, (0, 1))).lower(boxes, boxes).compile().memory_analysis()
    assert memory.temp_size_in_bytes < 3 * 4 * n * n


@pytest.mark.parametrize("name", SIMILARITIES)
def test_all_pairs_have_the_derivatives_of_pairs_one_by_one(name):
    """In blocks that do not divide the rows, in both modes."""
    rng = np.random.default_rng(0)
    corners, sides = rng.uniform(0.1, 1, (2, 700, 2)), rng.uniform(0.1, 1, (2, 700, 2))
    a, b = np.float32(np.concatenate([corners, corners + sides], axis=2))
    weights = np.float32(rng.normal(size=(700, 700)))
    similarity = getattr(jl, name)
    blocks = lambda a, b: jnp.sum(weights * similarity(a, b, pairwise=True))  # noqa: E731
    one_by_one = lambda a, b: jnp.sum(weights * jax.vmap(jax.vmap(similarity, (None, 0)), (0, None))(a, b))  # noqa: E731
    actual, expected = (jax.jit(jax.grad(f, (0, 1)))(a, b) for f in (blocks, one_by_one))
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-3)
    forward = jax.jit(lambda da, db: jax.jvp(blocks, (a, b), (da, db))[1])(a, b)
    np.testing.assert_allclose(forward, np.vdot(actual[0], a) + np.vdot(actual[1], b), rtol=1e-3, atol=0.1)


def test_focal_l1_of_an_error_above_the_largest_number():
    value, slope = jax.value_and_grad(jl.focal_l1_loss)(3e38, -3e38)
    np.testing.assert_allclose(slope, -np.e * 0.8 * np.log(0.8), rtol=1e-6)
    np.testing.assert_allclose(value, -np.e * 0.8 * np.log(0.8) * 6e38, rtol=1e-6)
