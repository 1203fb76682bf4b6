"""Time, memory and compile time of losses and objectives against optax, or against the line one would write by hand.

`python -m bench` measures both sides interleaved in one run, with compile time apart, and everything blocked on, and
writes `bench/RESULTS.md`. `--quick` tries every row once on small inputs, and writes nothing.
"""
