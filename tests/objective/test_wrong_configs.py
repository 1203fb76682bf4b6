"""Configs that cannot be meant: each is an error when the objective is made, which names the term and what is wrong."""

import datetime
import json
import math

import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxlosses as jl
from jaxlosses.__main__ import main
from jaxlosses.core.errors import shown

pytestmark = pytest.mark.usefixtures("_annotations_off")

NAN, INF, HUGE, DATE = math.nan, math.inf, 10**400, datetime.date(1979, 5, 27)


def nested(depth, inner=1, wrap=lambda x: [x]):
    for _ in range(depth):
        inner = wrap(inner)
    return inner


def config(**fields):
    return {"terms": {"a": {"loss": "squared_error", "inputs": ["x", "y"], **fields}}}


CYCLE: dict = config()
CYCLE["terms"]["a"]["options"] = CYCLE

WHOLE = {  # a config, and what its message must have
    "none": (None, "config"),
    "a list": ([], "config"),
    "a number": (3, "config"),
    "a string": ("terms", "config"),
    "nothing in it": ({}, "at least one term"),
    "an integer key": ({1: 2}, "unknown key 1"),
    "a key None": ({**config(), None: 2}, "unknown key None"),
    "an unknown key": ({**config(), "bondaries": [1]}, "did you mean 'boundaries'"),
    "terms: none": ({"terms": None}, "terms"),
    "terms: empty": ({"terms": {}}, "at least one term"),
    "terms: a list": ({"terms": [config()]}, "terms"),
    "terms: a string": ({"terms": "a"}, "terms"),
    "terms: a number": ({"terms": 1.5}, "terms"),
    "a term: none": ({"terms": {"a": None}}, "term 'a'"),
    "a term: a list": ({"terms": {"a": ["squared_error"]}}, "term 'a'"),
    "a term: a number": ({"terms": {"a": 2}}, "term 'a'"),
    "a term: empty": ({"terms": {"a": {}}}, "term 'a'"),
    "a term: no inputs": ({"terms": {"a": {"loss": "mse"}}}, "term 'a'"),
    "a term: no loss": ({"terms": {"a": {"inputs": ["x", "y"]}}}, "term 'a'"),
    "a term: integer keys": ({"terms": {"a": {1: 2}}}, "term 'a'"),
    "name: an integer": ({"terms": {1: config()["terms"]["a"]}}, "name of a term"),
    "name: none": ({"terms": {None: config()["terms"]["a"]}}, "name of a term"),
    "name: a tuple": ({"terms": {(1,): config()["terms"]["a"]}}, "name of a term"),
    "name: empty": ({"terms": {"": config()["terms"]["a"]}}, "name of a term"),
    "name: blank": ({"terms": {" ": config()["terms"]["a"]}}, "name of a term"),
    "deep lists": ({"terms": nested(10_000)}, "nested"),
    "deep dicts": ({"terms": nested(10_000, {}, lambda x: {"a": x})}, "nested"),
    "a list of deep lists": (nested(10_000), "config"),
    "a cycle": (CYCLE, "nested"),
    "boundaries: none": ({**config(), "boundaries": None}, "boundaries"),
    "boundaries: a number": ({**config(), "boundaries": 100}, "boundaries"),
    "boundaries: a string": ({**config(), "boundaries": "100"}, "boundaries"),
    "boundaries: False": ({**config(), "boundaries": False}, "boundaries"),
    "boundaries: a dict": ({**config(), "boundaries": {"a": 1}}, "boundaries"),
    "boundaries: strings": ({**config(), "boundaries": ["100"]}, "boundaries"),
    "boundaries: floats": ({**config(), "boundaries": [1.5]}, "boundaries"),
    "boundaries: NaN": ({**config(), "boundaries": [NAN]}, "boundaries"),
    "boundaries: infinity": ({**config(), "boundaries": [INF]}, "boundaries"),
    "boundaries: bools": ({**config(), "boundaries": [True]}, "boundaries"),
    "boundaries: null": ({**config(), "boundaries": [None]}, "boundaries"),
    "boundaries: nested": ({**config(), "boundaries": [[1]]}, "boundaries"),
    "boundaries: 0": ({**config(), "boundaries": [0]}, "boundaries"),
    "boundaries: negative": ({**config(), "boundaries": [-5, 5]}, "boundaries"),
    "boundaries: unsorted": ({**config(), "boundaries": [5, 3]}, "boundaries"),
    "boundaries: twice": ({**config(), "boundaries": [3, 3]}, "boundaries"),
    "boundaries: huge": ({**config(), "boundaries": [HUGE]}, "boundaries"),
    "boundaries: a date": ({**config(), "boundaries": [DATE]}, "boundaries"),
    "combine: none": ({**config(), "combine": None}, "combine"),
    "combine: a number": ({**config(), "combine": 1}, "combine"),
    "combine: a list": ({**config(), "combine": ["sum"]}, "combine"),
    "combine: empty": ({**config(), "combine": {}}, "combine"),
    "combine: unknown": ({**config(), "combine": "som"}, "did you mean 'sum'"),
    "combine: no string": ({**config(), "combine": ""}, "combiner"),
    "combine: name none": ({**config(), "combine": {"name": None}}, "combine"),
    "combine: name list": ({**config(), "combine": {"name": ["sum"]}}, "combine"),
    "combine: no name": ({**config(), "combine": {"limit": 1.0}}, "combine"),
    "combine: an option that it has not": ({**config(), "combine": {"name": "sum", "limit": 1.0}}, "'limit'"),
    "combine: an integer option": ({**config(), "combine": {"name": "sum", 1: 1.0}}, "option 1"),
}
for _name, _option in (("uncertainty", "limit"), ("revised_uncertainty", "limit"), ("soft_optimal", "temperature")):
    for _wrong in (0, 0.0, -1, NAN, INF, -INF, HUGE, "2", True, [1.0, 2.0], [], {}, {"a": 1}, DATE):
        WHOLE[f"{_name}: {_option} {shown(_wrong):.20}"] = (
            {**config(), "combine": {"name": _name, _option: _wrong}},
            f"combiner '{_name}': option '{_option}' must be",
        )


