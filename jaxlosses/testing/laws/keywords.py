"""What a loss does with keywords that are wrong, and with numbers of a type of their own."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxlosses.core.keywords import is_optional, kind_of
from jaxlosses.core.signatures import parameters_of
from jaxlosses.testing.case import Case, is_float, numeric_options
from jaxlosses.testing.laws._law import law, raises

_NO_NUMBERS = ("1.0", True, 1j, [0.5, 0.5], np.ones(3, np.float32), np.ones((1, 1)), {}, jax.random.key)
_WRONG: dict[str, tuple[Any, ...]] = {
    "number": _NO_NUMBERS,
    "float": _NO_NUMBERS,
    "number or word": ("no such word", *_NO_NUMBERS[1:]),
    "flag": ("yes", 2, None, 0.0, np.ones(2, bool)),
    "word": ("no such word", 0, True, (), np.ones(2)),
    "integer": ("255", 0.5, True, (0, 1), [0], np.ones(2, int), 2**70),
    "word or integers": ("no such word", 1, 0.5, [0.5], [[0]]),
    "axis name": ([0], {}, 1, np.ones(2)),
    "function": ("no function", 1.0),
}
_STATIC = ("flag", "word", "integer", "word or integers", "axis name")


@law("wrong keywords raise")
def _wrong_keywords(case: Case) -> None:
    inputs, name = case.inputs(), case.spec.name
    for keyword in case.spec.options:
        annotation = parameters_of(case.spec.function)[keyword].annotation
        kind = kind_of(annotation)
        if kind is None:
            continue
        for wrong in (*_WRONG[kind], *(() if is_optional(annotation) else (None,))):
            raises((TypeError, ValueError), (name, keyword), lambda k=keyword, w=wrong: case.loss(*inputs, **{k: w}))
        if kind in _STATIC:
            traced = lambda k=keyword: jax.eval_shape(lambda x: case.loss(*inputs, **{k: x}), 1)  # noqa: E731
            raises(TypeError, (name, keyword), traced)
    raises(TypeError, (name, "no_such_keyword"), lambda: case.loss(*inputs, no_such_keyword=1))


@law("typed numbers keep the precision")
def _typed_numbers(case: Case) -> None:
    single = tuple(x.astype(np.float32) if is_float(x) else x for x in case.inputs())
    numbers = numeric_options(case)
    with jax.enable_x64(True), jax.numpy_dtype_promotion("strict"):
        precision = jax.eval_shape(case.loss, *single).dtype  # of lists of numbers among the options it is float64
        for kind in (np.float64, jnp.float64, np.float32, jnp.bfloat16):
            typed = {name: kind(x) for name, x in numbers.items()}
            given = jax.eval_shape(lambda *inputs, n=typed: case.loss(*inputs, **n), *single)
            traced = jax.eval_shape(lambda inputs, n: case.loss(*inputs, **n), single, jax.tree.map(jnp.asarray, typed))
            for how, result in (("", given), ("traced ", traced)):
                assert result.dtype == precision, f"{how}{kind.__name__} {sorted(typed)} made it {result.dtype}"
