"""Every law, for every loss, under every row of options in `cases.py`."""

import pytest

from jaxlosses import testing
from tests.cases import CASES

APPLIES = [
    pytest.param(case, law, id=f"{name}-{law.replace(' ', '-')}", marks=pytest.mark.xdist_group(name))
    for name, case in CASES.items()
    for law in testing.LAWS
    if law not in dict(case.spec.law_exceptions)
]


@pytest.mark.parametrize(("case", "law"), APPLIES)
def test_law(case, law):
    testing.LAWS[law](case)


@pytest.mark.parametrize("name", CASES)
def test_a_law_that_does_not_apply_has_its_reason_in_the_row(name):
    spec = CASES[name].spec
    reasons = dict(spec.law_exceptions)
    assert set(reasons) <= set(testing.LAWS)
    assert all(len(reason.split()) > 3 for reason in reasons.values())
    assert (spec.homogeneous_degree is None) == ("scaled inputs give scaled values" in reasons)
    assert spec.translation_invariant != ("integers keep their differences" in reasons)
