"""`python -m bench`: measure every comparison, print the table, and write it with the machine it came from."""

import argparse
from pathlib import Path

import jax
from tabulate import tabulate

from bench.comparison import Comparison
from bench.machine import describe
from bench.measure import Result, compare
from bench.suite import comparisons

RESULTS = Path(__file__).with_name("RESULTS.md")


def main(arguments: list[str] | None = None) -> list[tuple[str, str, str, Result]]:
    """Measure and print; write unless it was a quick run or a part of the comparisons."""
    parser = argparse.ArgumentParser("python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one round on small inputs; write nothing")
    parser.add_argument("--only", default="", help="only losses whose name contains this; write nothing")
    options = parser.parse_args(arguments)
    measured = []
    for comparison in comparisons(1 / 256 if options.quick else 1.0):
        if options.only in comparison.name:
            measured += _measure(comparison, rounds=1 if options.quick else 15)
            print(*measured[-2:], sep="\n", flush=True)
    text = _report(measured)
    print(text)
    if not options.quick and not options.only:
        RESULTS.write_text(text)
    return measured


def _measure(comparison: Comparison, rounds: int) -> list[tuple[str, str, str, Result]]:
    """The value alone, and the value with its gradient by the first input."""
    name, baseline_name, ours, baseline, inputs = comparison
    pairs = {
        "value": (ours, baseline),
        "value and gradient": (jax.value_and_grad(ours), jax.value_and_grad(baseline)),
    }
    return [(name, baseline_name, what, compare(a, b, inputs, rounds)) for what, (a, b) in pairs.items()]


def _report(measured: list[tuple[str, str, str, Result]]) -> str:
    table = tabulate(
        [
            (
                f"`{name}`",
                baseline_name,
                what,
                f"{r.milliseconds:.2f}",
                f"{r.time_ratio:.2f} ({r.low:.2f} to {r.high:.2f})",
                f"{r.temp_megabytes:.2f} / {r.baseline_temp_megabytes:.2f}",
                f"{r.compile_seconds:.2f} / {r.baseline_compile_seconds:.2f}",
            )
            for name, baseline_name, what, r in measured
        ],
        headers=["loss", "baseline", "", "ms", "time ratio (quartiles)", "temp MB", "compile s"],
        tablefmt="github",
    )
    return f"{_HEAD}\n{describe('jax', 'jaxlib', 'optax', 'jaxlosses')}\n\n{table}\n"


_HEAD = """# What it costs

Written by `python -m bench`. Each row compares the mean of one loss with a baseline, the same number computed by optax
or by the plain formula, in one run, taking turns. The time ratio is ours over the baseline's (below 1 we are faster):
the median of 15 rounds, and its quartiles. Where there are two numbers, ours is the first. `temp MB` is the memory that
the compiled program needs beside its inputs and outputs, which is deterministic. The plain formulas neither check
shapes nor mask, and they give NaN at the edges.
"""


if __name__ == "__main__":
    main()
