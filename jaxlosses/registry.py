"""A flat mapping from names to losses and the facts about them.

Documentation, conformance tests and the errors of objectives are driven by these rows. A row holds facts, never
defaults that could differ from a signature.
"""

import dataclasses
import difflib
import functools
import importlib.metadata
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from jax import Array

_F = TypeVar("_F", bound=Callable[..., Any])


@dataclasses.dataclass(frozen=True, eq=False)
class Loss:
    """One registered loss: the function and its facts. Calling the row calls the function.

    Attributes:
        name: the name it is registered under, which its error messages start with.
        function: the loss itself.
        aliases: further names that find it.
        family: the module it lives in, such as `"boxes"`.
        consumes: what it takes as one thing: `"nothing"`, `"classes"`, `"box"`, `"pixels"`, `"features"`, `"tree"`.
        mask_lacks: how many trailing axes of the first input a `where` has not.
        domain: where each input may lie, in the order of the inputs.
        minimum: the smallest value it can have; None if it is unbounded below.
        citation: where it comes from.
        nll: (c, r) of `c e^-s L + r s`, the negative log-likelihood that uncertainty weighting reads it as.
        couples_batch: whether one example's value depends on the others.
        pools_batch: whether the whole batch may have one value, of shape (), by default or under an option.
        has_aux: whether it returns `(values, {name: numbers})`, whose numbers, masked and weighed like the values, an
            objective reports in `aux["metric"]`. Such a loss takes neither `where` nor `reduction` itself.
        example: makes inputs from a random key, shaped as the loss expects them; the laws are run on these.
        exact_gradient: options under which the gradient is the derivative of the value. They are empty unless the
            paper stops a gradient somewhere.
    """

    name: str
    function: Callable[..., Any]
    aliases: tuple[str, ...] = ()
    family: str = ""
    consumes: str = "nothing"
    mask_lacks: int = 0
    domain: tuple[str, ...] = ()
    minimum: float | None = None
    citation: str = ""
    nll: tuple[float, float] = (1.0, 0.5)
    couples_batch: bool = False
    pools_batch: bool = False
    has_aux: bool = False
    example: Callable[[Array], tuple[Array, ...]] | None = None
    exact_gradient: tuple[tuple[str, Any], ...] = ()

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
        return tuple(name for name in keywords_of(self.function) if name not in CONTRACT)


_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)

CONTRACT = ("where", "sample_weights", "reduction")

_rows: dict[str, Loss] = {}
_found_by: dict[str, Loss] = {}


def register(name: str, **facts: Any) -> Callable[[_F], _F]:
    """Give a loss a name, so that objectives and `jaxlosses.get` find it.

    Args:
        name: the name; for a loss of your own, one that no other loss has.
        **facts: the attributes of `Loss` that are known. For uncertainty weighting give `nll`; to run
            `jaxlosses.testing.check` on the loss give `example`.

    Returns:
        A decorator that registers the function and returns it unchanged.

    Raises:
        ValueError: if the name or an alias is taken; the message says by which module.

    Example:
        >>> import jaxlosses as jl
        >>> @jl.register("quartic_error", nll=(0.5, 0.5))
        ... def quartic_error(predictions, targets):
        ...     return (predictions - targets) ** 4
        >>> jl.get("quartic_error").inputs
        ('predictions', 'targets')
        >>> jl.unregister("quartic_error")
    """

    def add(function: _F) -> _F:
        row = Loss(name, function, **facts)
        words = (name, *row.aliases)
        if len(set(words)) < len(words):
            raise ValueError(f"register: {words} repeats a name")
        for word in words:
            if word in _found_by:
                raise ValueError(
                    f"register: {word!r} of {function.__module__} is already the name of a loss "
                    f"in {_found_by[word].function.__module__}; choose another, or unregister({word!r}) first"
                )
        _rows[name] = row
        _found_by.update(dict.fromkeys(words, row))
        return function

    return add


def unregister(name: str) -> None:
    """Take a loss out of the registry, with its aliases."""
    row = get(name)
    del _rows[row.name]
    for word in (row.name, *row.aliases):
        del _found_by[word]


def get(name: str) -> Loss:
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
    if name in _found_by:
        return _found_by[name]
    failed = _load_plugins()
    if name in _found_by:
        return _found_by[name]
    broken = "".join(f" (the plug-in {plugin} failed: {error})" for plugin, error in failed.items())
    raise ValueError(f"no loss named {name!r}{did_you_mean(name, _found_by, 'jaxlosses.names() lists all')}{broken}")


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


def find(function: Callable[..., Any]) -> Loss | None:
    """The row of a function, if it has one."""
    return next((row for row in _rows.values() if row.function is function), None)


def facts_of(function: Callable[..., Any]) -> Loss:
    """The row of a function; for a partial or a compiled registered loss, that loss's facts; else the defaults."""
    if row := find(function):
        return row
    if isinstance(function, functools.partial):
        row = facts_of(function.func)
        return dataclasses.replace(row, function=functools.partial(row.function, *function.args, **function.keywords))
    if row := find(inspect.unwrap(function, stop=lambda inner: find(inner) is not None)):
        return row  # uncompiled, for jit does not take reduction="parts"; it is pure, so nothing is lost
    return Loss(getattr(function, "__name__", repr(function)), function)


def names(family: str | None = None) -> tuple[str, ...]:
    """The registered names in the order of registration, of one family or of all.

    Example:
        >>> import jaxlosses as jl
        >>> jl.names("regression")
        ('absolute_error', 'squared_error', 'smooth_l1_loss', 'huber_loss')
    """
    families = dict.fromkeys(row.family for row in _rows.values())
    if family is not None and family not in families:
        raise ValueError(f"no family named {family!r}{did_you_mean(family, families, f'there are {list(families)}')}")
    return tuple(name for name, row in _rows.items() if family in (None, row.family))


def parameters_of(function: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    """The parameters in a loss's signature."""
    return inspect.signature(function).parameters


def inputs_of(function: Callable[..., Any]) -> tuple[str, ...]:
    """The parameters of a loss that are arrays: positional, and without a default."""
    return tuple(p.name for p in parameters_of(function).values() if p.kind in _POSITIONAL and p.default is p.empty)


def most_inputs(function: Callable[..., Any]) -> float:
    """How many arrays a loss can take; optax gives some of them a default."""
    kinds = [p.kind for p in parameters_of(function).values()]
    positional = sum(kind in _POSITIONAL for kind in kinds)
    return float("inf") if inspect.Parameter.VAR_POSITIONAL in kinds else positional


def keywords_of(function: Callable[..., Any]) -> tuple[str, ...]:
    """The parameters of a loss that are options: those with a default, and the keyword-only ones."""
    named = (p for p in parameters_of(function).values() if p.kind is not p.VAR_KEYWORD)
    return tuple(p.name for p in named if p.name not in inputs_of(function))


def takes_any_keyword(function: Callable[..., Any]) -> bool:
    """Whether a function has `**kwargs`."""
    return any(p.kind is p.VAR_KEYWORD for p in parameters_of(function).values())


def did_you_mean(word: str, known: Iterable[str], otherwise: str = "") -> str:
    """The end of an error message about an unknown word."""
    near = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else f"; {otherwise}" if otherwise else ""
