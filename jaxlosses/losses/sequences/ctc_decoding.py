"""From paths to labels: the map B of connectionist temporal classification, and greedy decoding."""

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Int

from jaxlosses.core import checks
from jaxlosses.core.keywords import public_function
from jaxlosses.core.types import ArrayLike
from jaxlosses.losses.sequences._lengths import Lengths, prepare_lengths

__all__ = ["ctc_collapse", "ctc_greedy_decode"]


@public_function
def ctc_collapse(
    path: ArrayLike, *, blank_id: int = 0, lengths: ArrayLike | None = None
) -> tuple[Int[Array, "*batch time"], Int[Array, "*batch"]]:
    """Turn CTC paths of one class per frame into labels (the map B): merge repeats, then delete blanks.

        B(-s-tt-aatt-e) = B(ss-t-a-t-e) = state

    Args:
        path: `(..., time)`, class ids.
        blank_id: the id of the blank.
        lengths: `(...)`, how many frames of each path are not padding; None for all.

    Returns:
        The labels, `(..., time)`, at the left and padded with `blank_id`; and their number, `(...)`.

    Raises:
        ValueError: if the path has no time axis, or `lengths` are not one per path.
        TypeError: if the path or the lengths are not integers.

    Example:
        >>> import jaxlosses as jl
        >>> jl.ctc_collapse([[0, 3, 3, 0, 3, 5, 5]])
        (Array([[3, 3, 5, 0, 0, 0, 0]], dtype=int32), Array([3], dtype=int32))

    Reference:
        Graves, Fernández, Gomez and Schmidhuber, Connectionist Temporal Classification, 2006,
        doi:10.1145/1143844.1143891.
    """
    path = checks.to_integers("ctc_collapse", "path", path)
    if path.ndim == 0:
        raise ValueError("ctc_collapse: path () must be (..., time)")
    if not jnp.iinfo(path.dtype).min <= blank_id <= jnp.iinfo(path.dtype).max:
        raise ValueError(f"ctc_collapse: blank_id={blank_id} must fit the {path.dtype} of the path")
    return _collapse(path, blank_id, prepare_lengths("ctc_collapse", "lengths", lengths, path.shape))


@public_function
def ctc_greedy_decode(
    logits: ArrayLike, *, input_lengths: ArrayLike | None = None, blank_id: int = 0
) -> tuple[Int[Array, "*batch time"], Int[Array, "*batch"]]:
    """Greedy (best path) decoding of a CTC model's outputs: the labels of the most likely class at each frame.

        labels = B(argmax_k z_tk)

    It is fast and approximate: other labels may be more likely, for their probability is a sum over many paths.

    Args:
        logits: `(..., time, classes)`, or log-probabilities.
        input_lengths: `(...)`, how many frames of each sequence are not padding; None for all.
        blank_id: the class of the blank.

    Returns:
        The labels, `(..., time)`, at the left and padded with `blank_id`; and their number, `(...)`.

    Raises:
        ValueError: if the logits lack an axis, `input_lengths` are not one per sequence, or `blank_id` is no class.
        TypeError: if `input_lengths` are not integers.

    Example:
        >>> import jaxlosses as jl
        >>> jl.ctc_greedy_decode([[0.0, 2.0, 1.0], [0.0, 3.0, 1.0], [2.0, 1.0, 1.0], [0.0, 1.0, 2.0]])
        (Array([1, 2, 0, 0], dtype=int32), Array(2, dtype=int32))

    Reference:
        Graves, Fernández, Gomez and Schmidhuber, Connectionist Temporal Classification, 2006,
        doi:10.1145/1143844.1143891.
    """
    logits = checks.to_array("ctc_greedy_decode", "logits", logits)
    if logits.ndim < 2 or logits.shape[-1] == 0:
        raise ValueError(f"ctc_greedy_decode: logits {logits.shape} must be (..., time, classes)")
    if not 0 <= blank_id < logits.shape[-1]:
        raise ValueError(f"ctc_greedy_decode: blank_id={blank_id} must be a class of logits {logits.shape}")
    path = jnp.argmax(logits, axis=-1)
    return _collapse(path, blank_id, prepare_lengths("ctc_greedy_decode", "input_lengths", input_lengths, path.shape))


def _collapse(path: Array, blank_id: int, frames: Lengths) -> tuple[Array, Array]:
    starts_run = jnp.concatenate([jnp.ones_like(path[..., :1], bool), path[..., 1:] != path[..., :-1]], axis=-1)
    is_label = starts_run & (path != blank_id) & frames.mask
    count = jnp.sum(is_label, axis=-1, dtype=jnp.int32)
    labels_first = jnp.take_along_axis(path, jnp.argsort(~is_label, axis=-1, stable=True), axis=-1)
    index = jax.lax.broadcasted_iota(jnp.int32, path.shape, path.ndim - 1)
    return jnp.where(index < count[..., None], labels_first, blank_id), count
