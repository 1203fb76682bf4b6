"""Which values the options of losses and combiners may have: ranges of numbers, and choices of words, by keyword.

What a docstring says in words ("τ > 0") stands here once as data. It is looked up where an objective is made and where
a loss is called. Only what is known before the program runs is judged: Python and NumPy numbers, and lists and dicts of
them, but no arrays. These words are about this library's own functions: a loss of a user's may mean another `alpha`.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxlosses.core.errors import did_you_mean, shown

_LARGEST_FLOAT32, _LARGEST_INT32 = 3.4028234663852886e38, 2**31 - 1


class Range(NamedTuple):
    """An interval of the real numbers, without its infinite ends.

    Attributes:
        words: the interval in words, to follow "must be".
        low: its lower end.
        high: its upper end.
        without: those of its ends that do not belong to it.
    """

    words: str
    low: float = -math.inf
    high: float = math.inf
    without: tuple[float, ...] = ()

    def admits(self, number: Any) -> bool:
        """Whether a Python or NumPy number lies inside; NaN and infinity never do."""
        return _is_inside(self, number) and _is_finite(number)


ANY = Range("a finite number")
POSITIVE = Range("a number > 0", low=0.0, without=(0.0,))
NONNEGATIVE = Range("a number >= 0", low=0.0)
UNIT = Range("a number in [0, 1]", low=0.0, high=1.0)
ANY_INTEGER = Range("an integer of at most 32 bits", low=-_LARGEST_INT32 - 1, high=_LARGEST_INT32)
COUNT = Range("an integer >= 1", low=1, high=_LARGEST_INT32)
INDEX = Range("an integer >= 0", low=0, high=_LARGEST_INT32)
_FOCAL_L1_BETA = Range("a number in [1/e, 1]", low=1 / math.e - 1e-6, high=1.0)  # 1/e as float32 rounds it, too

RANGES: dict[str, Range] = {
    "alpha": NONNEGATIVE,
    "axis": ANY_INTEGER,
    "beta": POSITIVE,
    "blank_id": INDEX,
    "block_size": COUNT,
    "class_axis": ANY_INTEGER,
    "class_weights": NONNEGATIVE,
    "classes": INDEX,
    "content_layers": ANY,
    "content_weight": NONNEGATIVE,
    "delta": POSITIVE,
    "eps": NONNEGATIVE,
    "fn_weight": NONNEGATIVE,
    "fp_weight": NONNEGATIVE,
    "gamma": NONNEGATIVE,
    "ignore_label": ANY_INTEGER,
    "iou_threshold": UNIT,
    "l1_ratio": UNIT,
    "label_smoothing": UNIT,
    "layer_weights": NONNEGATIVE,
    "limit": POSITIVE,
    "log_base": Range("a number > 1", low=1.0, without=(1.0,)),
    "margin": NONNEGATIVE,
    "normalizer": NONNEGATIVE,
    "pos_weight": NONNEGATIVE,
    "real_label": ANY,
    "reg_lambda": NONNEGATIVE,
    "sensitivity_weight": UNIT,
    "smooth": NONNEGATIVE,
    "style_layers": ANY,
    "style_weight": NONNEGATIVE,
    "temperature": POSITIVE,
    "weight": NONNEGATIVE,
}
"""The range of each keyword that takes a number, and of each entry where it takes several."""

RANGES_OF: dict[str, dict[str, Range]] = {
    "effective_number_weights": {"beta": UNIT},
    "f_beta": {"beta": NONNEGATIVE},
    "smooth_l1_loss": {"beta": NONNEGATIVE},
    "sigmoid_binary_cross_entropy": {"alpha": UNIT},
    "sigmoid_focal_loss": {"alpha": UNIT},
    "focal_l1_loss": {"beta": _FOCAL_L1_BETA},
    "focal_eiou_loss": {"beta": _FOCAL_L1_BETA},
    "contrastive_loss": {"margin": POSITIVE},
    "pairwise_contrastive_loss": {"margin": POSITIVE},
}
"""Where a keyword has another range in one loss than in the others: by loss, and then by keyword."""

CHOICES: dict[str, tuple[str, ...]] = {
    "activation": ("sigmoid", "softmax"),
    "aspect_gradient": ("exact", "authors"),
    "average": ("macro", "micro"),
    "classes": ("all", "present"),
    "input_type": ("probabilities", "log", "logits"),
    "mean_over": ("weights", "examples"),
    "normalizer": ("positives",),
    "same_label": ("exclude", "positive"),
    "similarity": ("iou", "giou", "diou", "ciou", "eiou"),
}
"""The words that a keyword takes."""

CHOICES_OF: dict[str, dict[str, tuple[str, ...]]] = {
    "kl_divergence": {"input_type": ("log_predictions", "probabilities", "log", "logits")},
    "iou_loss": {"variant": ("linear", "log")},
    "focal_eiou_loss": {"variant": ("weighted", "focal_l1")},
    "n_pair_loss": {"variant": ("multi_class", "one_vs_one")},
    "sequence_cross_entropy": {"mean_over": ("tokens", "sequences", "examples")},
    "content_loss": {"variant": ("gatys", "johnson")},
    "style_loss": {"variant": ("gatys", "johnson")},
    "content_style_loss": {"variant": ("gatys", "johnson")},
    "discriminator_loss": {"variant": ("minimax", "non_saturating", "least_squares")},
    "generator_loss": {"variant": ("minimax", "non_saturating", "least_squares")},
}
"""Where a keyword takes other words in one loss than in the others."""


def range_of(call: str, keyword: str) -> Range | None:
    """The range of a keyword in a loss or combiner of this library; None if it has none."""
    return RANGES_OF.get(call, {}).get(keyword, RANGES.get(keyword))


def choices_of(call: str, keyword: str) -> tuple[str, ...] | None:
    """The words that a keyword takes in a loss of this library; None if it takes any."""
    return CHOICES_OF.get(call, {}).get(keyword, CHOICES.get(keyword))


def check_range(call: str, keyword: str, value: Any, allowed: Range | None = None) -> None:
    """Raise for a number outside the range of a keyword, or NaN; do nothing for arrays, words, functions and None.

    Args:
        call: the loss, combiner or other function, for messages.
        keyword: its keyword.
        value: what the keyword was given: a number, or a list or dict of numbers.
        allowed: the range; None for the one in the tables of this module.
    """
    allowed = range_of(call, keyword) if allowed is None else allowed
    if allowed is not None and (problem := range_problem(allowed, value)) is not None:
        raise ValueError(f"{call}: {keyword} {problem}")


def check_number(call: str, keyword: str, value: Any) -> None:
    """`check_range` for direct calls: of one number, which may be infinite (a threshold that is never reached).

    Axes and class ids are left to the call itself, which knows how many there are.
    """
    allowed = range_of(call, keyword)
    if allowed in (None, ANY_INTEGER, INDEX) or not _is_number(value) or _is_inside(allowed, value):
        return
    raise ValueError(f"{call}: {keyword} {range_problem(allowed, value)}")


def check_option_ranges(what: str, call: str, options: Mapping[str, Any]) -> None:
    """Raise for a number outside its range, or a word that is none of the choices, among the options of an objective.

    Args:
        what: what has the options, for messages.
        call: the loss or combiner, by which the tables of this module have its keywords.
        options: the values by keyword.
    """
    for option, value in options.items():
        allowed, choices = range_of(call, option), choices_of(call, option)
        if choices is not None and isinstance(value, str) and value not in choices:
            listed, hint = ", ".join(map(repr, choices)), did_you_mean(value, choices)
            raise ValueError(f"{what}: option {option!r} must be one of {listed}, got {shown(value)}{hint}")
        if allowed is not None and (problem := range_problem(allowed, value)) is not None:
            raise ValueError(f"{what}: option {option!r} {problem}")


def range_problem(allowed: Range, value: Any) -> str | None:
    """What is wrong with a number, or with the first bad one in a list or dict of them; None if nothing is."""
    for number in _numbers(value):
        if not allowed.admits(number):
            is_finite_missing = _is_inside(allowed, number)
            words = allowed.words.replace("a number", "a finite number") if is_finite_missing else allowed.words
            inside = "" if number is value else f" in {shown(value)}"
            return f"must be {words}, got {shown(number)}{inside}{_integer_hint(number)}"
    return None


def _numbers(value: Any) -> Iterator[Any]:
    """The Python and NumPy numbers in a value."""
    if isinstance(value, list | tuple):
        for entry in value:
            yield from _numbers(entry)
    elif isinstance(value, Mapping):
        yield from _numbers(list(value.values()))
    elif _is_number(value):
        yield value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)


def _is_inside(allowed: Range, number: Any) -> bool:
    return bool(allowed.low <= number <= allowed.high) and number not in allowed.without


def _is_finite(number: Any) -> bool:
    """Whether JAX can hold it: a Python integer in 32 bits, anything else in the widest float that is enabled."""
    if isinstance(number, int):
        return abs(number) <= _LARGEST_INT32
    return abs(number) <= _LARGEST_FLOAT32 or (math.isfinite(number) and jnp.result_type(float) == jnp.float64)


def _integer_hint(number: Any) -> str:
    if isinstance(number, int) and _LARGEST_INT32 < abs(number) <= _LARGEST_FLOAT32:
        return f"; integers have 32 bits: did you mean {float(number):g}?"
    return ""
