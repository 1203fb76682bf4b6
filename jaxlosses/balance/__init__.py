"""Loss balancing: weights for the terms of an objective from their past losses, with an explicit state.

Every balancer is a pair `(init, update)`. Its state holds `weights`, those for the next evaluation, and they go into an
objective as multipliers:

    balancer = balance.dwa(period=100)
    state = balancer.init(objective.terms)                        # beside the optimiser's state

    total, aux = objective(data, weights=state.weights)           # inside the loss function
    weights, state = balancer.update(aux["loss"], state)          # after the step; the weights are state.weights too

    dwa        K softmax(r/T), r = how a mean loss compares with the one before    Σw = K
    rlw        softmax(z), z ~ N(0, 1) anew in every step                          Σw = 1
    famo       z/(L - b) over its sum, z = softmax(ξ) learned: slow losses up      Σw = 1
    gradnorm   K softmax(v), v learned: w n alike, more for slow losses            Σw = K

Those that sum to 1 make the total K times smaller than a plain sum: adapt the learning rate, or use Adam. In a state,
dicts are by term, and vectors go through the terms sorted by name, in float32. All is jittable, and compiled once.
Losses may be those of more terms than `init` was given: the others are left alone. A loss that is exactly 0 or not
finite is taken for one that was not active (an inactive term, a batch without its labels, a step to be skipped), and
changes no weight.

This module is not part of `import jaxlosses`: write `from jaxlosses import balance`.
"""

from jaxlosses.balance._balancer import Balancer
from jaxlosses.balance._dwa_rlw import DWAState, RLWState, dwa, rlw
from jaxlosses.balance._famo_gradnorm import FAMOState, GradNormState, famo, gradnorm

__all__ = ["Balancer", "DWAState", "FAMOState", "GradNormState", "RLWState", "dwa", "famo", "gradnorm", "rlw"]
