"""`python -m bench`: measure every row, print the table, and write it with the machine it came from."""

import argparse
from pathlib import Path

import jax
from tabulate import tabulate

from bench.comparison import Row
from bench.machine import describe
from bench.measure import Result, compare
from bench.rows import rows

RESULTS = Path(__file__).with_name("RESULTS.md")


def main(arguments: list[str] | None = None) -> list[tuple[str, str, str, Result]]:
    """Measure, print, and write unless it was a quick try."""
    parser = argparse.ArgumentParser("python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one round on small inputs; write nothing")
    parser.add_argument("--only", default="", help="only rows whose name contains this; write nothing")
    options = parser.parse_args(arguments)
    measured = []
    for row in rows(1 / 256 if options.quick else 1.0):
        if options.only in row.name:
            measured += _measure(row, rounds=1 if options.quick else 15)
            print(*measured[-2:], sep="\n", flush=True)
    text = _report(measured)
    print(text)
    if not options.quick and not options.only:
        RESULTS.write_text(text)
    return measured


def _measure(row: Row, rounds: int) -> list[tuple[str, str, str, Result]]:
    """The value alone, and the value with its gradient by the first input."""
    sides = {
        "value": (row.ours, row.other),
        "value and gradient": (jax.value_and_grad(row.ours), jax.value_and_grad(row.other)),
    }
    return [(row.name, row.rival, what, compare(a, b, row.inputs, rounds)) for what, (a, b) in sides.items()]


def _report(measured: list[tuple[str, str, str, Result]]) -> str:
    table = tabulate(
        [
            (
                f"`{name}`",
                rival,
                what,
                f"{r.milliseconds:.2f}",
                f"{r.time_ratio:.2f} ({r.low:.2f} to {r.high:.2f})",
                f"{r.temp_megabytes:.2f} / {r.other_temp_megabytes:.2f}",
                f"{r.compile_seconds:.2f} / {r.other_compile_seconds:.2f}",
            )
            for name, rival, what, r in measured
        ],
        headers=["loss", "against", "", "ms", "time ratio (quartiles)", "temp MB", "compile s"],
        tablefmt="github",
    )
    return f"{_HEAD}\n{describe('jax', 'jaxlib', 'optax', 'jaxlosses')}\n\n{table}\n"


_HEAD = """# What it costs

Written by `python -m bench`. Each row compares the mean of one loss with the same number computed by optax or by the
plain formula, in one run, taking turns. The time ratio is ours over theirs (below 1 we are faster): the median of 15
rounds, and its quartiles. Where two numbers stand, ours is the first. `temp MB` is the memory that the compiled program
needs beside its inputs and outputs, which is deterministic. The plain formulas neither check shapes nor mask, and they
give NaN at the edges.
"""


if __name__ == "__main__":
    main()
