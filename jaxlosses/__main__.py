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
from jaxlosses._report import table
from jaxlosses.objective import Objective


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
    width = max(len(row.name) for row in rows)
    lines = []
    for heading in dict.fromkeys(row.family for row in rows):
        lines += [heading, *(f"  {row.name:{width}}  {sentence(row)}" for row in rows if row.family == heading), ""]
    return "\n".join(lines[:-1])


def as_page(row: registry.Loss) -> str:
    """The facts, and below them the docstring."""
    bare = [p.replace(annotation=p.empty) for p in registry.parameters_of(row.function).values()]
    facts = facts_of(row)
    width = max(map(len, facts))
    table = "\n".join(f"{fact:{width}}  {value}" for fact, value in facts.items())
    return f"{row.name}{inspect.Signature(bare)}\n\n{table}\n\n{inspect.getdoc(row.function)}"


def as_reference() -> str:
    """A table for each family."""
    parts = [_HEAD]
    for family in dict.fromkeys(registry.get(name).family for name in registry.names()):
        rows = "\n".join(_reference_row(registry.get(name)) for name in registry.names(family))
        parts.append(f"## {family}\n\n{_COLUMNS}\n{rows}")
    return "\n\n".join(parts)


def _reference_row(row: registry.Loss) -> str:
    inputs = ", ".join(f"{name}: {domain}" for name, domain in zip(row.inputs, row.domain, strict=True))
    names = " ".join(f"`{name}`" for name in (row.name, *row.aliases))
    minimum = "" if row.minimum is None else f"{row.minimum:g}"
    return f"| {' | '.join((names, sentence(row), inputs, row.consumes, minimum, row.citation))} |"


def facts_of(row: registry.Loss) -> dict[str, str]:
    """The row in words."""
    first = row.inputs[0]
    axes = {0: "", 1: " without its last axis"}.get(row.mask_lacks, f" without its last {row.mask_lacks} axes")
    return {
        "family": row.family,
        "aliases": ", ".join(row.aliases) or "none",
        **dict(zip(row.inputs, row.domain, strict=True)),
        "options": ", ".join(row.options) or "none",
        "consumes": row.consumes,
        "where": "none" if row.consumes == "tree" else f"a start of {first}'s shape{axes}",
        "minimum": "unbounded" if row.minimum is None else f"{row.minimum:g}",
        "couples batch": "yes" if row.couples_batch else "no",
        "uncertainty": f"c = {row.nll[0]:g}, r = {row.nll[1]:g} in c e^-s L + r s",
        "reference": row.citation,
    }


def sentence(row: registry.Loss) -> str:
    """The first line of its docstring."""
    return (inspect.getdoc(row.function) or "").split("\n")[0]


_HEAD = """# Reference

Written by `python -m jaxlosses reference` from the registry. `python -m jaxlosses show NAME` prints everything about
one loss, formula and example included. Behind a name stand its aliases; "consumes" is what it takes as one thing."""

_COLUMNS = "| loss | what it is | inputs | consumes | at least | reference |\n|---|---|---|---|---|---|"


if __name__ == "__main__":
    sys.exit(main())
