"""Trees of gradients: one per loss, their inner products, and their weighted sum."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxlosses.core import collectives
from jaxlosses.core.named_vectors import to_dict
from jaxlosses.core.numerics import FULL_PRECISION, power_of_two_near
from jaxlosses.core.types import Number, compute_dtype

Tree = Any
"""A pytree of floating-point arrays, such as the gradient of a loss by a model's parameters."""


@functools.partial(jax.tree_util.register_dataclass, data_fields=["matrix", "scales"], meta_fields=["names"])
@dataclasses.dataclass(frozen=True)
class Gram:
    """The inner products of some terms' gradients; a pytree, so that it passes through `jit` and `vmap`.

    Attributes:
        names: the terms, sorted.
        matrix: `(K, K)`; row and column k belong to `names[k]`.
        scales: `(K,)`, by which the gradients were divided first; 1 unless their squares would overflow or vanish. None
            for 1.
    """

    names: tuple[str, ...]
    matrix: Any  # an array, or what a transformation puts in its place
    scales: Any = None

    def norms(self) -> dict[str, Array]:
        """The length of every gradient, for instance for `balance.gradnorm`."""
        lengths = jnp.sqrt(jnp.diagonal(self.matrix))
        return to_dict(self.names, lengths if self.scales is None else lengths * self.scales)


def gram(grads: Mapping[str, Tree]) -> Gram:
    """Gram matrix of the gradients of several terms: their inner products.

        M_ij = <g_i, g_j>, over all leaves

    Products are accumulated in float32 (float64 stays), whatever the dtype of the gradients. A gradient whose square
    would overflow there, or vanish, is divided by a power of two first, which is in `scales`. On several devices,
    average the gradients over them first, as for one loss.

    Args:
        grads: for every term a tree of arrays, all alike. Take the parts that the terms share: `g["trunk"]`.

    Returns:
        The `Gram` of the terms, sorted by name, so that the order in which they were given changes nothing.

    Raises:
        ValueError: if there are no terms, or trees differ in structure or shapes; the message names the term.
        TypeError: if a leaf is not real and floating-point.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxlosses import gradients
        >>> products = gradients.gram({"seg": {"w": jnp.array([3.0, 4.0])}, "depth": {"w": jnp.array([1.0, 0.0])}})
        >>> products.names
        ('depth', 'seg')
        >>> print(products.matrix)
        [[ 1.  3.]
         [ 3. 25.]]

    Reference:
        Gram, Ueber die Entwickelung reeller Functionen in Reihen, 1883, doi:10.1515/crll.1883.94.41.
    """
    leaves = _leaves("gram", grads)
    return Gram(tuple(leaves), *_scaled_products(list(leaves.values())))


def weighted_sum(grads: Mapping[str, Tree], weights: Mapping[str, Number]) -> Tree:
    """Weighted sum of gradients: one update from those of several terms.

        d = Σ w_i g_i

    Args:
        grads: for every term a tree of arrays, all alike; also those parts that `gram` was not given.
        weights: a scalar for every term, from one of the methods or your own.

    Returns:
        One tree like each of them. Sums are taken in float32 (float64 stays) and returned in the dtype of the leaf.

    Raises:
        ValueError: if the weights are not one per term, or trees differ; the message names the term.
        TypeError: if a leaf is not real and floating-point.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxlosses import gradients
        >>> grads = {"seg": {"w": jnp.array([3.0, 4.0])}, "depth": {"w": jnp.array([1.0, 0.0])}}
        >>> print(gradients.weighted_sum(grads, {"seg": 0.5, "depth": 2.0})["w"])
        [3.5 2. ]

    Reference:
        Sener and Koltun, Multi-Task Learning as Multi-Objective Optimization, 2018, arXiv:1810.04650.
    """
    if set(weights) != set(grads):
        raise ValueError(f"weighted_sum: weights must be one per term {sorted(grads)}, got {sorted(weights)}")
    leaves = _leaves("weighted_sum", grads)
    structure = jax.tree.structure(next(iter(grads.values())))

    def add(*of_terms: Array) -> Array:
        dtype = compute_dtype(*of_terms)
        parts = [
            jnp.asarray(weights[name]).astype(dtype) * x.astype(dtype) for name, x in zip(leaves, of_terms, strict=True)
        ]
        return functools.reduce(jnp.add, parts).astype(of_terms[0].dtype)

    return structure.unflatten(map(add, *leaves.values()))


