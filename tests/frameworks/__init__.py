"""One training step for each framework, made to be copied: the model and the optimiser differ, the objective does not.

Every module has `start(objective, batch) -> state`, `make_step(objective) -> step(state, batch) -> (state, aux)`, and
`log_variances(state)`. Three things are the same in all of them, and worth keeping:

- the step is an array, so that one program serves every step and stage;
- the log-variances have an optimiser of their own: no weight decay, and no momentum, so that one rests as soon as its
  term does (Adam's b1 would let it coast on);
- the gradient's norm is clipped inside the network's partition, so that a log-variance with a large gradient does not
  shrink the network's step.
"""