@pytest.mark.parametrize("case", WHOLE)
def test_a_wrong_config(case):
    wrong, names = WHOLE[case]
    with pytest.raises(ValueError) as refused:  # noqa: PT011
        jl.Objective.from_config(wrong)
    assert names in str(refused.value)
    assert len(str(refused.value)) < 1000


FIELDS = {
    "loss": (None, 3, True, "", "squred_error", ["mse"], {}, {"name": "mse"}, "optax:l2_loss", ":", DATE),
    "inputs": (
        *(None, 3, True, [], "x", ["x"], ["x", "y", "z"], ["x", None], ["x", 3], [["x"], ["y"]], {}, ["", "y"]),
        *(["x..y", "y"], [".x", "y"], ["x.", "y"], {"predictions": "x"}, {"predictions": "x", "targets": None}),
        *({1: "x", 2: "y"}, {"predictions": "x", "targets": "y", "delta": "z"}, [DATE, "y"]),
    ),
    "where": (3, True, ["m"], {"a": "m"}, "", "a..b", " ", 1.5),
    "sample_weights": (3, 1.0, False, ["w"], "", "."),
    "weight": (
        *(
            None,
            "1",
            "nan",
            True,
            False,
            [],
            [1.0],
            {},
            {"value": 1.0},
            NAN,
            INF,
            -INF,
            HUGE,
            -HUGE,
            10**30,
            1e300,
            DATE,
        ),
        *(np.array([1.0, 2.0]), 1j),
    ),
    "start": (None, -1, 1, 5, 0.0, NAN, "0", True, [0], HUGE, {}),
    "stop": (0, -1, 2, 1.0, NAN, "1", True, [1], HUGE),
    "ramp": (None, -1, 5, 1.5, NAN, "5", True, [5], HUGE),
    "reduction": (None, "avg", "none", 3, True, [], {}, "Mean"),
    "options": (None, 3, "delta", [], ["delta"], {1: 2}, {"delta": 1.0}, {"where": "m"}, {None: 1}, nested(10_000)),
    "fixed": (0, 1, "true", "False", [], NAN),
    "optional": (None, 0, 1, "true", []),
    "stage": (-1, 0),
    "unknown": (1,),
}
BY_FIELD = [(field, wrong) for field, values in FIELDS.items() for wrong in values]


