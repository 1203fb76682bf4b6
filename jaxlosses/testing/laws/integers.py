"""Integers as inputs: what they differ by is exact, also where a float has no room for them."""

import jax
import numpy as np

from jaxlosses.testing.case import Case, is_float
from jaxlosses.testing.laws._law import close, law

_OFFSET = 2**30


@law("integers keep their differences")
def _integers(case: Case) -> None:
    """Small integers, and the same ones far from 0, where float32 would round them to multiples of 64."""
    if not case.spec.translation_invariant:
        return
    numbers = [np.round(4 * x).astype(np.int64) if is_float(x) else x for x in case.inputs()]
    small, far = list(numbers), list(numbers)
    for index, x in enumerate(case.inputs()):
        if is_float(x):
            small[index] = numbers[index].astype(np.float32)
            far[index] = (numbers[index] + _OFFSET).astype(np.uint32 if index % 2 else np.int32)
    close(jax.jit(case.loss)(*far), case.values(*small), rtol=2e-6, atol=1e-7)
