"""The command line: losses, metrics and combiners with their help, and the check of an objective's file.

python -m jaxlosses list [FAMILY]
python -m jaxlosses show NAME                           a loss, metric, combiner, Objective, Term, ...
python -m jaxlosses check experiment.toml [--key objective] [--allow-import]
python -m jaxlosses reference                           the page REFERENCE.md
"""

import argparse
import inspect
import io
import json
import sys
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jaxlosses
from jaxlosses import balance, combine, gradients, registry
from jaxlosses.core.errors import did_you_mean
from jaxlosses.core.signatures import parameters_of
from jaxlosses.objective import Objective


def main(arguments: Sequence[str] | None = None) -> int:
    """Print what was asked for; the exit code is 2 for an unknown name or an invalid objective."""
    parser = argparse.ArgumentParser("python -m jaxlosses", description="The losses, as the registry knows them.")
    commands = parser.add_subparsers(dest="command", required=True)
    listing = commands.add_parser("list", help="every loss in a line")
    listing.add_argument("family", nargs="?", help="only this family, such as boxes")
    commands.add_parser("show", help="all about one loss, metric or combiner").add_argument("name", help="or an alias")
    checking = commands.add_parser("check", help="the terms, stages and weights of an objective, or what is wrong")
    checking.add_argument("file", type=Path, help="TOML, JSON, or YAML")
    checking.add_argument("--key", help="where in the file the objective is, such as experiment.objective")
    checking.add_argument(
        "--allow-import",
        action="store_true",
        help="let losses be 'module:function', which runs the code of that module",
    )
    commands.add_parser("reference", help="all of them, as a page of Markdown")
    options = parser.parse_args(arguments)
    try:
        if options.command == "list":
            print(as_list(options.family))
        elif options.command == "show":
            print(as_page(options.name))
        elif options.command == "check":
            config = read_config(options.file, options.key)
            print(Objective.from_config(config, allow_import=options.allow_import).check())
        else:
            print(as_reference())
    except BrokenPipeError:  # the reader has seen enough: list | head
        sys.stderr.close()
        return 0
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    except Exception as error:  # whatever a file has made of us, its author wants a sentence and no traceback
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 2
    return 0


def read_config(file: Path, key: str | None) -> Any:
    """The part of a TOML, JSON or YAML file that describes an objective."""
    suffix = file.suffix.lower()
    language = {".json": "JSON", ".yaml": "YAML", ".yml": "YAML"}.get(suffix, "TOML")
    parse = {"JSON": _parse_json, "YAML": _parse_yaml, "TOML": tomllib.loads}[language]
    try:
        config = parse(file.read_text(encoding="utf-8-sig"))  # with or without a byte-order mark
    except ValueError as error:
        raise ValueError(f"{file} is not valid {language}: {error}") from error
    except RecursionError:
        raise ValueError(f"{file} is nested too deeply") from None
    for step in key.split(".") if key else ():
        if not isinstance(config, Mapping) or step not in config:
            known = list(config) if isinstance(config, Mapping) else []
            raise ValueError(f"{file}: no {key!r}{did_you_mean(step, known, f'there are {known}')}")
        config = config[step]
    return config


def _parse_json(text: str) -> Any:
    return json.loads(text, object_pairs_hook=_unique)


def _parse_yaml(text: str) -> Any:
    try:
        import yaml
    except ImportError:
        raise ValueError("to read YAML, install PyYAML; or write TOML or JSON") from None

    class Loader(yaml.SafeLoader):
        """One that refuses a key that is there twice, as TOML does, instead of taking the last."""

    def construct(loader: Any, node: Any) -> Any:
        loader.flatten_mapping(node)
        return _unique([(loader.construct_object(k, True), loader.construct_object(x, True)) for k, x in node.value])

    Loader.add_constructor("tag:yaml.org,2002:map", construct)
    try:
        return yaml.load(text, Loader)  # a subclass of the safe one
    except (yaml.YAMLError, TypeError) as error:  # TypeError: a list as a key
        raise ValueError(str(error)) from error


