"""The auxiliary output of many calls, folded into one row of a log."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

__all__ = ["summarize"]


def summarize(aux: Mapping[str, Mapping[str, Any]] | Sequence[Mapping[str, Mapping[str, Any]]]) -> dict[str, Any]:
    """Fold the `aux` of an epoch's steps, or of microbatches, into one row of a log: a flat dict of numbers.

        loss = Σ count · loss / Σ count,   weight, active = their means,   count = Σ count

    The mean of losses over everything that counted is exact, whatever the masks: a step of 3 boxes weighs 3, one of 300
    weighs 300. It is the same number whether a batch came as one or as microbatches under `counts=`; but for a term
    with `reduction="sum"`, whose sums are averaged by their counts like the others.

    Args:
        aux: what an objective returned beside the total, with a leading axis (or more) for the steps, as `jax.lax.scan`
            stacks it; or a list of them.

    Returns:
        A dict by `"loss/box"`, `"weight/box"`, `"count/box"`, `"active/box"` and `"metric/box/name"`: Python floats,
        or arrays under `jit`. The loss and the metrics of a term that never was active, or had nothing to count, are
        NaN: there is no such number.

    Raises:
        ValueError: if `aux` is not what an objective returns, or an empty list.

    Example:
        >>> import jax.numpy as jnp, jaxlosses as jl
        >>> objective = jl.Objective({"box": jl.Term("absolute_error", ("out", "box"), where="has_box")})
        >>> steps = [{"out": jnp.zeros(2), "box": jnp.array([1.0, 3.0]), "has_box": jnp.array([True, both])}
        ...          for both in (True, False)]
        >>> jl.summarize([objective(data)[1] for data in steps])["loss/box"]  # (1 + 3 + 1) / 3
        1.6666666666666667
    """
    if isinstance(aux, Mapping):
        stacked: Any = aux
    elif aux:
        stacked = _stack(aux)
    else:
        raise ValueError("summarize: there is no aux in the list; give one of every step")
    if not {"loss", "weight", "count", "active"} <= set(stacked):
        raise ValueError(
            f"summarize: aux must be what an objective returns beside the total, got the keys {[*stacked]}"
        )
    traced = any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(stacked))
    # On the host in float64: a float32 sum of counts stops growing at 2**24.
    arrays = stacked if traced else jax.tree.map(lambda x: np.asarray(x, np.float64), stacked)
    row = _fold(jnp if traced else np, arrays)
    return row if traced else {key: float(x) for key, x in row.items()}


def _stack(steps: Sequence[Mapping[str, Mapping[str, Any]]]) -> dict[str, dict[str, Any]]:
    """One aux with a leading axis; what a step does not have (the metrics of a term that is off) is 0 there."""
    keys = {
        column: dict.fromkeys(name for one in steps for name in one.get(column, {})) for one in steps for column in one
    }
    return {
        column: {name: jnp.stack([jnp.asarray(one.get(column, {}).get(name, 0.0)) for one in steps]) for name in names}
        for column, names in keys.items()
    }


def _fold(xp: Any, aux: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    counts = {name: count * aux["active"][name] for name, count in aux["count"].items()}

    def mean(name: str, values: Any) -> Any:
        total = xp.sum(counts[name])
        # What is off reports 0, but what reports NaN in a step without counts has said nothing.
        weighted = xp.sum(xp.where(counts[name] > 0, values, 0) * counts[name])
        return xp.where(total > 0, weighted / xp.where(total > 0, total, 1), xp.nan)

    row = {f"loss/{name}": mean(name, loss) for name, loss in aux["loss"].items()}
    row |= {f"weight/{name}": xp.mean(weight) for name, weight in aux["weight"].items()}
    row |= {f"count/{name}": xp.sum(count) for name, count in aux["count"].items()}
    row |= {f"active/{name}": xp.mean(active) for name, active in aux["active"].items()}
    for key, values in aux.get("metric", {}).items():
        term = max((name for name in counts if key.startswith(f"{name}/")), key=len)
        row[f"metric/{key}"] = mean(term, values)
    return row
