"""Penalties on the parameters of a model: lasso, ridge and elastic net, and the structural risk they are part of."""

from jaxlosses.losses.penalties.penalties import elastic_net_penalty as elastic_net_penalty
from jaxlosses.losses.penalties.penalties import l1_penalty as l1_penalty
from jaxlosses.losses.penalties.penalties import l2_penalty as l2_penalty
from jaxlosses.losses.penalties.penalties import soft_threshold as soft_threshold
from jaxlosses.losses.penalties.penalties import structural_risk as structural_risk
