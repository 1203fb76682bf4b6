"""Time, memory and compile time of losses and objectives against optax, or against the line one would write by hand.

`python -m bench` measures ours and the baseline in turn, in one run, with compile time apart, waits for every result,
and writes `bench/RESULTS.md`. `--quick` runs every comparison once on small inputs, and writes nothing.
`python -m bench.combiner_study` trains one network under every combiner, and writes `bench/COMBINER_STUDY.md`.
"""