@pytest.mark.parametrize(("field", "wrong"), BY_FIELD, ids=[f"{f}-{shown(x):.20}" for f, x in BY_FIELD])
def test_a_wrong_field_of_a_term(field, wrong):
    with pytest.raises(ValueError) as refused:  # noqa: PT011
        jl.Objective.from_config(config(**{field: wrong}))
    said = str(refused.value)
    assert said.startswith(("term 'a': ", "lists and dicts are nested"))
    about = {"loss": "loss", "inputs": "input", "options": "option", "ramp": "ramp", "stop": "stop"}.get(field, field)
    assert about in said or "nested" in said or (field == "options" and "keyword" in said), said
    assert len(said) < 1000


ONE = {"loss": "info_nce_loss", "inputs": ["x", "y"]}
OPTIONS = {
    "info_nce_loss": {
        "temperature": (0, -1, -0.07, NAN, INF, HUGE, "0.07", True, None, [0.1, 0.2], [], {"a": 1.0}, DATE, 3 * 10**9),
        "normalize": ("false", "true", 0, 1, None, [], [True]),
        "block_size": (0, -1, 1.5, "2", True, NAN, HUGE, [2]),
        "same_label": ("include", "", 1, None, ["exclude"]),
    },
    "dice_loss": {
        "smooth": ("1e-5", -1, NAN, [1.0], None, False),
        "squared_denominator": ("false", 1, None),
        "class_axis": (1.5, "-1", True, NAN, [1], HUGE),
        "classes": ("al", "", [], [-1], [1.5], [True], ["cat"], 1, None, {"a": 1}),
        "activation": ("relu", "", True, 1, ["softmax"]),
        "average": ("mean", None, 1),
        "ignore_label": (1.5, "255", True, 2**40, [255]),
        "axis_name": (),
    },
    "softmax_cross_entropy": {
        "label_smoothing": (-0.1, 1.1, 2, NAN, "0.1", True, None, [0.1]),
        "class_weights": ([-1.0, 2.0], [NAN], [INF], [], ["1", 2], [True, False], "1.0", {"a": 1.0}, {}),
        "axis": (0.5, "1", None, True),
        "mean_over": ("tokens", None, 2),
        "gama": (1,),
    },
    "softmax_focal_loss": {"gamma": (-1, NAN, "2", [2.0]), "alpha": (-1, [0.5, -0.5], "a"), "normalizer": (-1, NAN)},
    "sigmoid_focal_loss": {"alpha": (-1, 1.5, NAN), "normalizer": ("negatives", -1, True)},
    "sigmoid_binary_cross_entropy": {"pos_weight": (-1, NAN, [-1.0], "3"), "alpha": (2, -1)},
    "huber_loss": {"delta": (0, -1, NAN, INF, HUGE, "1", [], {})},
    "smooth_l1_loss": {"beta": (-1, NAN)},
    "binary_cross_entropy": {"eps": (-1, -1e-7, NAN)},
    "iou_loss": {"variant": ("linaer", "giou", 1, None), "eps": (-1,)},
    "focal_l1_loss": {"beta": (0, 0.3, 1.5, NAN)},
    "cdiou_loss": {"similarity": ("cdiou", ""), "weight": (-1, NAN)},
    "entropy": {},
    "kl_divergence": {"log_base": (0, 1, -2, NAN), "input_type": ("log_probabilities",)},
    "tversky_loss": {"fp_weight": (-1, NAN), "fn_weight": (-0.1,)},
    "sensitivity_specificity_loss": {"sensitivity_weight": (-0.1, 1.5)},
    "contrastive_loss": {},
    "ctc_loss": {"blank_id": (-1, 0.5, "0"), "zero_infinity": ("true",)},
    "sequence_cross_entropy": {"mean_over": ("weights",)},
    "perceptual_loss": {"extract": ("vgg", 1), "layer_weights": (-1, [-1.0], {"a": -1.0}, {"a": "1"}, "1", [])},
}
BY_OPTION = [(n, o, x) for n, options in OPTIONS.items() for o, values in options.items() for x in values]


