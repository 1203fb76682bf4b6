"""Reduce a loss: its values and its mask become what `reduction` asks for.

With values `v`, their counts `c` (1 each unless the loss says otherwise), the mask `m` and the sample weights `w`:

    "none"   w·m·v, in the shape of the values, with 0 where masked
    "sum"    Σ w·m·v
    "mean"   Σ w·m·v / Σ w·m·c, and 0 with zero gradient if nothing counts
    "parts"  Parts(Σ w·m·v, Σ w·m·c): add them over microbatches and devices, and divide once

Every loss takes the same three keywords, and they mean the same everywhere:

    where           bool, True counts. Its shape is a prefix of the inputs' shape, without the axis that the loss
                    takes as one thing (classes, box coordinates). Masked elements are gone: what they hold, NaN
                    included, changes neither the value nor the gradient.
    sample_weights  numbers >= 0, aligned in the same way.
    reduction       one of the four above; "none" is the default.
"""

from typing import cast

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from jaxlosses.core.errors import one_of
from jaxlosses.core.masks import LossMask, align
from jaxlosses.core.types import Parts, Reduced

REDUCTIONS = ("none", "sum", "mean", "parts")


def reduce(
    values: Float[Array, "..."], mask: LossMask, reduction: str, counts: Float[Array, "..."] | None = None
) -> Reduced:
    """Reduce a loss's values by name.

    Args:
        values: one per element or example.
        mask: from `jaxlosses.core.checks`; it lines up with the leading axes of `values`.
        reduction: `"none"`, `"sum"`, `"mean"` or `"parts"`; see the top of this module.
        counts: what each value counts for in the mean, in the shape of `values`; None for 1 each.

    Returns:
        An array like `values` for `"none"`, a `Parts` for `"parts"`, else a scalar.

    Raises:
        ValueError: for any other reduction.

    Example:
        >>> import jax.numpy as jnp
        >>> mask = LossMask("my_loss", jnp.array([True, True, False]), sample_weights=jnp.array([1.0, 3.0, 1.0]))
        >>> reduce(jnp.array([4.0, 8.0, jnp.nan]), mask, "mean")
        Array(7., dtype=float32)
    """
    one_of(mask.loss, "reduction", reduction, REDUCTIONS)
    if mask.shape is not None and values.shape != mask.shape:
        raise ValueError(
            f"{mask.loss}: a keyword has broadcast its values from {mask.shape} to {values.shape}; "
            "it must be a number, or have the rank of the values; did you mean jax.vmap?"
        )
    weighted = _weighted(values, mask)
    if reduction == "none":
        return weighted
    total = jnp.sum(weighted)
    if reduction == "sum":
        return total
    parts = Parts(total, _count(values, counts, mask))
    return cast(Reduced, parts) if reduction == "parts" else parts.mean()


def _weighted(values: Array, mask: LossMask) -> Array:
    if mask.where is not None:
        values = jnp.where(align(mask.where, values.ndim), values, 0)
    if mask.sample_weights is None:
        return values
    weights = align(mask.sample_weights, values.ndim).astype(values.dtype)
    if mask.where is not None:
        weights = jnp.where(align(mask.where, values.ndim), weights, 0)
    # A weight of 0 is off, also for a value that is infinite at finite inputs (KL with q = 0).
    return weights * jnp.where((weights == 0) & ~jnp.isfinite(values), 0, values)


def _count(values: Array, counts: Array | None, mask: LossMask) -> Array:
    if counts is not None or mask.sample_weights is not None:
        ones = jnp.ones(values.shape, values.dtype)
        return jnp.sum(_weighted(ones if counts is None else jnp.broadcast_to(counts, values.shape), mask))
    if mask.where is None:
        return jnp.asarray(values.size, values.dtype)
    # Counted in integers: a float32 sum of ones stops growing at 2**24.
    counted = jnp.broadcast_to(align(mask.where, values.ndim), values.shape)
    return jnp.sum(counted, dtype=jnp.int32).astype(values.dtype)
