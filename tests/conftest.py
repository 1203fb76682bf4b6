"""Strict arithmetic for the whole suite: arrays of unequal rank or dtype never meet by accident. Eight CPU devices.

Most of the suite's time is compilation, and most programs are run once: XLA's passes stay on, LLVM's are not worth it.
"""

import os

os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true")

import jax

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_num_cpu_devices", 8)  # for what must be the same on one device and on many

collect_ignore_glob = ["golden/[a-z]*.py"]  # scripts that call other libraries, run by hand