@pytest.mark.parametrize(
    ("loss", "option", "wrong"), BY_OPTION, ids=[f"{n}-{o}-{shown(x):.20}" for n, o, x in BY_OPTION]
)
def test_a_wrong_option_of_a_loss(loss, option, wrong):
    term = {"loss": loss, "inputs": ["x", "y"], "options": {option: wrong}}
    with pytest.raises(ValueError, match=rf"^term 'a': loss '{loss}'.* option '{option}'"):
        jl.Objective.from_config({"terms": {"a": term}})


PENALTY = {"select": ([], [1], 3, True, {"a": "b"}, [None], [[]]), "half": ("true", 1)}


@pytest.mark.parametrize(("option", "wrong"), [(option, x) for option, values in PENALTY.items() for x in values])
def test_a_wrong_option_of_a_penalty(option, wrong):
    term = {"loss": "l2_penalty", "inputs": "params", "options": {option: wrong}}
    with pytest.raises(ValueError, match=rf"^term 'a': loss 'l2_penalty': option '{option}' must be"):
        jl.Objective.from_config({"terms": {"a": term}})


def constant(**more):
    return {"schedule": "constant_schedule", "value": 1.0, **more}


def linear(**changed):
    return {"schedule": "linear_schedule", "init_value": 0.0, "end_value": 1.0, "transition_steps": 10, **changed}


def joined(schedules, boundaries):
    return {"schedule": "join_schedules", "schedules": schedules, "boundaries": boundaries}


def stairs(by_step):
    return {"schedule": "piecewise_constant_schedule", "init_value": 1.0, "boundaries_and_scales": by_step}


SCHEDULES = [
    *({"schedule": name} for name in (None, "", 3, [], {}, "linear", "linear_schedule", "inject_hyperparams", "adam")),
    *(constant(value=x) for x in (NAN, INF, HUGE, None, "1", True, [1.0, 2.0], [], {}, DATE)),
    *(linear(transition_steps=x) for x in (0, -1, 1.5, NAN, INF, "10", None, True, [10], HUGE)),
    *(linear(transition_begin=x) for x in (-1, 0.5, NAN, "0")),
    *(linear(init_value=x) for x in (None, "0", NAN, [0.0])),
    *(linear(init_valu=1.0), linear(**{"": 1.0}), {**linear(), 1: 2}, linear(name="x")),
    *(joined([], []), joined([constant()], []), joined([constant()], [1]), joined([constant()] * 2, [1, 2])),
    *(joined([constant()] * 3, [5, 3]), joined([constant()] * 2, [-1]), joined([constant()] * 2, [NAN])),
    *(joined([constant()] * 2, ["5"]), joined([constant()] * 2, 5), joined([1.0, 2.0], [5]), joined(constant(), [5])),
    *(joined([constant(), None], [5]), joined([constant(), constant(value=NAN)], [5]), joined(None, None)),
    *(stairs(x) for x in ({}, [1], {"a": 0.1}, {"-5": 0.1}, {"5": NAN}, {"5": "0.1"}, {"5": -1.0}, {"5": None}, 5)),
    *(stairs(x) for x in ({5.5: 0.1}, {"5.5": 0.1}, {5: 0.1, "5": 0.2}, {HUGE: 0.1}, {"9" * 30: 0.1}, {None: 0.1})),
    {"schedule": "cosine_decay_schedule", "init_value": 1.0, "decay_steps": 0},
    {"schedule": "exponential_decay", "init_value": 1.0, "transition_steps": 10, "decay_rate": 0.0},
    {"schedule": "polynomial_schedule", "init_value": 1.0, "end_value": 0.0, "power": -1, "transition_steps": 10},
    {"schedule": "warmup_cosine_decay_schedule", "init_value": 0, "peak_value": 1, "warmup_steps": 9, "decay_steps": 5},
    {"schedule": "piecewise_interpolate_schedule", "init_value": 1.0, "interpolate_type": "cubic"},
    {"schedule": "sgdr_schedule", "cosine_kwargs": []},
    {"schedule": "sgdr_schedule", "cosine_kwargs": [{"a": 1}]},
    nested(10_000, constant(), lambda x: joined([x, constant()], [5])),
    {"shedule": "constant_schedule", "value": 1.0},
]


