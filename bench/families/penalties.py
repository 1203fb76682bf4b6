"""Baselines of the penalties, over a tree of eight matrices."""

import jax
import jax.numpy as jnp

import jaxlosses as jl
from bench.comparison import Comparison


def comparisons(n: int) -> list[Comparison]:
    tree = dict(enumerate(jax.random.normal(jax.random.key(7), (8, n, 64))))
    leaves = jax.tree.leaves
    return [
        Comparison("l1_penalty", "jnp", jl.l1_penalty, lambda t: sum(jnp.abs(x).sum() for x in leaves(t)), (tree,)),
        Comparison("l2_penalty", "jnp", jl.l2_penalty, lambda t: sum((x**2).sum() for x in leaves(t)), (tree,)),
        Comparison(
            "elastic_net_penalty",
            "jnp",
            jl.elastic_net_penalty,
            lambda t: sum((jnp.abs(x) / 2 + x**2 / 4).sum() for x in leaves(t)),
            (tree,),
        ),
    ]
