"""Every law, for every loss, under every row of options in `cases.py`."""

import pytest

from jaxlosses import testing
from tests.cases import CASES


@pytest.mark.parametrize("law", testing.LAWS, ids=lambda law: law.replace(" ", "-"))
@pytest.mark.parametrize(
    "case", [pytest.param(case, id=name, marks=pytest.mark.xdist_group(name)) for name, case in CASES.items()]
)
def test_law(case, law):
    testing.LAWS[law](case)