@pytest.mark.parametrize("schedule", SCHEDULES, ids=range(len(SCHEDULES)))
def test_a_wrong_schedule(schedule):
    with pytest.raises(ValueError) as refused:  # noqa: PT011
        jl.Objective.from_config(config(weight=schedule))
    said = str(refused.value)
    assert said.startswith(("term 'a': schedule '", "term 'a': optax has no schedule", "term 'a': weight", "lists and"))


def test_there_are_enough_of_them():
    assert len(WHOLE) + len(BY_FIELD) + len(BY_OPTION) + len(SCHEDULES) > 150


RIGHT = [
    config(weight=-0.01),  # a bonus, as for entropy
    config(weight=1e-8, reduction="sum", fixed=True, optional=True, where="batch.mask", sample_weights="w"),
    config(inputs={"predictions": "out.0", "targets": "batch.y"}),
    {**config(), "boundaries": [1, 2**40], "combine": {"name": "soft_optimal", "temperature": 2}},
    {**config(start=1, stop=2, ramp=10), "boundaries": [5], "combine": "log"} | {"terms": {**config()["terms"]}},
    {"terms": {"a name": ONE | {"options": {"temperature": 0.5, "block_size": 2, "symmetric": True}}}},
    {"terms": {"a": ONE | {"loss": "dice_loss", "options": {"classes": [0, 2], "class_axis": 1, "smooth": 0}}}},
    {"terms": {"a": ONE | {"loss": "softmax_focal_loss", "options": {"alpha": [0.5, 1.0], "normalizer": 3.0}}}},
    {"terms": {"a": ONE | {"loss": "sigmoid_focal_loss", "options": {"alpha": 0.25, "normalizer": "positives"}}}},
    {"terms": {"a": ONE | {"loss": "perceptual_loss", "options": {"layer_weights": {"relu1": 0.5, "relu2": 1}}}}},
    {"terms": {"a": {"loss": "l1_penalty", "inputs": ["p"], "options": {"select": ["*/kernel", "w"]}}}},
    config(weight=linear(transition_steps=2**40)),
    config(weight=joined([linear(), constant()], [10])),
    config(weight=stairs({"5": 0.5, "10": 0.0})),
    config(weight={"schedule": "warmup_constant_schedule", "init_value": 0.0, "peak_value": 1.0, "warmup_steps": 0}),
]


@pytest.mark.parametrize("right", RIGHT, ids=range(len(RIGHT)))
def test_a_right_config_comes_back_as_it_was(right):
    objective = jl.Objective.from_config(right)
    saved = json.loads(json.dumps(objective.to_config()))
    again = jl.Objective.from_config(saved)
    assert again == objective
    assert hash(again) == hash(objective)
    assert again.to_config() == saved
    assert objective.check() == again.check()


def test_steps_may_be_written_as_floats():
    assert jl.schedule("linear_schedule", init_value=0.0, end_value=1.0, transition_steps=1e4) == jl.schedule(
        "linear_schedule", init_value=0.0, end_value=1.0, transition_steps=10_000
    )


def test_shared_parts_of_a_config_are_no_cycle():
    shared = {"loss": "squared_error", "inputs": ["x", "y"]}
    assert len(jl.Objective.from_config({"terms": {"a": shared, "b": shared}}).terms) == 2


def test_a_negative_weight_is_for_a_sum():
    with pytest.raises(
        ValueError, match=r"^term 'a': weight=-0.01, and combine='uncertainty' needs weights >= 0; fixed"
    ):
        jl.Objective.from_config({**config(weight=-0.01), "combine": "uncertainty"})
    terms = {"a": config(weight=-0.01, fixed=True)["terms"]["a"], "b": config()["terms"]["a"]}
    jl.Objective.from_config({"terms": terms, "combine": "uncertainty"})


@pytest.mark.parametrize("loss", [optax.l2_loss, optax.losses.huber_loss])
def test_an_imported_loss_is_saved_by_its_path(loss):
    objective = jl.Objective({"a": jl.Term(loss, ("x", "y"))})
    saved = objective.to_config()
    assert saved["terms"]["a"]["loss"] == f"optax:{loss.__name__}"
    assert jl.Objective.from_config(saved, allow_import=True) == objective
    with pytest.raises(ValueError, match=r"^term 'a': loss 'optax:.* would import code"):
        jl.Objective.from_config(saved)
    data = {"x": jnp.array([3.0]), "y": jnp.array([1.0])}
    assert objective(data)[0] == jl.Objective.from_config(saved, allow_import=True)(data)[0]


