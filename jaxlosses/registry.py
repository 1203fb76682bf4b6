"""A flat mapping from names to losses and the facts about them.

Documentation, conformance tests and the errors of objectives are driven by their specs. A spec holds facts, never
defaults that could differ from a signature.
"""

import dataclasses
import functools
import importlib.metadata
import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from jax import Array

from jaxlosses.core import collectives
from jaxlosses.core.errors import did_you_mean
from jaxlosses.core.keywords import check_keywords
from jaxlosses.core.signatures import (
    SHARED_KEYWORDS,
    inputs_of,
    keywords_of,
    options_of,
    parameters_of,
)
from jaxlosses.core.types import Likelihood

_F = TypeVar("_F", bound=Callable[..., Any])


@dataclasses.dataclass(frozen=True, eq=False)
class LossSpec:
    """One registered loss: the function and its facts. Calling the spec calls the function.

    Attributes:
        name: the name it is registered under, which its error messages start with.
        function: the loss itself.
        aliases: further names that find it.
        family: the module it lives in, such as `"boxes"`.
        input_kind: what it takes as one thing: `"nothing"` (each element has a value), `"classes"`, `"box"`,
            `"pixels"`, `"features"`, `"time"`, `"classes and time"`, `"tree"`.
        num_event_axes: how many trailing axes of the first input belong to that thing; a `where` lacks them.
        domain: where each input may lie, in the order of the inputs.
        minimum: the smallest value it can have; None if it is unbounded below, or not known.
        citation: where it comes from.
        likelihood: the (c, r) of `c e^-s L + r s`, the negative log-likelihood that uncertainty weighting reads it as.
        depends_on_batch: whether one example's value depends on the others.
        may_reduce_batch: whether the whole batch may have one value, of shape (), by default or under an option.
        has_aux: whether it returns `(values, {name: numbers})`, whose numbers, masked and weighted like the values, an
            objective reports in `aux["metric"]`. Such a loss takes neither `where` nor `reduction` itself.
        example_inputs: makes inputs from a random key, shaped as the loss expects them; the laws are run on these.
        options_without_stop_gradient: options under which the gradient is the derivative of the value. They are empty
            unless the paper stops a gradient somewhere.
        negative_with: values of its options under any of which it may be negative, whatever `minimum` says of the
            others: `(("variant", "minimax"),)`.
        homogeneous_degree: n, if inputs times c have the value times cⁿ; None if there is no such n, or not known.
        scaled_options: options that scale with the inputs, each with its power of c: `(("margin", 2),)`.
        translation_invariant: whether inputs plus a constant have the same value: it takes their differences only.
        law_exceptions: laws of `jaxlosses.testing` that cannot hold for it, each with the reason.
    """

    name: str
    function: Callable[..., Any]
    aliases: tuple[str, ...] = ()
    family: str = ""
    input_kind: str = "nothing"
    num_event_axes: int = 0
    domain: tuple[str, ...] = ()
    minimum: float | None = None
    citation: str = ""
    likelihood: Likelihood = Likelihood(1.0, 0.5)  # noqa: RUF009  # a tuple, which does not change
    depends_on_batch: bool = False
    may_reduce_batch: bool = False
    has_aux: bool = False
    example_inputs: Callable[[Array], tuple[Array, ...]] | None = None
    options_without_stop_gradient: tuple[tuple[str, Any], ...] = ()
    negative_with: tuple[tuple[str, Any], ...] = ()
    homogeneous_degree: int | None = None
    scaled_options: tuple[tuple[str, int], ...] = ()
    translation_invariant: bool = False
    law_exceptions: tuple[tuple[str, str], ...] = ()

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        """Call the loss."""
        return self.function(*inputs, **options)

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names of the arrays it takes: the parameters before the keyword-only ones."""
        return inputs_of(self.function)

    @property
    def options(self) -> tuple[str, ...]:
        """The names of its own keywords, without `where`, `sample_weights` and `reduction`."""
        return options_of(self.function)

    def may_be_negative(self, options: Mapping[str, Any]) -> str | None:
        """Whether its values may be negative under `options`, as far as is known: None, or why (for messages)."""
        if self.minimum is not None and self.minimum < 0:
            return ""
        defaults = {name: p.default for name, p in parameters_of(self.function).items()} if self.negative_with else {}
        values = {**defaults, **options}
        return next((f" with {name}={x!r}" for name, x in self.negative_with if values.get(name) == x), None)


_specs: dict[str, LossSpec] = {}
_by_alias: dict[str, LossSpec] = {}


def register(name: str, **facts: Any) -> Callable[[_F], _F]:
    """Give a loss a name, so that objectives and `jaxlosses.get` find it.

    Args:
        name: the name; for a loss of your own, one that no other loss has.
        **facts: the attributes of `LossSpec` that are known. For uncertainty weighting give `likelihood`; to run
            `jaxlosses.testing.check` on the loss give `example_inputs`.

    Returns:
        A decorator that registers the function and returns it; a function that takes `where`, `sample_weights` and
        `reduction` with errors for unknown keywords and for values that the annotations of its keywords do not admit.

    Raises:
        ValueError: if the name or an alias is taken; the message says by which module.

    Example:
        >>> import jaxlosses as jl
        >>> @jl.register("quartic_error", likelihood=(0.5, 0.5))
        ... def quartic_error(predictions, targets):
        ...     return (predictions - targets) ** 4
        >>> jl.get("quartic_error").inputs
        ('predictions', 'targets')
        >>> jl.unregister("quartic_error")
    """
    if "likelihood" in facts:
        facts["likelihood"] = Likelihood(*facts["likelihood"])

    def add(function: _F) -> _F:
        # Another's loss may use arrays that are no arguments, and mean something else by a word.
        is_ours = str(getattr(function, "__module__", "")).startswith("jaxlosses.")
        if is_ours:
            function = collectives.any_placement(function)
        if is_ours or set(SHARED_KEYWORDS) <= set(keywords_of(function)):
            function = check_keywords(name, function, ranges=is_ours)
        spec = LossSpec(name, function, **facts)
        words = (name, *spec.aliases)
        if len(set(words)) < len(words):
            raise ValueError(f"register: {words} repeats a name")
        for word in words:
            if word in _by_alias:
                raise ValueError(
                    f"register: {word!r} of {function.__module__} is already the name of a loss "
                    f"in {_by_alias[word].function.__module__}; choose another, or unregister({word!r}) first"
                )
        _specs[name] = spec
        _by_alias.update(dict.fromkeys(words, spec))
        return function

    return add


def unregister(name: str) -> None:
    """Take a loss out of the registry, with its aliases.

    Args:
        name: its name, or an alias.

    Raises:
        ValueError: if there is no such loss.

    Example:
        >>> import jaxlosses as jl
        >>> jl.register("my_error")(lambda predictions, targets: predictions - targets)  # doctest: +ELLIPSIS
        <function ...>
        >>> jl.unregister("my_error")
    """
    spec = get(name)
    del _specs[spec.name]
    for word in (spec.name, *spec.aliases):
        del _by_alias[word]


def get(name: str) -> LossSpec:
    """Find a loss by its name or by an alias.

    Other packages can bring losses, as entry points of the group `jaxlosses.losses`: a function, found as
    `"package/name"`. They are looked for at the first name that is not known.

    Raises:
        ValueError: if there is none; the message has the nearest names, and the plug-ins that failed to load.

    Example:
        >>> import jaxlosses as jl
        >>> jl.get("mse").name
        'squared_error'
        >>> jl.get("softmax_focl_loss")
        Traceback (most recent call last):
            ...
        ValueError: no loss named 'softmax_focl_loss'; did you mean 'softmax_focal_loss'?
    """
    if name in _by_alias:
        return _by_alias[name]
    failed = _load_plugins()
    if name in _by_alias:
        return _by_alias[name]
    broken = "".join(f" (the plug-in {plugin} failed: {error})" for plugin, error in failed.items())
    raise ValueError(f"no loss named {name!r}{did_you_mean(name, _by_alias, 'jaxlosses.names() lists all')}{broken}")


@functools.cache
def _load_plugins() -> dict[str, str]:
    """Register what installed packages offer, once; what did not load, and why."""
    failed = {}
    for entry in importlib.metadata.entry_points(group="jaxlosses.losses"):
        name = f"{entry.dist.name if entry.dist else entry.module}/{entry.name}"
        try:
            register(name)(entry.load())
        except Exception as error:
            failed[name] = f"{type(error).__name__}: {error}"
    return failed


def find_by_function(function: Callable[..., Any]) -> LossSpec | None:
    """The spec of a function, if it has one."""
    same = (
        spec for spec in _specs.values() if function in (spec.function, getattr(spec.function, "__wrapped__", None))
    )
    return next(same, None)


def spec_for(function: Callable[..., Any]) -> LossSpec:
    """The spec of a function; for a partial or a compiled registered loss, that loss's facts; else the defaults."""
    if spec := find_by_function(function):
        return spec
    if isinstance(function, functools.partial):
        spec = spec_for(function.func)
        return dataclasses.replace(spec, function=functools.partial(spec.function, *function.args, **function.keywords))
    if spec := find_by_function(inspect.unwrap(function, stop=lambda inner: find_by_function(inner) is not None)):
        return spec  # uncompiled, for jit does not take reduction="parts"; it is pure, so nothing is lost
    return LossSpec(getattr(function, "__name__", repr(function)), function)


def names(family: str | None = None) -> tuple[str, ...]:
    """The registered names in the order of registration, of one family or of all.

    Example:
        >>> import jaxlosses as jl
        >>> jl.names("regression")
        ('absolute_error', 'squared_error', 'smooth_l1_loss', 'huber_loss')
    """
    families = dict.fromkeys(spec.family for spec in _specs.values())
    if family is not None and family not in families:
        raise ValueError(f"no family named {family!r}{did_you_mean(family, families, f'there are {list(families)}')}")
    return tuple(name for name, spec in _specs.items() if family in (None, spec.family))
