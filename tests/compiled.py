"""jaxlosses with every loss compiled whole, to be imported as `jl`.

An eager call compiles each of its operations by itself, a hundred small programs where one does. Most tests are not about
eager calls; the law "jit equals eager" and the docstrings' examples are.
"""

import functools

import jax
import numpy as np

import jaxlosses


def __getattr__(name):
    value = getattr(jaxlosses, name)
    return _compiled(value) if name in jaxlosses.names() else value


@functools.cache
def _compiled(function):
    @functools.wraps(function)
    def call(*inputs, **options):
        traced = {name: value for name, value in options.items() if isinstance(value, jax.Array | np.ndarray)}
        leaves, structure = jax.tree.flatten({name: options[name] for name in options.keys() - traced.keys()})
        program = _program(function, tuple((type(leaf), leaf) for leaf in leaves), structure)
        return program(*map(_array, inputs), **traced)

    return call


@functools.cache
def _program(function, leaves, structure):
    return jax.jit(functools.partial(function, **jax.tree.unflatten(structure, [leaf for _, leaf in leaves])))


def _array(value):
    """Nested lists of numbers as an array; layers of arrays as they are."""
    numbers = isinstance(value, list) and all(isinstance(leaf, bool | int | float) for leaf in jax.tree.leaves(value))
    return np.asarray(value) if numbers else value
