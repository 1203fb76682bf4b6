"""What the learned variances mean: the noise of the data, recovered from data whose noise is known."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxlosses as jl

GAUSS, LAPLACE, N = {"depth": 0.3, "speed": 2.0}, {"age": 0.7}, 4096


def tasks(key):
    """Three linear tasks of the same inputs, and how far their truths are off."""
    inputs, slopes, gauss, laplace = jax.random.split(key, 4)
    x = jax.random.normal(inputs, (N, 8))
    noise = {
        **{name: s * draw for (name, s), draw in zip(GAUSS.items(), jax.random.normal(gauss, (2, N)), strict=True)},
        **{name: s * jax.random.laplace(laplace, (N,)) for name, s in LAPLACE.items()},
    }
    true = dict(zip(noise, jax.random.normal(slopes, (3, 8)), strict=True))
    return x, {name: x @ true[name] + noise[name] for name in noise}


@pytest.mark.parametrize("combine", ["uncertainty", {"name": "uncertainty", "limit": 10.0}], ids=["free", "limited"])
def test_the_learned_scales_are_those_of_the_noise(combine):
    """Squared errors learn σ² = mean r², for their constants are (1/2, 1/2); absolute ones the b of Laplace = mean |r|."""
    objective = jl.Objective(
        {name: jl.Term("squared_error", (f"out.{name}", f"batch.{name}")) for name in GAUSS}
        | {name: jl.Term("absolute_error", (f"out.{name}", f"batch.{name}")) for name in LAPLACE},
        combine=combine,
    )
    x, targets = tasks(jax.random.key(1))
    params = {"net": {name: jnp.zeros(8) for name in targets}, "loss": objective.init()}
    optimizer = optax.partition(
        {"net": optax.adam(optax.cosine_decay_schedule(0.1, 400)), "loss": optax.adam(0.05)},
        {"net": "net", "loss": "loss"},
    )

    def train_step(carry, _):
        params, state = carry

        def loss_fn(params):
            out = {name: x @ slopes for name, slopes in params["net"].items()}
            return objective({"out": out, "batch": targets}, params=params["loss"])

        gradient, aux = jax.grad(loss_fn, has_aux=True)(params)
        updates, state = optimizer.update(gradient, state, params)
        return (optax.apply_updates(params, updates), state), aux

    with jax.numpy_dtype_promotion("standard"):  # optax mixes dtypes
        run = jax.jit(lambda: jax.lax.scan(train_step, (params, optimizer.init(params)), length=400))
        (trained, _), aux = run()
    s = trained["loss"]
    if not isinstance(combine, str):
        s = jax.tree.map(lambda s: 10 * jnp.tanh(s / 10), s)
    for name, sigma in GAUSS.items():
        np.testing.assert_allclose(np.exp(s[name] / 2), sigma, rtol=0.05)
        np.testing.assert_allclose(np.exp(s[name]), aux["loss"][name][-1], rtol=0.01)
        np.testing.assert_allclose(aux["weight"][name][-1], 1 / (2 * sigma**2), rtol=0.1)
    for name, b in LAPLACE.items():
        np.testing.assert_allclose(np.exp(s[name]), b, rtol=0.05)
        np.testing.assert_allclose(aux["weight"][name][-1], 1 / b, rtol=0.05)
