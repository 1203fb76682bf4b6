"""Integers: what is cut off without x64, what floats round away, and which types meet."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxlosses as jl
from jaxlosses import registry
from jaxlosses.core import arrays
from jaxlosses.core.keywords import is_optional
from jaxlosses.core.signatures import parameters_of

LOGITS = [[2.0, 1.0, 0.1]]
BEYOND = [np.iinfo(np.int64).min, np.iinfo(np.int64).max, 2**32, 2**32 + 1, -(2**32), 2**70]


@pytest.mark.parametrize("number", BEYOND)
@pytest.mark.parametrize("form", ["NumPy", "Python"])
def test_a_class_id_beyond_32_bits_is_no_class(number, form):
    if form == "NumPy" and number == 2**70:
        number = 2**63 - 1
    labels = np.array([number]) if form == "NumPy" else [number]
    value, gradient = jax.value_and_grad(lambda z: jl.softmax_cross_entropy(z, labels, reduction="sum"))(
        jnp.array(LOGITS)
    )
    assert np.isnan(value)
    assert np.isnan(gradient).all()
    with pytest.raises(ValueError, match=r"softmax_cross_entropy: labels must be class ids in \[0, 3\)"):
        jl.checked(jl.softmax_cross_entropy)(jnp.array(LOGITS), labels)
    if form == "Python":
        return  # jit itself refuses them
    with pytest.raises(ValueError, match=r"softmax_cross_entropy: labels must be class ids"):
        jl.checked(jax.jit(jl.softmax_cross_entropy))(jnp.array(LOGITS), labels)


def test_an_ignored_label_beyond_32_bits_is_ignored():
    lowest = np.iinfo(np.int64).min
    labels = np.array([0, lowest])
    assert jl.softmax_cross_entropy(LOGITS * 2, labels, ignore_label=lowest)[1] == 0
    assert np.isnan(jl.softmax_cross_entropy(LOGITS * 2, labels, ignore_label=-100)[1])


def test_lengths_beyond_32_bits_are_no_lengths():
    logits, labels = np.zeros((2, 4, 3), np.float32), np.array([[1, 2], [1, 2]])
    ctc = jl.ctc_loss(logits, labels, input_lengths=np.array([4, 2**32 + 4]))
    assert np.isnan(ctc).tolist() == [False, True]
    tokens = jl.sequence_cross_entropy(np.zeros((2, 4, 3)), np.zeros((2, 4), int), lengths=np.array([2**32, 3]))
    assert np.isnan(tokens).tolist() == [True, False]


IDS = np.array([2**32, 2**32 + 1, 0, 1, 0, 1])


@pytest.mark.parametrize(
    "name",
    [
        *("batch_all_triplet_loss", "batch_hard_triplet_loss", "semi_hard_triplet_loss", "pairwise_contrastive_loss"),
        *("n_pair_loss", "info_nce_loss"),
    ],
)
def test_an_id_of_an_embedding_beyond_32_bits_has_no_loss(name):
    rows = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
    arguments = (rows, rows[::-1]) if name in ("n_pair_loss", "info_nce_loss") else (rows,)
    loss = lambda labels, **keywords: getattr(jl, name)(*arguments, labels=labels, **keywords)  # noqa: E731
    assert np.isnan(loss(IDS)).tolist() == [True, True, False, False, False, False]
    for labels in (IDS, IDS.tolist()):
        with pytest.raises(ValueError, match=f"{name}: labels must fit 32 bits"):
            jl.checked(loss)(labels)
    np.testing.assert_array_equal(loss(IDS, where=IDS < 2)[:2], 0)
    jl.checked(loss)(IDS, where=IDS < 2)
    large = IDS % 2**32 + 2**30  # fits
    np.testing.assert_array_equal(loss(large), loss(IDS % 2**32))


DTYPES = ["int8", "uint8", "int16", "uint16", "int32", "uint32"]


@pytest.mark.parametrize(("first", "second"), [*itertools.product(DTYPES, DTYPES)])
def test_differences_of_integers_are_exact_where_they_fit(first, second):
    rng = np.random.default_rng(0)

    def numbers(dtype):
        info = np.iinfo(dtype)
        ends = [info.min, info.min + 1, info.max - 1, info.max, 0, 1]
        return np.array([*ends, *rng.integers(info.min, info.max, 40, endpoint=True)], np.int64)

    a, b = (x.ravel() for x in np.meshgrid(numbers(first), numbers(second)))
    exact = (a - b).astype(np.float64)
    got = np.asarray(jax.jit(arrays.difference)(a.astype(first), b.astype(second)), np.float64)
    fits = np.abs(exact) < 2**31
    np.testing.assert_array_equal(got[fits], exact.astype(np.float32)[fits])
    np.testing.assert_allclose(got, exact, rtol=3e-7)


OFFSETS = [2**24, 2**30, 2**31 - 10, 2**40, 2**62]


@pytest.mark.parametrize(
    ("dtype", "offset"),
    [(t, n) for t in ("int32", "uint32", "int64", "uint64") for n in OFFSETS if n + 5 <= np.iinfo(t).max],
)
def test_errors_between_large_integers(dtype, offset):
    p, t = np.array([offset + 1, offset + 5], dtype), np.array([offset, offset + 1], dtype)
    np.testing.assert_array_equal(jl.absolute_error(p, t), [1, 4])
    np.testing.assert_array_equal(jl.squared_error(t, p), [1, 16])
    if np.iinfo(dtype).bits == 32:
        np.testing.assert_array_equal(jax.jit(jl.absolute_error)(p, t), [1, 4])


def test_integers_beyond_32_bits_are_rounded_like_other_numbers():
    np.testing.assert_allclose(jl.absolute_error(np.array([2**40]), np.array([0.0])), [2.0**40])
    np.testing.assert_allclose(jl.absolute_error([2**62], [-(2**62)]), [2.0**63])
    np.testing.assert_allclose(jl.absolute_error([2**100], [0.0]), [2.0**63])


WRONG = [None, "a", {1: 2}, {1, 2}, object(), [[1.0], [1.0, 2.0]], 1j, np.array(["a"]), [None], jax.random.key(0), len]


@pytest.mark.parametrize("wrong", WRONG, ids=lambda x: str(x)[:20])
@pytest.mark.parametrize("name", [name for name in registry.names() if registry.get(name).family != "penalties"])
@pytest.mark.usefixtures("_annotations_off")
def test_what_is_no_array_is_an_error_that_says_so(name, wrong):
    spec = registry.get(name)
    inputs = [np.asarray(x) for x in spec.example_inputs(jax.random.key(0))]
    for index, argument in enumerate(spec.inputs):
        if wrong is None and is_optional(parameters_of(spec.function)[argument].annotation):
            continue
        given = [wrong if i == index else x for i, x in enumerate(inputs)]
        with pytest.raises((TypeError, ValueError), match=f"^{name}: .*{argument}"):
            spec(*given)
