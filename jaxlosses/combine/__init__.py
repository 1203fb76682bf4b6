"""Combiners: many losses, each with a multiplier, become one number.

A combiner takes a dict of scalar losses and returns `(total, weights)`, where `weights` holds d total / d loss of every
term. Objectives call these functions by name, and they work as well without one:

    sum                  Σ m L
    uncertainty          Σ m (c e^-s L + r s)              s = log σ² is learned for every term; weight r/L at rest
    revised_uncertainty  Σ m (c e^-s L + 2r log(1 + e^s))  the same, with a total that stays positive
    log                  Σ m log L                         uncertainty with s solved for: nothing is learned
    geometric            exp(Σ m log L / Σ m)              the same direction, and a step in proportion to the loss
    soft_optimal         Σ m w L                           w = softmax(1/(T L)), a constant for the gradient

The multiplier m of a term stands before its whole expression. Inside, it would be cancelled: the learned weight is r/L,
whatever scale L has. At m = 0 a term is off, with its regulariser: its s does not move, and a NaN in it does not reach
the total. (It can still reach a gradient, where 0 · NaN is NaN: only the stages of an objective stop a term from
running.) None of the last three adds up over microbatches.
"""

from jaxlosses.combine.combiner import Combiner, get_combiner, names, register
from jaxlosses.combine.weighted_sum import sum  # jl.combine.sum is the field's word for it
from jaxlosses.combine.uncertainty import revised_uncertainty, uncertainty
from jaxlosses.combine.logarithm import geometric, log
from jaxlosses.combine.inverse_loss import soft_optimal

__all__ = [
    "Combiner",
    "geometric",
    "get_combiner",
    "log",
    "names",
    "register",
    "revised_uncertainty",
    "soft_optimal",
    "sum",
    "uncertainty",
]
