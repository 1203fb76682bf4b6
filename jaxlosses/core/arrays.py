"""From what a user gives to JAX arrays, without changing what integers say.

JAX without x64 knows 32 bits, and cuts off the rest: int64's minimum, and 2**32, would become 0. So what comes from
NumPy or Python is looked at here before JAX has it. Integers beyond 32 bits become the nearest of 32 bits, which are no
class and no length; as numbers they are rounded like any other. Inside a user's own `jit`, JAX has cut them before.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Float, Int

from jaxlosses.core.errors import describe
from jaxlosses.core.types import ArrayLike, compute_dtype


def to_array(loss: str, name: str, value: ArrayLike) -> Array:
    """`value` as a JAX array of real numbers, or of bools."""
    array = _host_or_jax(loss, name, value)
    with np.errstate(over="ignore"):  # 1e40 becomes infinity
        return array if isinstance(array, jax.Array) else jnp.asarray(saturated(array))


def to_floats(loss: str, **arrays: ArrayLike) -> tuple[Array, ...]:
    """The arrays in the one precision they are computed in: float32, or float64 if one of them has it."""
    return _in_one_precision([_host_or_jax(loss, name, value) for name, value in arrays.items()])


def to_integers(loss: str, name: str, value: ArrayLike) -> Int[Array, "..."]:
    """An array of class ids or lengths, in int32 or int64: uint8 could neither count 300 classes nor hold -100."""
    array = to_array(loss, name, value)
    if array.size and not jnp.issubdtype(array.dtype, jnp.integer):
        raise TypeError(f"{loss}: {name} must be integers, got {array.dtype}; {name}.astype(jnp.int32)?")
    if array.dtype == jnp.uint32 and jnp.result_type(int) == jnp.int32:
        array = jnp.minimum(array, np.uint32(2**31 - 1))
    return array.astype(jnp.int64 if array.dtype.itemsize > 4 else jnp.int32)


def to_bool(loss: str, name: str, value: ArrayLike, hint: str) -> Bool[Array, "..."]:
    """`value` as a JAX array, once it is boolean."""
    array = to_array(loss, name, value)
    if array.dtype != bool:
        raise TypeError(f"{loss}: {name} must be boolean, got {array.dtype}; {hint}")
    return array


def differs(labels: Array, number: int) -> Bool[Array, "..."]:
    """Which class ids are not equal to `number`, an `ignore_label` that their dtype need not be able to hold."""
    if not jnp.issubdtype(labels.dtype, jnp.integer):
        return labels != float(number)
    info = jnp.iinfo(labels.dtype)
    nearest = min(max(number, int(info.min)), int(info.max))
    is_cut = nearest != number and info.bits < 32  # those never held it
    return jnp.ones(labels.shape, bool) if is_cut else labels != jnp.asarray(nearest, labels.dtype)


def saturated(array: np.ndarray) -> np.ndarray:
    """Clip integers of 64 bits to the 32 that JAX keeps, for it would cut them; other arrays stay as they are."""
    kept = jax.dtypes.canonicalize_dtype(array.dtype)
    if array.dtype.kind not in "iu" or kept == array.dtype or not array.size:
        return array
    info = np.iinfo(kept)
    return (
        array if info.min <= array.min() and array.max() <= info.max else np.asarray(np.clip(array, info.min, info.max))
    )


def fits_32_bits(loss: str, name: str, value: ArrayLike) -> Bool[np.ndarray, "..."] | None:
    """Which integers of NumPy or Python JAX can hold; None if it can hold all, as it does its own."""
    array = _host_or_jax(loss, name, value)
    if isinstance(array, jax.Array) or (kept := saturated(array)) is array:
        return None
    return np.asarray(kept == array)


def _host_or_jax(loss: str, name: str, value: Any) -> Array | np.ndarray:
    """Read a value as a JAX array if it is one (or wraps one), else as a NumPy array, which has all bits."""
    try:
        array = jnp.asarray(value) if isinstance(value, jax.Array) or hasattr(value, "__jax_array__") else _host(value)
    except Exception as error:  # whatever the value's own conversion raises
        raise TypeError(f"{loss}: {name} must be an array or a list of numbers, got {describe(value)}") from error
    if jnp.issubdtype(array.dtype, jnp.complexfloating):
        raise TypeError(f"{loss}: {name} must be real, got {array.dtype}; did you mean {name}.real?")
    if not (
        array.dtype == bool or jnp.issubdtype(array.dtype, jnp.integer) or jnp.issubdtype(array.dtype, jnp.floating)
    ):
        hint = "; a random key is no data" if jnp.issubdtype(array.dtype, jax.dtypes.prng_key) else ""
        raise TypeError(f"{loss}: {name} must be an array or a list of numbers, got {describe(value)}{hint}")
    return array


def _host(value: Any) -> Array | np.ndarray:
    try:
        array = np.asarray(value)
    except jax.errors.TracerArrayConversionError:  # a list of traced arrays
        return jnp.asarray(value)
    if array.dtype == object and all(isinstance(x, int) for x in array.flat):  # Python's integers have no end
        return np.clip(array, -(2**63), 2**63 - 1).astype(np.int64)
    return array


def _in_one_precision(arrays: list[Array | np.ndarray]) -> tuple[Array, ...]:
    floating = [array for array in arrays if jnp.issubdtype(array.dtype, jnp.floating)]
    dtype = compute_dtype(*floating) if floating else jnp.result_type(float)
    with np.errstate(over="ignore"):  # NumPy's are rounded by NumPy, from all of their bits
        return tuple(jnp.asarray(array.astype(dtype)) for array in arrays)


# Differences


def to_comparable(loss: str, **arrays: ArrayLike) -> tuple[Array, ...]:
    """Arrays of which a loss takes differences only: floats, or as they are if all are integers (`relative_to`).

    Integers of NumPy or Python that do not fit 32 bits are moved together, so that their differences stay.
    """
    converted = [_host_or_jax(loss, name, value) for name, value in arrays.items()]
    if not all(jnp.issubdtype(array.dtype, jnp.integer) for array in converted):
        return _in_one_precision(converted)
    if all(isinstance(array, np.ndarray) and array.size for array in converted):
        lowest = min(int(array.min()) for array in converted)
        highest = max(int(array.max()) for array in converted)
        info = np.iinfo(jax.dtypes.canonicalize_dtype(int))
        if lowest < info.min or highest > info.max:
            if highest - lowest > info.max:
                return _in_one_precision(converted)
            converted = [(array.astype(object) - lowest).astype(info.dtype) for array in converted]
    elif any(isinstance(array, np.ndarray) and saturated(array) is not array for array in converted):
        return _in_one_precision(converted)
    return tuple(map(jnp.asarray, converted))


def relative_to(origin: Array, *arrays: Array) -> tuple[Float[Array, "..."], ...]:
    """Arrays of which a loss takes differences only, less `origin` if they are integers; floats as they are."""
    return arrays if jnp.issubdtype(origin.dtype, jnp.floating) else tuple(difference(x, origin) for x in arrays)


def difference(a: Array, b: Array) -> Float[Array, "..."]:
    """The difference a - b. Of integers it is exact before it is rounded to a float, wherever it fits their bits."""
    if jnp.issubdtype(a.dtype, jnp.floating):
        return a - b
    wide = jnp.int64 if max(a.dtype.itemsize, b.dtype.itemsize) > 4 else jnp.int32
    rounded = a.astype(jnp.result_type(float)) - b.astype(jnp.result_type(float))
    exact = a.astype(wide) - b.astype(wide)  # wraps around, and back again if the difference fits
    # It has wrapped around if it is far from the rounded one: by 2**32, while rounding is 2**9 at most.
    limit = 2.0 ** (8 * exact.dtype.itemsize - 1)
    exact_float = exact.astype(rounded.dtype)
    return jnp.where(jnp.abs(exact_float - rounded) < limit, exact_float, rounded)