def of_this_module(predictions, targets):
    return predictions - targets


def test_which_functions_have_a_path():
    def local(predictions, targets):
        return predictions - targets

    saved = jl.Objective({"a": jl.Term(of_this_module, ("x", "y"))}).to_config()
    assert saved["terms"]["a"]["loss"] == f"{__name__}:of_this_module"
    for function in (local, lambda x, y: x - y):
        with pytest.raises(ValueError, match=r"^term 'a': loss cannot be saved: it is the function"):
            jl.Objective({"a": jl.Term(function, ("x", "y"))}).to_config()


@pytest.mark.parametrize(
    "path",
    [
        "no_such_module:f",
        "optax:no_such_loss",
        "optax:",
        ":f",
        ".relative:f",
        "optax:__name__",
        "math:pi",
        "a b:c",
        "optax:a..b",
    ],
)
def test_what_cannot_be_imported(path):
    with pytest.raises(ValueError, match=r"^term 'a': loss '.*' (cannot be imported|must be a function)"):
        jl.Objective.from_config(config(loss=path), allow_import=True)


def test_a_module_that_fails(tmp_path, monkeypatch):
    (tmp_path / "fails_when_imported.py").write_text("1 / 0")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match=r"^term 'a': loss 'fails_when_imported:f' cannot be imported: ZeroDivision"):
        jl.Objective.from_config(config(loss="fails_when_imported:f"), allow_import=True)


CALLS = {
    "stage=-1": {"stage": -1},
    "stage=3": {"stage": 3},
    "stage=0.5": {"stage": 0.5},
    "stage=True": {"stage": True},
    "stage=nan": {"stage": NAN},
    "stage='1'": {"stage": "1"},
    "step must be a number >= 0, got -1": {"step": -1},
    "step=nan does not fit": {"step": NAN},
    "step must be a number, got '1'": {"step": "1"},
    "weights: 'a' must be a finite number, got nan": {"step": 1, "weights": {"a": NAN}},
    "weights must be a dict of numbers by term, got [1.0]": {"step": 1, "weights": [1.0]},
    "weights: no term 1": {"step": 1, "weights": {1: 1.0}},
    "counts: 'a' must be a number >= 0, got -1": {"step": 1, "counts": {"a": -1}},
}


@pytest.mark.parametrize("message", CALLS)
def test_arguments_of_a_call(message):
    objective = jl.Objective.from_config({**config(), "boundaries": [5, 9]})
    data = {"x": jnp.array([1.0]), "y": jnp.array([0.0])}
    with pytest.raises((ValueError, TypeError)) as refused:
        objective(data, **CALLS[message])
    assert str(refused.value).startswith(message)
    for stage in (-1, 3, NAN, True, "1", None):
        with pytest.raises(ValueError, match=r"boundaries .* make stages 0 to 2"):
            objective.at_stage(stage)


def test_terms_that_are_no_dict():
    for terms in (None, 3, [jl.Term("mse", ("x", "y"))], "a", {"a": "mse"}, {1: jl.Term("mse", ("x", "y"))}):
        with pytest.raises(ValueError, match="term"):
            jl.Objective(terms)


def test_a_loss_of_ones_own_has_its_own_ranges():
    def loss(predictions, targets, *, temperature: float = 1.0, alpha: jnp.ndarray = 0.0, variant: str = "x"):
        return predictions - targets + temperature + jnp.sum(jnp.asarray(alpha))

    jl.Objective({"a": jl.Term(loss, ("x", "y"), options={"temperature": -1, "alpha": [-1, 2], "variant": "y"})})


