"""How a loss and its baseline are measured."""

import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from jax.stages import Compiled


class CompiledRun(NamedTuple):
    """One compiled function: what it took to compile, and what it takes to run."""

    run: Compiled
    compile_seconds: float
    temp_bytes: int


class Result(NamedTuple):
    """Ours against the baseline: ratios below 1 are in our favour; `low` and `high` are their quartiles."""

    milliseconds: float
    time_ratio: float
    low: float
    high: float
    temp_megabytes: float
    baseline_temp_megabytes: float
    compile_seconds: float
    baseline_compile_seconds: float


def compare(ours: Callable[..., Any], baseline: Callable[..., Any], inputs: tuple[Any, ...], rounds: int) -> Result:
    """Compile both and run them in turn; the ratio is the median over rounds, with its quartiles."""
    a, b = _compile(ours, inputs), _compile(baseline, inputs)
    repeats = 1 if rounds == 1 else _repeats(a, inputs)
    times = [(_seconds(a, inputs, repeats), _seconds(b, inputs, repeats)) for _ in range(rounds)]
    ratios = sorted(x / y for x, y in times)
    return Result(
        milliseconds=1e3 * statistics.median(x for x, _ in times),
        time_ratio=statistics.median(ratios),
        low=ratios[len(ratios) // 4],
        high=ratios[-1 - len(ratios) // 4],
        temp_megabytes=a.temp_bytes / 1e6,
        baseline_temp_megabytes=b.temp_bytes / 1e6,
        compile_seconds=a.compile_seconds,
        baseline_compile_seconds=b.compile_seconds,
    )


def _compile(function: Callable[..., Any], inputs: tuple[Any, ...]) -> CompiledRun:
    start = time.perf_counter()
    run = jax.jit(function).lower(*inputs).compile()
    seconds = time.perf_counter() - start
    memory = run.memory_analysis()
    return CompiledRun(run, seconds, 0 if memory is None else memory.temp_size_in_bytes)


def _repeats(compiled: CompiledRun, inputs: tuple[Any, ...]) -> int:
    """So many runs that a timing lasts some 30 ms."""
    _seconds(compiled, inputs, 2)
    return max(1, int(0.03 / _seconds(compiled, inputs, 3)))


def _seconds(compiled: CompiledRun, inputs: tuple[Any, ...], repeats: int) -> float:
    start = time.perf_counter()
    jax.block_until_ready([compiled.run(*inputs) for _ in range(repeats)])
    return (time.perf_counter() - start) / repeats
