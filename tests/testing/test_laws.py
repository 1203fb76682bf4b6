"""Every law, for every loss, under every row of options in `cases.py`."""

import pytest

from jaxlosses import testing
from tests.cases import CASES


@pytest.mark.parametrize("law", testing.LAWS, ids=lambda law: law.replace(" ", "-"))
@pytest.mark.parametrize(
    "case", [pytest.param(case, id=name, marks=pytest.mark.xdist_group(name)) for name, case in CASES.items()]
)
def test_law(case, law):
    if law in dict(case.spec.law_exceptions):
        pytest.skip(dict(case.spec.law_exceptions)[law])
    testing.LAWS[law](case)


def test_exceptions_are_of_laws_and_have_a_reason():
    for case in CASES.values():
        for law, reason in case.spec.law_exceptions:
            assert law in testing.LAWS, (case.spec.name, law)
            assert len(reason.split()) > 3, (case.spec.name, law, reason)
