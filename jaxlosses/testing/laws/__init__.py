"""The laws. Each takes a case, and raises an error that says what is wrong if the loss breaks it."""

# isort: off
from jaxlosses.testing.laws import transformations as transformations
from jaxlosses.testing.laws import derivatives as derivatives
from jaxlosses.testing.laws import masks as masks
from jaxlosses.testing.laws import inputs as inputs
from jaxlosses.testing.laws import keywords as keywords
from jaxlosses.testing.laws import ranges as ranges
from jaxlosses.testing.laws import integers as integers
from jaxlosses.testing.laws import placement as placement
from jaxlosses.testing.laws import infinities as infinities

# isort: on
from jaxlosses.testing.laws._law import LAWS as LAWS
