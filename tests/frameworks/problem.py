"""Two tasks on real digits, in two stages: which digit it is, and from a boundary on also where its ink is."""

import contextlib
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from sklearn.datasets import load_digits

import jaxlosses as jl

BOUNDARY, STEPS, BATCH = 20, 60, 64


def batches(count: int = 4) -> list[dict[str, Array]]:
    """Scans of 8 by 8 pixels; every third has no centre, but NaN."""
    scans, labels = load_digits(return_X_y=True)
    scans, labels = scans[: count * BATCH] / 16, labels[: count * BATCH]
    ink = scans.reshape(-1, 8, 8)
    rows, columns = np.mgrid[:8, :8] / 3.5 - 1
    center = np.stack([(ink * place).sum((1, 2)) / ink.sum((1, 2)) for place in (columns, rows)], axis=1)
    known = np.arange(len(scans)) % 3 != 0
    whole = {
        "x": scans.astype(np.float32),
        "label": labels.astype(np.int32),
        "center": np.where(known[:, None], center, np.nan).astype(np.float32),
        "known": known,
    }
    return [{key: jnp.asarray(x[i * BATCH : (i + 1) * BATCH]) for key, x in whole.items()} for i in range(count)]


def objective(combine: str = "uncertainty", boundary: int = BOUNDARY) -> jl.Objective:
    """From cross-entropy to focal loss at the boundary, where the centre joins and fades in."""
    terms = {
        "class": jl.Term("softmax_cross_entropy", ("out.logits", "batch.label"), stop=1),
        "focal": jl.Term("softmax_focal_loss", ("out.logits", "batch.label"), start=1, options={"gamma": 1.0}),
        "center": jl.Term("squared_error", ("out.center", "batch.center"), where="batch.known", start=1, ramp=5),
    }
    return jl.Objective(terms, boundaries=[boundary], combine=combine)


class Counted(jl.Objective):
    """An objective that counts how often it is traced, from 0 in every instance."""

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "traces", [])

    def __call__(self, *args, **kwargs):
        self.traces.append(1)
        return super().__call__(*args, **kwargs)


def counted(like: jl.Objective) -> Counted:
    return Counted(like.terms, boundaries=like.boundaries, combine=like.combine)


@contextlib.contextmanager
def compilations() -> Iterator[list[str]]:
    """Every program that XLA compiles meanwhile, whoever asked for it."""
    seen = []

    def listen(event: str, seconds: float, **_: object) -> None:
        if event.endswith("backend_compile_duration"):
            seen.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        yield seen
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)


@contextlib.contextmanager
def jax_as_it_comes() -> Iterator[None]:
    """Without the strictness of this suite, which frameworks and optax do not share."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield
