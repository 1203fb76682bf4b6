"""RECIPES.md: every call in its tables gives the numbers of its formula."""

import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

TEXT = (Path(__file__).parent.parent / "RECIPES.md").read_text()
CODE = {name.strip(): code for name, code in re.findall(r"^\| ([^|`]+) \| [^|]+ \| `([^`]+)` \|", TEXT, re.M)}
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
