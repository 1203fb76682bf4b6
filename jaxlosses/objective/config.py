"""An objective as plain data, as in a TOML or JSON file, and back."""

import dataclasses
import importlib
import operator
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from jaxlosses.core.errors import did_you_mean, shown
from jaxlosses.core.signatures import SYNONYMS
from jaxlosses.objective.frozen import check_depth
from jaxlosses.objective.schedules import Schedule, make_schedule
from jaxlosses.objective.term import Term


def to_config(terms: Mapping[str, Term], boundaries: Sequence[int], combine: Any) -> dict[str, Any]:
    """A dict of dicts, lists, strings and numbers; defaults are left out."""
    config: dict[str, Any] = {}
    if boundaries:
        config["boundaries"] = list(boundaries)
    if combine != "sum":
        config["combine"] = _plain(combine)
    config["terms"] = {name: _term_to_config(name, term) for name, term in terms.items()}
    return config


def from_config(config: Any, allow_import: bool) -> dict[str, Any]:
    """The arguments of the objective that `config` describes, which share nothing with it."""
    config = _mapping("the config of an objective", config)
    check_depth(config)
    arguments = _copied(config)
    _check_keys(arguments, ("terms", "boundaries", "combine"))
    terms = {}
    for name, described in _mapping("terms", arguments.pop("terms", {})).items():
        try:
            terms[name] = _term_from_config(described, allow_import)
        except (ValueError, TypeError) as error:
            raise ValueError(f"term {name!r}: {error}") from None
    return {"terms": terms, **arguments}


def _term_from_config(described: Any, allow_import: bool) -> Term:
    fields = _mapping("a term", described)
    _check_keys(fields, [field.name for field in dataclasses.fields(Term)])
    missing = [name for name in ("loss", "inputs") if name not in fields]
    if missing:
        raise ValueError(f"a term needs {' and '.join(map(repr, missing))}")
    if isinstance(fields["loss"], str) and ":" in fields["loss"]:
        fields["loss"] = _imported(fields["loss"], allow_import)
    if isinstance(fields.get("weight"), Mapping):
        weight = dict(fields["weight"])
        if "schedule" not in weight:
            raise ValueError(f"weight must be a number or have a 'schedule', got {shown(weight)}")
        fields["weight"] = _schedules(weight)
    return Term(**fields)


def _schedules(described: Any) -> Any:
    """The schedules that are described, also those among the arguments of another."""
    if isinstance(described, list | tuple):
        return [_schedules(entry) for entry in described]
    if not isinstance(described, Mapping) or "schedule" not in described:
        return described
    options = {key: _schedules(x) for key, x in described.items() if key != "schedule"}
    return make_schedule(described["schedule"], options)


def _copied(value: Any) -> Any:
    """`value` with dicts and lists of its own."""
    if isinstance(value, Mapping):
        return {key: _copied(entry) for key, entry in value.items()}
    return [_copied(entry) for entry in value] if isinstance(value, list | tuple) else value


def _imported(path: str, allow_import: bool) -> Any:
    if not allow_import:
        raise ValueError(f"loss {path!r} would import code; pass allow_import=True if the config is to be trusted")
    module, _, name = path.partition(":")
    try:
        function = operator.attrgetter(name)(importlib.import_module(module))
    except Exception as error:  # the module's own code runs here, and may raise anything
        reason = error if isinstance(error, ImportError | AttributeError) else f"{type(error).__name__}: {error}"
        raise ValueError(f"loss {path!r} cannot be imported: {reason}") from error
    if not callable(function):
        raise ValueError(f"loss {path!r} must be a function, got {shown(function)}")
    return function


def _import_path(function: Any) -> str | None:
    """The shortest `"module:function"` that is this function, such as `"optax:l2_loss"`; None if there is none."""
    module, name = getattr(function, "__module__", None), getattr(function, "__qualname__", None)
    if not isinstance(module, str) or not isinstance(name, str) or module == "__main__":
        return None
    for parts in range(1, module.count(".") + 2):
        prefix = ".".join(module.split(".")[:parts])
        try:
            if operator.attrgetter(name)(sys.modules[prefix]) is function:
                return f"{prefix}:{name}"
        except (KeyError, AttributeError):
            continue
    return None


def _term_to_config(name: str, term: Term) -> dict[str, Any]:
    config = {}
    for field in dataclasses.fields(term):
        value = getattr(term, field.name)
        default = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
        if value == default:
            continue
        if field.name == "loss" and (path := _import_path(value)) is not None:
            value = path
        try:
            config[field.name] = _plain(value)
        except TypeError as error:
            raise ValueError(f"term {name!r}: {field.name} cannot be saved: {error}") from None
    return config


def _plain(value: Any) -> Any:
    if isinstance(value, Schedule):
        return {"schedule": value.name, **_plain(value.options)}
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(entry) for entry in value]
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if callable(value):
        name = getattr(value, "__qualname__", repr(value))
        raise TypeError(f"it is the function {name}; use a path, a registered name or jaxlosses.schedule")
    raise TypeError(f"it is {value!r}")


def _mapping(what: str, value: Any) -> dict[str, Any]:
    if hasattr(value, "to_dict"):  # a ConfigDict of ml_collections, which is no Mapping
        value = value.to_dict()
    if not isinstance(value, Mapping):
        raise ValueError(f"{what} must be a mapping, got {shown(value)}")
    return dict(value)


def _check_keys(config: Mapping[str, Any], known: Sequence[str]) -> None:
    for key in config:
        if key not in known:
            meant = SYNONYMS.get(str(key))
            hint = (
                f"; did you mean {meant!r}?" if meant in known else did_you_mean(key, known, f"there are {list(known)}")
            )
            raise ValueError(f"unknown key {key!r}{hint}")
