"""Random wrong calls: does each of them give an error that names the function and the argument?

    python -m tests.wrong_calls --calls 10000 --seed 0

A right call of a public function has one thing made wrong: the kind or the shape of an argument, a keyword that does
not exist, an argument missing or too many, a choice that is traced. Clear is a TypeError or ValueError of ours that
names both, or Python's own about the number of arguments; the rest is shown. What is accepted is listed with `--accepted`.
"""

import argparse
import collections
import inspect
import itertools
import random
import re
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jaxlosses as jl
from jaxlosses import registry

BOXES = np.array([[0.0, 0, 2, 2], [1, 1, 3, 3]], np.float32)
ROWS = np.array([[1.0, 2, 3], [0, 1, 0]], np.float32)
MASKS = np.array([[[0.2, 0.8]], [[0.6, 0.4]]], np.float32)
EXAMPLES: dict[str, tuple[Any, ...]] = {
    **{name: (BOXES, BOXES + 1) for name in jl.__all__ if name.startswith("box_")},
    "box_convert": (BOXES, "xyxy", "xywh"),
    "box_sort_corners": (BOXES,),
    "class_counts": (np.array([0, 1, 1]), 3),
    **dict.fromkeys(
        ("inverse_frequency_weights", "median_frequency_weights", "effective_number_weights"), (np.array([3, 1]),)
    ),
    "hard_example_mask": (ROWS,),
    **dict.fromkeys(("cosine_similarity", "euclidean_distance", "squared_distance"), (ROWS, ROWS + 1)),
    "l2_normalize": (ROWS,),
    "ctc_collapse": (np.array([[0, 1, 1, 2]]),),
    "ctc_greedy_decode": (np.zeros((2, 4, 3), np.float32),),
    **dict.fromkeys(
        ("dice_coefficient", "f_beta", "jaccard_index", "precision", "sensitivity", "specificity"),
        (MASKS, np.array([[0], [1]])),
    ),
    "gram_matrix": (np.ones((2, 3, 2, 4), np.float32),),
    "perplexity": (np.zeros((2, 4, 3), np.float32), np.zeros((2, 4), np.int32)),
    "soft_threshold": (ROWS, 0.5),
    "structural_risk": (ROWS, 1.0, 0.1),
}
NEEDED = {"hard_example_mask": {"k": 2}}
JUNK = [
    *(
        None,
        "a",
        "1.0",
        {1: 2},
        {"a": 1.0},
        {1, 2},
        object(),
        [[1.0], [1.0, 2.0]],
        1j,
        np.array(["a"]),
        [None],
        len,
        int,
    ),
    *(
        np.array([object()]),
        jax.random.key(0),
        np.array(1j),
        b"ab",
        range(0),
        slice(1),
        Ellipsis,
        np.datetime64("2020-01-01"),
    ),
    *(jnp.complex64(1), [jax.random.key(0)], "nan", jax.ShapeDtypeStruct((2,), jnp.float32), float, ([1.0], "a")),
]
FOR_KEYWORDS = [
    *JUNK,
    *(True, False, np.True_, 0, 1, -1, 2, 7, 2**31, 2**40, -(2**40), 10**400, 0.5, -0.5, 1.5, 1e40),
    *(float("nan"), float("inf"), -float("inf"), np.float64(0.5), np.float32(-1), np.int64(3), np.int64(2**40)),
    *(
        (0, 1),
        [0, 1],
        [0.25, 0.75],
        (),
        [],
        [[1]],
        np.ones(3),
        np.ones((2, 2)),
        np.array(0.5),
        jnp.ones(2),
        jnp.array(True),
    ),
    *(
        jnp.float16(0.5),
        "mean",
        "sum",
        "none",
        "linear",
        np.zeros((0,)),
        np.ones((5, 3), np.float32),
        np.ones((1,)),
        [True],
    ),
]


def call_of(rng: random.Random) -> tuple[str, Callable[..., Any], list[Any], dict[str, Any]]:
    """A right call: the name, the function, its inputs and its keywords."""
    names = [name for name in jl.__all__ if name in EXAMPLES or name in registry.names()]
    name = rng.choice(names)
    if name in EXAMPLES:
        return name, getattr(jl, name), list(EXAMPLES[name]), dict(NEEDED.get(name, {}))
    spec = registry.get(name)
    return name, getattr(jl, name), [np.asarray(x) if not isinstance(x, dict) else x for x in _examples(spec)], {}


def _examples(spec: registry.LossSpec) -> tuple[Any, ...]:
    if spec.name not in _cache:
        assert spec.example_inputs is not None
        _cache[spec.name] = spec.example_inputs(jax.random.key(0))
    return _cache[spec.name]


_cache: dict[str, tuple[Any, ...]] = {}


