"""The baselines, family by family: optax's loss where it has one, otherwise the formula written by hand."""
