"""How one pair of functions is measured."""

import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from jax.stages import Compiled


class Side(NamedTuple):
    """One compiled function: what it took to compile, and what it takes to run."""

    run: Compiled
    compile_seconds: float
    temp_bytes: int


class Result(NamedTuple):
    """Ours against the other: ratios below 1 are in our favour."""

    milliseconds: float
    time_ratio: float
    low: float
    high: float
    temp_megabytes: float
    other_temp_megabytes: float
    compile_seconds: float
    other_compile_seconds: float


def compare(ours: Callable[..., Any], other: Callable[..., Any], inputs: tuple[Any, ...], rounds: int) -> Result:
    """Compile both and run them in turn; the ratio is the median over rounds, with its quartiles."""
    a, b = _compile(ours, inputs), _compile(other, inputs)
    repeats = 1 if rounds == 1 else _repeats(a, inputs)
    times = [(_seconds(a, inputs, repeats), _seconds(b, inputs, repeats)) for _ in range(rounds)]
    ratios = sorted(x / y for x, y in times)
    return Result(
        milliseconds=1e3 * statistics.median(x for x, _ in times),
        time_ratio=statistics.median(ratios),
        low=ratios[len(ratios) // 4],
        high=ratios[-1 - len(ratios) // 4],
        temp_megabytes=a.temp_bytes / 1e6,
        other_temp_megabytes=b.temp_bytes / 1e6,
        compile_seconds=a.compile_seconds,
        other_compile_seconds=b.compile_seconds,
    )


def _compile(function: Callable[..., Any], inputs: tuple[Any, ...]) -> Side:
    start = time.perf_counter()
    run = jax.jit(function).lower(*inputs).compile()
    seconds = time.perf_counter() - start
    memory = run.memory_analysis()
    return Side(run, seconds, 0 if memory is None else memory.temp_size_in_bytes)


def _repeats(side: Side, inputs: tuple[Any, ...]) -> int:
    """So many runs that a timing lasts some 30 ms."""
    _seconds(side, inputs, 2)
    return max(1, int(0.03 / _seconds(side, inputs, 3)))


def _seconds(side: Side, inputs: tuple[Any, ...], repeats: int) -> float:
    start = time.perf_counter()
    jax.block_until_ready([side.run(*inputs) for _ in range(repeats)])
    return (time.perf_counter() - start) / repeats
