"""The rivals, family by family: optax's loss where it has one, otherwise the formula as one would write it by hand."""
