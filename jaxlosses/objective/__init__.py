"""Many losses as one objective: terms, stages, schedules and learned weights, ready for `jax.value_and_grad`.

term          which loss, of which arrays, how heavy, and when
objective     the terms together: data in, `(total, aux)` out
evaluation    from the data to every term's loss, on one device or many
arguments     what a call is given beside the data
validation    names, options, inputs and stages, checked when an objective is made
paths         where a term finds its arrays
schedules     weights that follow the step
config        an objective as plain data, and back
report        a table of terms, stages and weights
summary       the `aux` of many steps, folded into one row
foreign_loss  masks around losses that are plain functions
value_only    a loss function without its auxiliary output
frozen        dictionaries that can be hashed
"""

from jaxlosses.objective.objective import Objective
from jaxlosses.objective.schedules import schedule
from jaxlosses.objective.summary import summarize
from jaxlosses.objective.term import Term
from jaxlosses.objective.value_only import value_only

__all__ = ["Objective", "Term", "schedule", "summarize", "value_only"]
