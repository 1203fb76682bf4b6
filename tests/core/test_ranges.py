"""The ranges and choices of options: every option of every loss has one, and it is what the docstring says."""

import inspect
import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxlosses as jl
from jaxlosses import balance, combine, gradients, registry
from jaxlosses.combine.combiner import _factories
from jaxlosses.core.option_values import admits
from jaxlosses.core.ranges import ANY, RANGES, RANGES_OF, check_range, choices_of, range_of
from jaxlosses.core.signatures import parameters_of

pytestmark = pytest.mark.usefixtures("_annotations_off")

ARRAYS = {
    "labels",
    "lengths",
    "input_lengths",
    "label_lengths",
    "negatives",
    "negatives_where",
}  # data, and no settings
NOT_IN_THE_DOCSTRING = {  # what is a range all the same: low, high, which ends are out
    "alpha": (0, math.inf, ()),  # of the softmax focal loss, a weight
    "normalizer": (0, math.inf, ()),
    "log_base": (1, math.inf, (1,)),  # below 1 a divergence would be negative
    "iou_threshold": (0, 1, ()),
    "eps": (0, math.inf, ()),  # of the losses that may do without a floor
    "real_label": (-math.inf, math.inf, ()),
    "block_size": (1, 2**31 - 1, ()),
    "axis": (-(2**31), 2**31 - 1, ()),
    "class_axis": (-(2**31), 2**31 - 1, ()),
    "ignore_label": (-(2**31), 2**31 - 1, ()),
    "blank_id": (0, 2**31 - 1, ()),
    "classes": (0, 2**31 - 1, ()),
    "content_layers": (-math.inf, math.inf, ()),
    "style_layers": (-math.inf, math.inf, ()),
}
WORDS = {
    r"(^|, )([^ `]+ )?> 0": (0, math.inf, (0,)),
    r"(^|, )([^ `]+ )?>= 0": (0, math.inf, ()),
    r"in \[0, 1\]": (0, 1, ()),
    r"in \[1/e, 1\]": (1 / math.e, 1, ()),
}


def options():
    for name in registry.names():
        for option, parameter in parameters_of(registry.get(name).function).items():
            if option in registry.get(name).options and option != "axis_name":
                yield name, option, parameter.annotation


def takes_number(annotation):
    return any(admits(annotation, value, lists=False) for value in (1, 0.5, (1,), {"a": 1.0}))


NUMERIC = [
    (name, option) for name, option, annotation in options() if takes_number(annotation) and option not in ARRAYS
]
STRINGS = [(name, option) for name, option, annotation in options() if admits(annotation, "?", lists=False)]


def in_the_docstring(name, option):
    text = inspect.getdoc(registry.get(name).function)
    (said,) = re.findall(rf"^    {option}: (.*(?:\n        .*)*)", text, re.MULTILINE)
    found = [interval for words, interval in WORDS.items() if re.search(words, " ".join(said.split()))]
    return found[0] if found else None


@pytest.mark.parametrize(("name", "option"), NUMERIC)
def test_every_number_has_the_range_that_its_docstring_says(name, option):
    allowed = range_of(name, option)
    assert allowed is not None, f"core/ranges.py has no range for {option!r}; if it is any number, say ANY"
    low, high, without = in_the_docstring(name, option) or NOT_IN_THE_DOCSTRING[option]
    assert allowed.low == pytest.approx(low, abs=2e-6)
    assert allowed.high == high
    assert allowed.without == without


@pytest.mark.parametrize(("name", "option"), STRINGS)
def test_every_word_is_one_of_those_that_the_loss_knows(name, option):
    if option == "select":  # a pattern: any string
        return
    spec = registry.get(name)
    choices = choices_of(name, option)
    inputs = spec.example_inputs(jax.random.key(0))
    with pytest.raises((ValueError, TypeError)) as refused:
        inspect.unwrap(spec.function)(*inputs, **{option: "?"})
    said = re.findall(r"'([a-z_0-9]+)'", str(refused.value).partition(" must be ")[2].partition(", got")[0])
    assert set(choices) == set(said) | ({"weights"} if (name, option) == ("focal_eiou_loss", "mean_over") else set())