def _unique(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    found: dict[Any, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {key!r} is there twice")
        found[key] = value
    return found


def as_list(family: str | None = None) -> str:
    """Names and sentences of the losses, family by family."""
    specs = [registry.get(name) for name in registry.names(family)]
    width = max(len(spec.name) for spec in specs)
    lines = []
    for heading in dict.fromkeys(spec.family for spec in specs):
        of_family = (spec for spec in specs if spec.family == heading)
        lines += [heading, *(f"  {spec.name:{width}}  {sentence(spec.function)}" for spec in of_family), ""]
    return "\n".join(lines[:-1])


def as_page(name: str) -> str:
    """The facts about a loss, and below them the docstring; for anything else, signature and docstring."""
    others = other_names()
    full_names = (name, *(f"{package}.{name}" for package in ("combine", "gradients", "balance")))
    thing = next((others[full][1] for full in full_names if full in others), None)
    if thing is None or name in registry.names():
        try:
            spec = registry.get(name)
        except ValueError as error:
            if hint := did_you_mean(name, others):
                raise ValueError(f"no loss, metric or combiner named {name!r}{hint}") from None
            raise error from None
        facts = format_facts(spec)
        width = max(map(len, facts))
        table = "\n".join(f"{fact:{width}}  {value}" for fact, value in facts.items())
        return f"{spec.name}{_signature(spec.function)}\n\n{table}\n\n{inspect.getdoc(spec.function)}"
    return f"{name}{_signature(thing)}\n\n{inspect.getdoc(thing)}"


def as_reference() -> str:
    """A table for each family, and one for each kind of helper."""
    parts = [_HEAD]
    for family in dict.fromkeys(registry.get(name).family for name in registry.names()):
        rows = "\n".join(_reference_row(registry.get(name)) for name in registry.names(family))
        parts.append(f"## {family}\n\n{_COLUMNS}\n{rows}")
    sections: dict[str, list[str]] = {}
    for name, (section, thing) in other_names().items():
        sections.setdefault(section, []).append(_table_row(f"`{name}`", section, sentence(thing)))
    rows = "\n".join(row for section in sections.values() for row in section)
    parts.append(f"## Beside the losses\n\n| name | belongs to | what it is |\n|---|---|---|\n{rows}")
    return "\n\n".join(parts)


def other_names() -> dict[str, tuple[str, Any]]:
    """What is public and no registered loss: the family or package it belongs to, and the thing itself."""
    found = {}
    for name in jaxlosses.__all__:
        thing = getattr(jaxlosses, name)
        if name not in registry.names() and not inspect.ismodule(thing):
            found[name] = (_section(thing), thing)
    for package in (combine, gradients, balance):
        section = package.__name__.split(".")[-1]
        found |= {f"{section}.{name}": (section, getattr(package, name)) for name in package.__all__}
    return dict(sorted(found.items(), key=lambda entry: (list(_SECTIONS).index(entry[1][0]), entry[0].lower())))


def _section(thing: Any) -> str:
    """The family of a helper, by its module: `jaxlosses.losses.boxes.similarities` is in boxes."""
    package, *rest = thing.__module__.split(".")[1:]
    return rest[0] if package == "losses" else package


def _signature(thing: Any) -> str:
    bare = [p.replace(annotation=p.empty) for p in parameters_of(thing).values()]
    return str(inspect.Signature(bare))


def _reference_row(spec: registry.LossSpec) -> str:
    inputs = ", ".join(f"{name}: {domain}" for name, domain in zip(spec.inputs, spec.domain, strict=True))
    names = " ".join(f"`{name}`" for name in (spec.name, *spec.aliases))
    columns = (names, sentence(spec.function), inputs, spec.input_kind, _minimum(spec), spec.citation)
    return _table_row(*columns)


def _table_row(*cells: str) -> str:
    escaped = [cell.replace("|", r"\|") for cell in cells]
    return f"| {' | '.join(escaped)} |"


def _minimum(spec: registry.LossSpec) -> str:
    least = "" if spec.minimum is None else "unbounded" if spec.minimum == -float("inf") else f"{spec.minimum:g}"
    return least + "".join(f"; unbounded with {name}={value!r}" for name, value in spec.negative_with)


def format_facts(spec: registry.LossSpec) -> dict[str, str]:
    """The spec in words."""
    scale, log_variance_weight = spec.likelihood
    return {
        "family": spec.family,
        "aliases": ", ".join(spec.aliases) or "none",
        **dict(zip(spec.inputs, spec.domain, strict=True)),
        "options": ", ".join(spec.options) or "none",
        "takes as one thing": spec.input_kind,
        "where": _where(spec),
        "minimum": _minimum(spec) or "not known",
        "depends on batch": "yes" if spec.depends_on_batch else "no",
        "uncertainty": f"c = {scale:g}, r = {log_variance_weight:g} in c e^-s L + r s",
        "reference": spec.citation,
    }


def _where(spec: registry.LossSpec) -> str:
    """Which shape a mask has."""
    if spec.input_kind == "tree":
        return "none"
    trailing = {0: "", 1: " without the last axis"}.get(
        spec.num_event_axes, f" without the last {spec.num_event_axes} axes"
    )
    axes = " without the class axis" if spec.input_kind == "classes" else trailing
    return f"a prefix of the shape of {spec.inputs[0]}{axes}"


def sentence(thing: Any) -> str:
    """The first line of a docstring."""
    return (inspect.getdoc(thing) or "").split("\n")[0]


_SECTIONS = (
    *dict.fromkeys(registry.get(name).family for name in registry.names()),
    *("combine", "gradients", "balance", "objective", "registry", "core"),
)

_HEAD = """# Reference

Written by `python -m jaxlosses reference` from the registry. `python -m jaxlosses show NAME` prints everything about
one loss, metric or combiner, formula and example included. Aliases follow the name. "Takes as one thing" says
what has one value: nothing (each element has its own), a row of classes, a box, an image's pixels, ..."""

_COLUMNS = "| loss | what it is | inputs | takes as one thing | minimum | reference |\n|---|---|---|---|---|---|"


if __name__ == "__main__":
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # Greek letters, also where a console has none
            stream.reconfigure(errors="backslashreplace")
    sys.exit(main())
