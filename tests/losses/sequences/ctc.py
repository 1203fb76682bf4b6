"""What the tests of CTC share: the loss of one sequence and of a batch, compiled, and the map B in plain Python."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np

import jaxlosses as jl


@functools.partial(jax.jit, static_argnames=("blank_id", "zero_infinity"))
def one(logits, labels, **options):
    """The loss of one sequence."""
    return jl.ctc_loss(logits[None], jnp.asarray(labels, jnp.int32).reshape(1, -1), **options)[0]


@functools.partial(jax.jit, static_argnames=("blank_id", "zero_infinity"))
def both(logits, labels, **options):
    """The losses of a batch, and their gradients."""
    values, back = jax.vjp(lambda z: jl.ctc_loss(z, labels, **options), logits)
    return values, back(jnp.ones_like(values))[0]


value_and_grad = jax.jit(jax.value_and_grad(one))


def spell(path, blank=0):
    """The map B in plain Python."""
    return tuple(symbol for symbol, _ in itertools.groupby(path) if symbol != blank)


def padded(rows, fill=0):
    width = max(map(len, rows))
    return np.array([[*row, *[fill] * (width - len(row))] for row in rows], np.int32), np.array([*map(len, rows)])