def test_nothing_in_the_tables_is_of_no_loss():
    used = {option for name in registry.names() for option in registry.get(name).options}
    used |= {option for factory in _factories.values() for option in parameters_of(factory)}
    assert set(RANGES) <= used
    for name, ranges in RANGES_OF.items():
        assert set(ranges) <= set(parameters_of(getattr(jl, name)))


def outside(allowed):
    yield from (math.nan, math.inf, -math.inf, 10**400, np.float32(np.nan))
    if allowed.low > -math.inf:
        yield from (allowed.low - 1, np.float64(allowed.low - 1), *allowed.without)
    if allowed.high < math.inf:
        yield allowed.high + 1


@pytest.mark.parametrize(("name", "option"), NUMERIC)
def test_a_number_outside_is_refused_and_one_inside_is_not(name, option):
    allowed = range_of(name, option)
    for number in outside(allowed):
        with pytest.raises(ValueError, match=rf"^{name}: {option} must be "):
            check_range(name, option, number)
    inside = 1 if allowed.admits(1) else allowed.low + 1
    for value in (inside, np.float32(inside), [inside, inside], {"a": inside}, None, "word", True, len):
        check_range(name, option, value)
    for array in (jnp.asarray(-math.inf), np.array([math.nan, -1.0])):  # no look into arrays
        check_range(name, option, array)
    jax.jit(lambda x: (check_range(name, option, x), x)[1])(1.0)
    default = parameters_of(registry.get(name).function)[option].default
    check_range(name, option, default)


def test_messages():
    wrong = {
        "info_nce_loss: temperature must be a number > 0, got -1": ("info_nce_loss", "temperature", -1),
        "dice_loss: smooth must be a number >= 0, got nan": ("dice_loss", "smooth", math.nan),
        "dice_loss: smooth must be a finite number >= 0, got inf": ("dice_loss", "smooth", math.inf),
        "nll_loss: class_weights must be a number >= 0, got -2 in [1, -2]": ("nll_loss", "class_weights", [1, -2]),
        "focal_l1_loss: beta must be a number in [1/e, 1], got 0": ("focal_l1_loss", "beta", 0),
        "huber_loss: delta must be a finite number > 0, got 3000000000; integers have 32 bits: did you mean 3e+09?": (
            *("huber_loss", "delta"),
            3 * 10**9,
        ),
    }
    for message, arguments in wrong.items():
        with pytest.raises(ValueError) as refused:  # noqa: PT011  # compared in full
            check_range(*arguments)
        assert str(refused.value) == message


def test_a_number_that_only_64_bits_hold():
    with pytest.raises(ValueError, match="finite"):
        check_range("huber_loss", "delta", 1e300)
    with jax.enable_x64(True):
        check_range("huber_loss", "delta", 1e300)


@pytest.mark.parametrize("name", combine.names())
def test_options_of_combiners_have_ranges(name):
    for option in parameters_of(_factories[name]):
        assert range_of(name, option) not in (None, ANY)
        for number in outside(range_of(name, option)):
            with pytest.raises(ValueError, match=rf"^combiner '{name}': option '{option}' must be "):
                combine.get_combiner({"name": name, option: number})


def test_direct_calls_of_what_is_no_loss():
    losses = {"a": 1.0, "b": 2.0}
    gram = gradients.gram({"a": jnp.array([1.0, 0.0]), "b": jnp.array([0.5, 1.0])})
    for call in (
        lambda: combine.soft_optimal(losses, temperature=0),
        lambda: combine.uncertainty(losses, {"a": 0.0, "b": 0.0}, limit=-1),
        lambda: combine.revised_uncertainty(losses, {"a": 0.0, "b": 0.0}, limit=math.nan),
        lambda: balance.dwa(0.0),
        lambda: balance.dwa(period=0),
        lambda: balance.famo(-1.0),
        lambda: balance.famo(decay=math.nan),
        lambda: balance.famo(minimum={"a": math.nan}),
        lambda: balance.gradnorm(math.nan),
        lambda: balance.gradnorm(learning_rate=0.0),
        lambda: gradients.cagrad(gram, c=1.0),
        lambda: gradients.cagrad(gram, c=-0.1),
    ):
        with pytest.raises(ValueError, match=r"^[a-z_]+: [a-z_]+ must be a "):
            call()
    assert jl.Objective({"a": jl.Term("squared_error", ("x", "y"))}) is not None
