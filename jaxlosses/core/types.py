"""The few words that every signature shares."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from jaxlosses.core.numerics import safe_divide

ArrayLike: TypeAlias = jax.typing.ArrayLike | Sequence[Any]
"""What a loss accepts: arrays of any real dtype, numbers, and (nested) lists of numbers."""

Number: TypeAlias = jax.typing.ArrayLike
"""A numeric hyperparameter: a Python number, or an array (traced, or swept by vmap)."""


class Likelihood(NamedTuple):
    """How uncertainty weighting reads a loss L as a negative log-likelihood: `c e^-s L + r s`, with s learned.

    Attributes:
        scale: c; 1/2 for a squared error, 1 for a cross-entropy or an absolute error.
        log_variance_weight: r, what the log-variance s costs; 1/2, or 1 for an absolute error (Laplace).
    """

    scale: float = 1.0
    log_variance_weight: float = 0.5


class Parts(NamedTuple):
    """A weighted sum of loss values, and their count: the parts of microbatches and devices add up to exact means.

    Two microbatches, or two devices, each give their parts; the mean over everything is the mean of the
    added parts, whereas the mean of two means is wrong as soon as their masks differ.

    >>> import jax.numpy as jnp
    >>> print((Parts(jnp.array(4.0), jnp.array(4.0)) + Parts(jnp.array(9.0), jnp.array(1.0))).mean())
    2.6
    """

    sum: Float[Array, ""]
    count: Float[Array, ""]  # type: ignore[assignment]  # a count, and not tuple's method of that name

    def __add__(self, other: "Parts") -> "Parts":  # type: ignore[override]  # not concatenation
        return Parts(self.sum + other.sum, self.count + other.count)

    def __radd__(self, other: int) -> "Parts":
        if other != 0:  # the start of the built-in `sum`
            raise TypeError(f"Parts can be added to Parts, not to {other!r}")
        return self

    def mean(self) -> Float[Array, ""]:
        """`sum / count`, and 0 with zero gradient where nothing counts."""
        return safe_divide(self.sum, self.count)


if TYPE_CHECKING:  # what three of the four reductions return, so that editors know an array when they see one
    Reduced: TypeAlias = Array
else:
    Reduced: TypeAlias = Float[Array, "..."] | Parts


def compute_dtype(*arrays: Any) -> Any:
    """The precision that floating arrays are computed in: float32, or float64 if one of them has it."""
    dtypes = [jax.dtypes.canonicalize_dtype(array.dtype) for array in arrays]  # NumPy's may be wider than JAX's
    return jnp.float64 if jnp.float64 in dtypes else jnp.float32


def precision_of(*inputs: Any) -> Any:
    """The precision in which a function computes these inputs: trees of arrays and of Python numbers."""
    leaves = [np.zeros((), float) if isinstance(x, float) else x for x in jax.tree.leaves(inputs)]
    arrays = [x for x in leaves if hasattr(x, "dtype") and jnp.issubdtype(x.dtype, jnp.floating)]
    return compute_dtype(*arrays) if arrays else jnp.result_type(float)
