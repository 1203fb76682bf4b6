"""A loss with options and example inputs, and what the laws do to the inputs."""

import dataclasses
import functools
import itertools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from jaxlosses import registry
from jaxlosses.core import signatures


@dataclasses.dataclass(frozen=True, eq=False)
class Case:
    """A loss with options, and the inputs it is tried on.

    Args:
        spec: the loss, as the registry knows it.
        options: keywords of the loss.
        seed: of the example inputs.
    """

    spec: registry.LossSpec
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    seed: int = 0

    def inputs(self, seed: int | None = None) -> tuple[np.ndarray, ...]:
        """Example inputs, others for each seed, of the same shapes. NumPy arrays, for slicing them compiles nothing."""
        if self.spec.example_inputs is None:
            raise AssertionError(f"{self.spec.name}: its registry entry has no example_inputs")
        return tuple(map(np.asarray, self.spec.example_inputs(jax.random.key(self.seed if seed is None else seed))))

    def option(self, name: str) -> Any:
        """The value of an option: the case's, or the default."""
        return self.options.get(name, signatures.parameters_of(self.spec.function)[name].default)

    @property
    def mask_shape(self) -> tuple[int, ...]:
        """The shape of the largest `where`."""
        first = self.inputs()[0]
        return first.shape[: first.ndim - self.spec.num_event_axes]

    @functools.cached_property
    def is_batch_reduced(self) -> bool:
        """Whether the whole batch has one value, under these options."""
        return self.spec.may_reduce_batch and self.values(*self.inputs()).ndim == 0

    @property
    def is_batch_dependent(self) -> bool:
        """Whether an example's value depends on the others, under these options."""
        return self.is_batch_reduced if self.spec.may_reduce_batch else self.spec.depends_on_batch

    def loss(self, *inputs: Any, **keywords: Any) -> Any:
        """The loss with the case's options."""
        return self.spec.function(*inputs, **{**self.options, **keywords})

    @functools.cached_property
    def values(self) -> Callable[..., Array]:
        """The unreduced values, compiled."""
        return jax.jit(self.loss)

    @functools.cached_property
    def mean(self) -> Callable[..., tuple[Array, list[Array]]]:
        """The mean and its gradient with respect to every input of floats, compiled."""

        def value_and_grads(*inputs: Array, **keywords: Any) -> tuple[Array, list[Array]]:
            floats, rebuild = split_floats(inputs)
            return jax.value_and_grad(lambda xs: self.loss(*rebuild(xs), **keywords, reduction="mean"))(floats)

        return jax.jit(value_and_grads)


def as_vector_function(case: Case) -> tuple[Callable[[Array], Array], Array]:
    """The values as a function of one vector of doubles: all inputs of floats, one after the other."""
    floats, rebuild = split_floats(case.inputs())
    ends = list(itertools.accumulate(x.size for x in floats))[:-1]

    def values(vector: Array) -> Array:
        pieces = jnp.split(vector, ends)
        inputs = rebuild([piece.reshape(x.shape) for piece, x in zip(pieces, floats, strict=True)])
        return case.loss(*inputs, **dict(case.spec.options_without_stop_gradient))

    return values, jnp.concatenate([jnp.asarray(x.ravel(), jnp.float64) for x in floats])


def numeric_options(case: Case) -> dict[str, float]:
    """The options that may be traced: those given as floats, or with a float as default."""
    defaults = {name: parameter.default for name, parameter in signatures.parameters_of(case.spec.function).items()}
    options = {**{name: defaults[name] for name in case.spec.options}, **case.options}
    return {name: value for name, value in options.items() if isinstance(value, float)}


def is_float(x: ArrayLike) -> bool:
    """Whether an input can be differentiated by."""
    return bool(jnp.issubdtype(jnp.result_type(x), jnp.floating))


def split_floats(inputs: tuple[Any, ...]) -> tuple[list[Any], Callable[[list[Any]], tuple[Any, ...]]]:
    """The inputs of floats, and how to put them back among the others."""

    def rebuild(floats: list[Any]) -> tuple[Any, ...]:
        following = iter(floats)
        return tuple(next(following) if is_float(x) else x for x in inputs)

    return [x for x in inputs if is_float(x)], rebuild


def corrupt_masked(x: np.ndarray, where: np.ndarray, bad: float) -> np.ndarray:
    """`x` with `bad` where `where` is False; integers become a number that is no class."""
    is_masked = ~where.reshape(where.shape + (1,) * (x.ndim - where.ndim))
    return np.where(is_masked, x.dtype.type(bad if is_float(x) else -77), x)