def wrong_shapes(x: Any, rng: random.Random) -> Any:
    """`x` with a shape or a dtype that it should not have."""
    if not isinstance(x, np.ndarray):
        return rng.choice(JUNK)
    changes: list[Callable[[], Any]] = [
        lambda: x[..., None],
        lambda: x[None],
        lambda: x[:-1],
        lambda: x[:1],
        lambda: x[0],
        lambda: x.T,
        lambda: x[..., :-1],
        lambda: x.ravel(),
        lambda: np.zeros(()),
        lambda: x[..., :0],
        lambda: x.astype(complex),
        lambda: x.astype(str),
        lambda: x.astype(object),
        lambda: x.astype(float) + 0.5 if x.dtype.kind in "iu" else x.astype(np.float32)[::-1, None],
        lambda: [*x.tolist(), 1.0],
        lambda: np.concatenate([x, x]),
        lambda: np.zeros((0,) * x.ndim),
        lambda: np.zeros((2,) * 7),
    ]
    return rng.choice(changes)()


def wrong_call(rng: random.Random) -> tuple[str, str, str, Callable[[], Any]]:
    """A call with one thing wrong: the function's name, the argument, how it is written, and the call itself."""
    name, function, inputs, keywords = call_of(rng)
    parameters = inspect.signature(function).parameters
    own = [p.name for p in parameters.values() if p.default is not p.empty]
    kinds = ["junk", "shape", "number", *(["keyword"] * 4 + ["unknown", "traced"] if own else [])]
    kind = rng.choice(kinds)
    if kind in ("junk", "shape"):
        index = rng.randrange(len(inputs))
        wrong = rng.choice(JUNK) if kind == "junk" else wrong_shapes(inputs[index], rng)
        argument = list(parameters)[index]
        inputs[index] = wrong
    elif kind in ("keyword", "traced"):
        argument = rng.choice(own)
        wrong = rng.choice(FOR_KEYWORDS)
        while argument == "select" and callable(wrong):  # a user's function, whose errors are the user's
            wrong = rng.choice(FOR_KEYWORDS)
        if kind == "traced":
            number = rng.choice([0.5, 1, True, np.ones(2, np.float32)])
            rest = dict(keywords)
            return (
                name,
                argument,
                f"traced {number!r}",
                lambda: jax.jit(lambda x: function(*inputs, **(rest | {argument: x})))(number),
            )
        keywords[argument] = wrong
    elif kind == "unknown":
        argument = rng.choice(own)
        argument = rng.choice([argument + "s", argument[:-1] or "x", "mask", "weights", "nonsense", argument.upper()])
        wrong = 1.0
        keywords[argument] = wrong
    else:
        argument = ""
        wrong = rng.choice(["missing", "too many"])
        inputs = inputs[:-1] if wrong == "missing" else [*inputs, *[1.0] * rng.choice([1, 5])]
    written = _write(wrong)
    return name, argument, f"{kind} {written}", lambda: function(*inputs, **keywords)


def _write(value: Any) -> str:
    if isinstance(value, np.ndarray | jax.Array):
        return f"{type(value).__name__} {value.dtype}{list(value.shape)}"
    return re.sub(r" at 0x\w+", "", str(value))[:60] if not isinstance(value, str) else repr(value)


def judge(name: str, argument: str, call: Callable[[], Any]) -> tuple[str, str]:
    """`"clear"`, `"unclear"` or `"accepted"`, and the message."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            call()
    except (TypeError, ValueError) as error:
        text = str(error)
        pythons = re.match(rf"{name}\(\) (missing|takes|got multiple|got some)", text)
        names_both = text.startswith((f"{name}:", f"{name},")) and (not argument or argument in text)
        return ("clear" if pythons or names_both else "unclear"), f"{type(error).__name__}: {text[:300]}"
    except BaseException as error:
        return "unclear", f"{type(error).__name__}: {str(error)[:300]}"
    return "accepted", ""


def run(calls: int, seed: int) -> Iterator[tuple[str, str, str, str, str]]:
    """The verdict, the name, the argument, what was wrong, and the message, of each call."""
    rng = random.Random(seed)
    for _ in itertools.repeat(None, calls):
        name, argument, what, call = wrong_call(rng)
        verdict, message = judge(name, argument, call)
        yield verdict, name, argument, what, message


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--accepted", action="store_true", help="list what gave no error")
    arguments = parser.parse_args()
    counts: collections.Counter[str] = collections.Counter()
    shown = set()
    for verdict, *row in run(arguments.calls, arguments.seed):
        counts[verdict] += 1
        if (verdict == "unclear" or (arguments.accepted and verdict == "accepted")) and tuple(row[:3]) not in shown:
            shown.add(tuple(row[:3]))
            print(verdict, *row, sep=" | ")
    print(dict(counts))
    raise SystemExit(bool(counts["unclear"]))


if __name__ == "__main__":
    main()
