"""What a law is, and how it says what is wrong."""

from collections.abc import Callable
from typing import Any

import numpy as np

from jaxlosses.testing.case import Case

Law = Callable[[Case], None]

LAWS: dict[str, Law] = {}
"""Every law by its name, in the order in which `check` runs them."""


def law(name: str) -> Callable[[Law], Law]:
    """Give a law its name."""
    return lambda law: LAWS.setdefault(name, law)


def close(actual: Any, expected: Any, *, rtol: float = 1e-7, atol: float = 0.0) -> None:
    """Raise unless the numbers are close."""
    actual = np.asarray(actual)
    np.testing.assert_allclose(actual, np.broadcast_to(np.asarray(expected), actual.shape), rtol=rtol, atol=atol)


def raises(
    kind: type[Exception] | tuple[type[Exception], ...], words: tuple[str, ...], call: Callable[[], Any]
) -> None:
    """Raise unless the call raises an error of this kind whose message has all the words."""
    try:
        call()
    except kind as error:
        missing = [word for word in words if word not in str(error)]
        assert not missing, f"the error does not mention {missing}: {error}"
    else:
        raise AssertionError(f"no error was raised that mentions {words}")