def per_term_gradients(
    losses: Callable[..., tuple[Mapping[str, Array], Any]], *, sequential: bool = False
) -> Callable[..., tuple[dict[str, Tree], Any]]:
    """Gradients of several losses, each by itself, with one forward pass for all.

        g_i = dL_i / dparams

    With an objective: `lambda params: objective.losses(data_of(params), step=step)`, its weights and ramps included.
    What wants losses without their weights (`jaxlosses.balance.gradnorm`) takes `aux["loss"]` of a call.

    Args:
        losses: `(params, ...) -> (losses, aux)`, where `losses` is a dict of scalars.
        sequential: pull the losses back one after the other (a `vjp` and `lax.map`), or, by default, all at once
            (`jax.jacrev`). All at once needs the memory of K backward passes. With eight losses under `jit` on a CPU,
            one after the other took half of the time and a fifth of the memory.

    Returns:
        A function of the same arguments, to `(grads, aux)`: a tree like `params`, the first argument, for every loss.

    Raises:
        ValueError: when called, if a loss is not a scalar; the message names it.
        TypeError: when called, if `losses` does not return a dict of losses and aux.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxlosses import gradients
        >>> def losses(params):
        ...     return {"near": jnp.sum(params**2), "far": jnp.sum((params - 3.0) ** 2)}, "aux"
        >>> grads, aux = gradients.per_term_gradients(losses)(jnp.array([1.0]))
        >>> print(grads["near"], grads["far"])
        [2.] [-4.]

    Reference:
        Sener and Koltun, Multi-Task Learning as Multi-Objective Optimization, 2018, arXiv:1810.04650.
    """

    def checked_losses(params: Tree, *args: Any, **kwargs: Any) -> tuple[dict[str, Array], Any]:
        result = losses(params, *args, **kwargs)
        if not isinstance(result, tuple) or len(result) != 2 or not isinstance(result[0], Mapping):
            raise TypeError(
                f"per_term_gradients: the function must return (dict of losses, aux), got {type(result).__name__}"
            )
        values = {name: jnp.asarray(loss) for name, loss in result[0].items()}
        for name, loss in values.items():
            if loss.ndim:
                raise ValueError(
                    f"per_term_gradients: loss {name!r} must be a scalar, got shape {loss.shape}; reduce it first"
                )
        dtype = compute_dtype(*values.values())
        return {name: loss.astype(dtype) for name, loss in values.items()}, result[1]

    def one_by_one(params: Tree, *args: Any, **kwargs: Any) -> tuple[dict[str, Tree], Any]:
        values, pull, aux = jax.vjp(lambda params: checked_losses(params, *args, **kwargs), params, has_aux=True)
        basis = {name: (jnp.arange(len(values)) == k).astype(x.dtype) for k, (name, x) in enumerate(values.items())}
        stacked = lax.map(lambda one_hot: pull(one_hot)[0], basis)
        return {name: jax.tree.map(lambda x, k=k: x[k], stacked) for k, name in enumerate(values)}, aux

    return one_by_one if sequential else jax.jacrev(checked_losses, has_aux=True)


def _leaves(call: str, grads: Mapping[str, Tree]) -> dict[str, list[Array]]:
    """The leaves of every term, in the order of the names, once they are known to be alike."""
    if not grads:
        raise ValueError(f"{call}: no gradients; give a tree for every term")
    first, *others = sorted(grads)
    for name in others:
        if jax.tree.structure(grads[name]) != jax.tree.structure(grads[first]):
            raise ValueError(
                f"{call}: the gradients of {first!r} and {name!r} must be trees of one structure, got "
                f"{jax.tree.structure(grads[first])} and {jax.tree.structure(grads[name])}"
            )
    leaves = {name: [jnp.asarray(x) for x in jax.tree.leaves(grads[name])] for name in [first, *others]}
    for name in leaves:
        for x in leaves[name]:
            if not jnp.issubdtype(x.dtype, jnp.floating):
                raise TypeError(
                    f"{call}: the gradient of {name!r} must be of real floating-point arrays, got {x.dtype}"
                )
    for name in others:
        for x, y in zip(leaves[first], leaves[name], strict=True):
            if x.shape != y.shape:
                both = f"{first!r} and {name!r}"
                raise ValueError(f"{call}: the gradients of {both} must have equal shapes, got {x.shape} and {y.shape}")
    return leaves


# Compiled, so that eager calls do not trace the branches again and again.
@collectives.any_placement
@jax.jit
def _scaled_products(terms: list[list[Array]]) -> tuple[Array, Array]:
    """The products of all pairs of gradients, divided by their scales, and the scales."""
    matrix = _products(terms)
    squares, info = jnp.diagonal(matrix), jnp.finfo(matrix.dtype)
    smallest = max(1, sum(x.size for x in terms[0])) * float(info.tiny) / float(info.eps)
    is_extreme = (squares < smallest) | (squares > info.max)

    def rescaled() -> tuple[Array, Array]:
        sizes = [[jnp.max(jnp.abs(x), initial=0).astype(matrix.dtype) for x in term] for term in terms]
        largest = jnp.stack([functools.reduce(jnp.maximum, of_term) for of_term in sizes])
        scales = jnp.where(is_extreme, power_of_two_near(largest), 1)
        return _products(
            [[x.astype(matrix.dtype) / s for x in term] for term, s in zip(terms, scales, strict=True)]
        ), scales

    return lax.cond(jnp.any(is_extreme), rescaled, lambda: (matrix, jnp.ones_like(squares)))


def _products(terms: list[list[Array]]) -> Array:
    rows = [[_product(term, other) for other in terms[: i + 1]] for i, term in enumerate(terms)]
    lower = jnp.stack([jnp.stack(row + [jnp.zeros_like(row[0])] * (len(rows) - len(row))) for row in rows])
    return lower + jnp.tril(lower, -1).T


@collectives.any_placement
def _product(first: list[Array], second: list[Array]) -> Array:
    """The inner product of two gradients."""
    dtype = compute_dtype(*first, *second)
    products = functools.partial(jnp.vdot, precision=FULL_PRECISION, preferred_element_type=dtype)
    return functools.reduce(jnp.add, map(products, first, second), jnp.zeros((), dtype))
