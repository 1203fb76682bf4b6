"""No infinity and no NaN on the way to a finite value: `jax_debug_infs` and `jax_debug_nans` are of use to a user."""

import jax
import jax.numpy as jnp

from jaxlosses.testing.case import Case, split_floats
from jaxlosses.testing.laws._law import law


@law("no infinity appears inside")
def _infinities(case: Case) -> None:
    """Value and gradient, operation by operation: an infinity that a later select throws away is one all the same."""
    floats, rebuild = split_floats(tuple(map(jnp.asarray, case.inputs())))
    with jax.debug_infs(True), jax.debug_nans(True):
        jax.value_and_grad(lambda xs: case.loss(*rebuild(xs), reduction="mean"))(floats)
