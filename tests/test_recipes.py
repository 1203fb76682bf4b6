"""RECIPES.md: every call in its tables gives the numbers of its formula."""

import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxlosses as jl

TEXT = (Path(__file__).parent.parent / "RECIPES.md").read_text()
CODE = {name.strip(): code for name, code in re.findall(r"^\| ([^|`]+) \| [^|]+ \| `([^`]+)` \|", TEXT, re.M)}
LOSS_ROWS = re.findall(r"^\| (.+?) \| `(jl\.[^`]+)` \| [^|]+ \|$", TEXT, re.M)
X = np.array([-3.0, -1.0, 0.5, 2.0])
SIGMOID = 1 / (1 + np.exp(-X))
ACTIVATIONS = {
    "sigmoid": [0.0474258732, 0.2689414214, 0.6224593312, 0.8807970780],
    "logit": None,
    "tanh": 2 / (1 + np.exp(-2 * X)) - 1,
    "ReLU": [0, 0, 0.5, 2],
    "LeakyReLU": [-0.03, -0.01, 0.5, 2],
    "PReLU": [-0.75, -0.25, 0.5, 2],
    "ELU": [-0.9502129316, -0.6321205588, 0.5, 2],
    "GELU": [-0.0040496941, -0.1586552539, 0.3457312306, 1.9544997361],
    "GELU, tanh form": X / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (X + 0.044715 * X**3))),
    "swish (SiLU)": [-0.1422776195, -0.2689414214, 0.3112296656, 1.7615941560],
    "softmax": np.exp(X) / np.exp(X).sum(),
}
TRAJECTORIES = {
    "gradient descent": [0.9, 0.81, 0.729],
    "momentum": [0.9, 0.72, 0.486],
    "momentum as an average": [0.99, 0.9711, 0.944379],
    "Nesterov": [0.81, 0.5751, 0.327321],
    "AdaGrad": [0.9, 0.8331035269, 0.7804561814],
    "Adadelta": [0.9955279088, 0.9910087481, 0.9864645649],
    "RMSprop": [0.6837722440, 0.4988706201, 0.3691805674],
    "Adam": [0.9000000010, 0.8004122297, 0.7015862745],
    "AdamW": [0.8990000010, 0.7985190282, 0.6989111847],
    "Adam + L2": [0.9000000010, 0.8004122297, 0.7015862745],
    "AMSGrad": [0.9000000010, 0.8052631598, 0.7157700551],
}


def evaluate(name):
    return eval(CODE[name], {"jax": jax, "jnp": jnp, "optax": optax})


def test_every_line_of_the_tables_is_tested():
    assert set(CODE) == set(ACTIVATIONS) | set(TRAJECTORIES)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation(name):
    with jax.enable_x64(True):
        values, x = (X, SIGMOID) if name == "logit" else (ACTIVATIONS[name], X)
        np.testing.assert_allclose(evaluate(name)(jnp.asarray(x)), values, rtol=1e-9, atol=1e-10)


def test_derivatives():
    with jax.enable_x64(True):
        slope = jax.vmap(jax.grad(evaluate("swish (SiLU)")))(jnp.asarray(X))
        np.testing.assert_allclose(slope, [-0.0881041060, 0.0723294881, 0.7399611873, 1.0907842488], rtol=1e-9)
        assert jax.grad(evaluate("ReLU"))(0.0) == 0


@pytest.mark.parametrize("name", TRAJECTORIES)
def test_trajectory(name):
    """On θ²/2 from 1."""
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
        optimiser, theta, path = evaluate(name), jnp.ones(()), []
        state = optimiser.init(theta)
        for _ in range(3):
            updates, state = optimiser.update(theta, state, theta)
            theta = optax.apply_updates(theta, updates)
            path.append(theta)
        np.testing.assert_allclose(path, TRAJECTORIES[name], rtol=2e-9)


def test_nesterov_of_the_paper():
    """Its own points are those of optax, moved back by η μ v."""
    with jax.enable_x64(True):
        optimiser, theta = evaluate("Nesterov"), jnp.ones(())
        state = optimiser.init(theta)
        for expected in (0.9, 0.729, 0.51759):
            updates, state = optimiser.update(theta, state)
            theta = optax.apply_updates(theta, updates)
            np.testing.assert_allclose(theta + 0.1 * 0.9 * state[0].trace, expected, rtol=1e-9)


@pytest.mark.parametrize(("debias", "expected"), [(False, [0.1, 0.29, 0.561]), (True, [1, 1.5263157895, 2.0701107011])])
def test_averages(debias, expected):
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
        ema, averages = optax.ema(0.9, debias=debias), []
        state = ema.init(jnp.zeros(()))
        for x in (1.0, 2.0, 3.0):
            average, state = ema.update(jnp.asarray(x), state)
            averages.append(average)
        np.testing.assert_allclose(averages, expected, rtol=1e-9)


# The table of losses, against the other library's formula in NumPy.

RNG = np.random.default_rng(0)
GIVEN = {
    "anchors": RNG.normal(size=(5, 3)),
    "positives": RNG.normal(size=(5, 3)),
    "negatives": RNG.normal(size=(5, 3)),
    "embeddings": RNG.normal(size=(6, 4)),
    "ids": np.array([0, 0, 1, 1, 2, 2]),
    "m": 0.3,
    "q": RNG.normal(size=(4, 3)),
    "k": RNG.normal(size=(4, 3)),
    "x": 2 * RNG.normal(size=(3, 7)),
    "b": RNG.integers(0, 2, (3, 7)),
    "z": RNG.normal(size=(8, 3)),
    "y": RNG.integers(0, 3, 8),
    "w": np.array([0.5, 2.0, 1.5]),
    "p": RNG.normal(size=6),
    "t": RNG.normal(size=6),
    "s": RNG.random(6),
    "log_q": np.log(RNG.dirichlet(np.ones(4), 5)),
    "probabilities": RNG.dirichlet(np.ones(4), 5),
    "masks": RNG.random((2, 4, 4)),
    "true_masks": RNG.integers(0, 2, (2, 4, 4)),
    "smooth": 0.7,
    "boxes": np.array([[0.0, 0.0, 4.0, 4.0]]),
    "truth": np.array([[1.0, 1.0, 6.0, 5.0]]),
    "step": 400,
}