FILES = {
    "a.json": b"",
    "b.json": b"{",
    "c.json": b"[1]",
    "d.json": b"null",
    "e.json": b"NaN",
    "f.json": b"[" * 100_000,
    "g.json": b'{"terms":' * 10_000 + b"1" + b"}" * 10_000,
    "h.json": bytes(range(256)),
    "i.json": b"\xff\xfe{\x00}\x00",
    "j.json": b'{"terms": {"a": {"loss": "mse", "inputs": ["x", "y"], "weight": NaN}}}',
    "k.json": b'{"terms": {"a": {"loss": "mse", "inputs": ["x", "y"], "weight": ' + b"9" * 5000 + b"}}}",
    "l.json": b'{"terms": {"a": {"loss": "mse", "inputs": ["x", "y"]}, "a": {"loss": "mse", "inputs": ["x", "y"]}}}',
    "m.json": b'{"terms": {"a": {"loss": "mse", "inputs": ["x", "y"], "options": ' + b"[" * 99 + b"]" * 99 + b"}}}",
    "n.json": b'{"terms": {"a": {"loss": "mse", "inputs": ["x", "y"], "weight": 1e999}}}',
    "a.toml": b"",
    "b.toml": b"=",
    "c.toml": b"a = 1979-05-27",
    "d.toml": b"x=" + b"[" * 100_000,
    "e.toml": bytes(range(256)),
    "f.toml": b'[terms.a]\nloss = "mse"\ninputs = ["x", "y"]\nweight = 1979-05-27',
    "g.toml": b"[terms.a]\n[terms.a]",
    "h.toml": b'[terms.a]\nloss = "mse"\ninputs = ["x", "y"]\nweight = nan',
    "i.toml": b'[terms.a]\nloss = "no_such_module:f"\ninputs = ["x", "y"]',
    "j.toml": b"terms = 3",
    "no_suffix": b"terms: {}",
    "a.yaml": b"",
    "b.yaml": b"a: [",
    "c.yaml": b"&a [*a]",
    "d.yaml": b"&a {terms: *a}",
    "e.yaml": b"? [1, 2]\n: 3",
    "f.yml": b"a: 1\na: 2",
    "g.yaml": b'!!python/object/apply:os.system ["true"]',
    "h.yaml": b"[" * 2000,
    "i.yaml": b"terms: {1: {loss: mse, inputs: [x, y]}}",
    "j.yaml": b"terms: {a: {loss: huber_loss, inputs: [x, y], options: {delta: 1e-5}}}",
    "k.yaml": b"\x00",
    "l.yaml": b"terms: {a: {loss: mse, inputs: !!set {x, y}}}",
}


@pytest.mark.parametrize("name", [*FILES, "missing.toml", "folder.json"])
def test_the_command_line_has_a_sentence_for_every_file(name, tmp_path, capsys):
    if name in FILES:
        (tmp_path / name).write_bytes(FILES[name])
    elif name == "folder.json":
        (tmp_path / name).mkdir()
    for more in ([], ["--key", "terms"], ["--key", "a..b"], ["--allow-import"]):
        assert main(["check", str(tmp_path / name), *more]) == 2
        out, err = capsys.readouterr()
        assert not out
        assert err.strip()
        assert "Traceback" not in err
        assert len(err) < 2000


@pytest.mark.parametrize(
    "arguments", [["show", ""], ["show", "\udcff"], ["show", "combine."], ["list", ""], ["list", "\0"]]
)
def test_the_command_line_has_a_sentence_for_every_name(arguments, capsys):
    assert main(arguments) == 2
    assert capsys.readouterr().err.startswith("no ")


def test_the_command_line_reads_yaml_and_a_byte_order_mark(tmp_path, capsys):
    pytest.importorskip("yaml")
    (tmp_path / "a.yaml").write_text("terms: {a: {loss: mse, inputs: [x, y]}}")
    (tmp_path / "a.json").write_text(json.dumps(config()), encoding="utf-8-sig")
    (tmp_path / "a.toml").write_text('[terms.a]\nloss = "optax:l2_loss"\ninputs = ["x", "y"]')
    assert main(["check", str(tmp_path / "a.yaml")]) == 0
    assert main(["check", str(tmp_path / "a.json")]) == 0
    assert main(["check", str(tmp_path / "a.toml")]) == 2
    assert main(["check", str(tmp_path / "a.toml"), "--allow-import"]) == 0
    assert "l2_loss" in capsys.readouterr().out
