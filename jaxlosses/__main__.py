"""What the registry knows, and whether an objective can be meant, on the command line.

python -m jaxlosses list [FAMILY]
python -m jaxlosses show NAME
python -m jaxlosses check objective.toml
python -m jaxlosses reference               the page REFERENCE.md
"""

import argparse
import inspect
import json
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

from jaxlosses import registry
from jaxlosses.core import signatures
from jaxlosses.objective import Objective
from jaxlosses.objective.report import table


def main(arguments: Sequence[str] | None = None) -> int:
    """Print what was asked for; 2 for what is not there, or cannot be meant."""
    parser = argparse.ArgumentParser("python -m jaxlosses", description="The losses, as the registry knows them.")
    commands = parser.add_subparsers(dest="command", required=True)
    listing = commands.add_parser("list", help="every loss in a line")
    listing.add_argument("family", nargs="?", help="only this family, such as boxes")
    commands.add_parser("show", help="the facts about one loss").add_argument("name", help="a name or an alias")
    checking = commands.add_parser("check", help="the terms, stages and weights of an objective, or what is wrong")
    checking.add_argument("file", type=Path, help="TOML, or JSON")
    commands.add_parser("reference", help="all of them, as a page of Markdown")
    given = parser.parse_args(arguments)
    try:
        if given.command == "list":
            print(as_list(given.family))
        elif given.command == "show":
            print(as_page(registry.get(given.name)))
        elif given.command == "check":
            parse = json.loads if given.file.suffix == ".json" else tomllib.loads
            print(table(Objective.from_config(parse(given.file.read_text()))))
        else:
            print(as_reference())
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def as_list(family: str | None = None) -> str:
    """Names and sentences, family by family."""
    rows = [registry.get(name) for name in registry.names(family)]
    width = max(len(spec.name) for spec in rows)
    lines = []
    for heading in dict.fromkeys(spec.family for spec in rows):
        lines += [heading, *(f"  {spec.name:{width}}  {sentence(spec)}" for spec in rows if spec.family == heading), ""]
    return "\n".join(lines[:-1])


def as_page(spec: registry.LossSpec) -> str:
    """The facts, and below them the docstring."""
    bare = [p.replace(annotation=p.empty) for p in signatures.parameters_of(spec.function).values()]
    facts = format_facts(spec)
    width = max(map(len, facts))
    table = "\n".join(f"{fact:{width}}  {value}" for fact, value in facts.items())
    return f"{spec.name}{inspect.Signature(bare)}\n\n{table}\n\n{inspect.getdoc(spec.function)}"


def as_reference() -> str:
    """A table for each family."""
    parts = [_HEAD]
    for family in dict.fromkeys(registry.get(name).family for name in registry.names()):
        rows = "\n".join(_reference_row(registry.get(name)) for name in registry.names(family))
        parts.append(f"## {family}\n\n{_COLUMNS}\n{rows}")
    return "\n\n".join(parts)


def _reference_row(spec: registry.LossSpec) -> str:
    inputs = ", ".join(f"{name}: {domain}" for name, domain in zip(spec.inputs, spec.domain, strict=True))
    names = " ".join(f"`{name}`" for name in (spec.name, *spec.aliases))
    minimum = "" if spec.minimum is None else f"{spec.minimum:g}"
    return f"| {' | '.join((names, sentence(spec), inputs, spec.input_kind, minimum, spec.citation))} |"


def format_facts(spec: registry.LossSpec) -> dict[str, str]:
    """The spec in words."""
    first = spec.inputs[0]
    axes = {0: "", 1: " without its last axis"}.get(
        spec.num_event_axes, f" without its last {spec.num_event_axes} axes"
    )
    return {
        "family": spec.family,
        "aliases": ", ".join(spec.aliases) or "none",
        **dict(zip(spec.inputs, spec.domain, strict=True)),
        "options": ", ".join(spec.options) or "none",
        "consumes": spec.input_kind,
        "where": "none" if spec.input_kind == "tree" else f"a start of {first}'s shape{axes}",
        "minimum": "unbounded" if spec.minimum is None else f"{spec.minimum:g}",
        "couples batch": "yes" if spec.depends_on_batch else "no",
        "uncertainty": f"c = {spec.likelihood[0]:g}, r = {spec.likelihood[1]:g} in c e^-s L + r s",
        "reference": spec.citation,
    }


def sentence(spec: registry.LossSpec) -> str:
    """The first line of its docstring."""
    return (inspect.getdoc(spec.function) or "").split("\n")[0]


_HEAD = """# Reference

Written by `python -m jaxlosses reference` from the registry. `python -m jaxlosses show NAME` prints everything about
one loss, formula and example included. Behind a name stand its aliases; "consumes" is what it takes as one thing."""

_COLUMNS = "| loss | what it is | inputs | consumes | at least | reference |\n|---|---|---|---|---|---|"


if __name__ == "__main__":
    sys.exit(main())