def log_softmax(z):
    return z - np.log(np.exp(z).sum(-1, keepdims=True))


def cross_entropies(z, y):
    return -np.take_along_axis(log_softmax(z), y[:, None], 1)[:, 0]


def norm(x):
    return np.sqrt((x**2).sum(-1))


def triplets(anchors, positives, negatives):
    """torch: max(|a - p| - |a - n| + margin, 0)."""
    return np.maximum(norm(anchors - positives) - norm(anchors - negatives) + 1.0, 0)


def cosine_triplets(embeddings, ids, m):
    """Every anchor's mean is over its triplets, ours over all of them: a value per anchor is its sum."""
    cosines = (embeddings @ embeddings.T) / np.outer(norm(embeddings), norm(embeddings))
    values = np.zeros(len(ids))
    for a, p, n in np.ndindex(*(len(ids),) * 3):
        if a != p and ids[a] == ids[p] != ids[n]:
            values[a] += max(cosines[a, n] - cosines[a, p] + m, 0)
    return values


def info_nce(q, k):
    return cross_entropies(q @ k.T, np.arange(len(q)))


def sigmoid_focal(x, b, alpha=None):
    """-alpha_t (1 - p_t)^2 log p_t."""
    p = 1 / (1 + np.exp(-x))
    p_t = np.where(b == 1, p, 1 - p)
    weight = 1 if alpha is None else np.where(b == 1, alpha, 1 - alpha)
    return -weight * (1 - p_t) ** 2 * np.log(p_t)


def monai_focal(z, y):
    """The mean over examples and classes of one-hot times -(1 - p)^2 log p."""
    log_p = log_softmax(z)
    return (-np.eye(z.shape[1])[y] * (1 - np.exp(log_p)) ** 2 * log_p).mean()


def blended_focal(z, y, step):
    cost = cross_entropies(z, y)
    return (1 - np.exp(-cost)) ** (2 * step / 1000) * cost


def hardest_quarter(z, y):
    return np.sort(cross_entropies(z, y))[-2:].mean()


def optax_dice(masks, true_masks, smooth):
    logits = jnp.asarray(np.log(masks / (1 - masks)))[..., None]
    return optax.losses.dice_loss(
        logits, jnp.asarray(true_masks, float)[..., None], smooth=smooth, ignore_background=False
    )


def cdiou_repository(boxes, truth):
    """1 - GIoU + 0.001 D/4, with D the mean distance of the corners over the diagonal of the enclosing box."""
    intersection, union, enclosing = 9.0, 16 + 20 - 9.0, 30.0
    corners = (np.hypot(1, 1) + np.hypot(2, 1) + np.hypot(1, 1) + np.hypot(2, 1)) / (4 * np.hypot(6, 5))
    return 1 - (intersection / union - (enclosing - union) / enclosing) + 0.001 * corners / 4


THEIRS = {
    "torch `TripletMarginLoss()`, optax `triplet_margin_loss`": triplets,
    "pytorch-metric-learning, triplets by cosine similarity": cosine_triplets,
    "CPC's InfoNCE on given scores": info_nce,
    "RetinaNet's focal loss": lambda x, b: sigmoid_focal(x, b, 0.25).sum() / b.sum(),
    "torchvision `sigmoid_focal_loss(alpha=-1)`": sigmoid_focal,
    "MONAI `FocalLoss(use_softmax=True)`, its mean": monai_focal,
    "torch `CrossEntropyLoss(weight=w)`": lambda z, y, w: (w[y] * cross_entropies(z, y)).sum() / w[y].sum(),
    "Keras's mean under `class_weight`": lambda z, y, w: (w[y] * cross_entropies(z, y)).mean(),
    "Keras's mean under `sample_weight`": lambda p, t, s: (s * (p - t) ** 2).mean(),
    'torch `KLDivLoss(reduction="batchmean")`': lambda probabilities, log_q: (
        (probabilities * (np.log(probabilities) - log_q)).sum() / len(log_q)
    ),
    "optax `dice_loss(smooth=s)`": optax_dice,
    "OHEM": hardest_quarter,
    "CDIoU's own repository": cdiou_repository,
    'focal as a blend from cross-entropy ("do not start with focal")': blended_focal,
}


def test_every_loss_in_the_table_is_tested():
    assert [theirs for theirs, _ in LOSS_ROWS] == list(THEIRS)


@pytest.mark.parametrize(("theirs", "code"), LOSS_ROWS, ids=[theirs for theirs, _ in LOSS_ROWS])
def test_loss(theirs, code):
    with jax.enable_x64(True):
        arrays = {name: jnp.asarray(x) if isinstance(x, np.ndarray) else x for name, x in GIVEN.items()}
        ours = eval(code, {"jl": jl, "jnp": jnp, **arrays})
        formula = THEIRS[theirs]
        needed = formula.__code__.co_varnames[: formula.__code__.co_argcount - len(formula.__defaults__ or ())]
        expected = formula(**{name: GIVEN[name] for name in needed})
        np.testing.assert_allclose(np.squeeze(ours), np.squeeze(expected), rtol=1e-6)
