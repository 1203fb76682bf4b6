"""Strict arithmetic for the whole suite: arrays of unequal rank or dtype never meet by accident. Eight CPU devices.

Most of the suite's time is compilation, and most programs are run once, so XLA compiles them as quickly as it can.
`XLA_FLAGS= python -m pytest` tests what users run; `.ci/run` does so for the oldest JAX.
"""

import gc
import os
import subprocess
import sys

import jax
import jaxtyping
import pytest

QUICK = """
  --xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true
  --xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1
"""


def known_to_xla(flags: str) -> bool:
    """Whether this XLA knows the flags; it ends the process that asks for one that it does not know."""
    trial = [sys.executable, "-c", "import jax; jax.devices()"]
    return subprocess.run(trial, env={**os.environ, "XLA_FLAGS": flags}, capture_output=True).returncode == 0


if "XLA_FLAGS" not in os.environ:  # XLA reads them when it first runs; pytest-xdist's workers inherit them
    os.environ["XLA_FLAGS"] = QUICK if known_to_xla(QUICK) else ""

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_traceback_filtering", "tracebackhide")  # says nothing under a message that a test compares
jax.config.update("jax_num_cpu_devices", 8)  # for what must be the same on one device and on many

collect_ignore_glob = ["golden/[a-z]*.py"]  # scripts that call other libraries, run by hand


@pytest.fixture
def _annotations_off():
    """Our own words, and not the type checker's, are what a user meets."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


def pytest_collection_finish():
    """What is imported and collected stays; it need not be searched for garbage again and again."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
