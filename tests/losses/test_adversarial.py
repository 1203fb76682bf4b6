"""Adversarial losses: values, gradients and extreme logits; CycleGAN's total; the optimal discriminator."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxlosses.losses import adversarial
from tests import compiled as jl

REAL, FAKE = 1.5, -0.5
NUMBERS = {
    "D, minimax": (lambda: jl.discriminator_loss(REAL, FAKE), 0.6754902622),
    "D, non-saturating": (lambda: jl.discriminator_loss(REAL, FAKE, variant="non_saturating"), 0.6754902622),
    "D at 1/2": (lambda: jl.discriminator_loss(0.0, 0.0), 1.3862943611),
    "D, least squares": (lambda: jl.discriminator_loss(REAL, FAKE, variant="least_squares"), 0.25),
    "G, saturating": (lambda: jl.generator_loss(FAKE, variant="minimax"), -0.4740769842),
    "G, non-saturating": (lambda: jl.generator_loss(FAKE), 0.9740769842),
    "G, least squares": (lambda: jl.generator_loss(FAKE, variant="least_squares"), 2.25),
}


@pytest.mark.parametrize("name", NUMBERS)
def test_worked_examples(name):
    compute, expected = NUMBERS[name]
    with jax.enable_x64(True):
        np.testing.assert_allclose(compute(), expected, rtol=1e-9)


def test_they_are_binary_cross_entropies():
    """As in optax, on a batch: D calls real 1 and fake 0, and G wants its fakes to be called 1."""
    real, fake = np.random.default_rng(0).normal(size=(2, 6, 4)).astype(np.float32)
    bce = optax.sigmoid_binary_cross_entropy
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        both = bce(real, np.ones_like(real)) + bce(fake, np.zeros_like(fake))
        smoothed = bce(real, np.full_like(real, 0.9)) + bce(fake, np.zeros_like(fake))
        fooled = bce(fake, np.ones_like(fake))
    np.testing.assert_allclose(jl.discriminator_loss(real, fake), both, rtol=1e-5)
    np.testing.assert_allclose(jl.discriminator_loss(real, fake, real_label=0.9), smoothed, rtol=1e-5)
    np.testing.assert_allclose(jl.generator_loss(fake), fooled, rtol=1e-5)
    log_not_fooled = np.log(1 - 1 / (1 + np.exp(-fake.astype(np.float64))))
    np.testing.assert_allclose(jl.generator_loss(fake, variant="minimax"), log_not_fooled, rtol=1e-5)


@pytest.mark.parametrize("logit", [-1e4, -3.0, 0.0, 2.0, 1e4])
def test_gradients_of_the_generator(logit):
    σ = lambda x: 1 / (1 + np.exp(-np.clip(x, -700, 700)))  # noqa: E731
    slopes = {
        variant: jax.grad(lambda d, v=variant: jl.generator_loss(d, variant=v))(logit)
        for variant in adversarial.VARIANTS
    }
    np.testing.assert_allclose(slopes["minimax"], -σ(logit), rtol=1e-5, atol=1e-30)
    np.testing.assert_allclose(slopes["non_saturating"], -σ(-logit), rtol=1e-5, atol=1e-30)
    np.testing.assert_allclose(slopes["least_squares"], 2 * (logit - 1), rtol=1e-5)
    for variant in adversarial.VARIANTS:
        assert jnp.isfinite(jl.generator_loss(logit, variant=variant))
        assert jnp.isfinite(jax.grad(jax.grad(lambda d, v=variant: jl.generator_loss(d, variant=v)))(logit))
        value, gradient = jax.value_and_grad(lambda d, v=variant: jl.discriminator_loss(d, -d, variant=v))(logit)
        assert jnp.isfinite(value)
        assert jnp.isfinite(gradient)


def test_the_optimal_discriminator_measures_the_jensen_shannon_divergence():
    """-V at D* = p/(p + q) is log 4 - 2 JS(p, q)."""
    p, q = np.array([0.5, 0.3, 0.2]), np.array([0.2, 0.5, 0.3])
    best = np.log(p / q)  # the logit of p/(p + q)
    loss = np.sum(p * np.logaddexp(0, -best)) + np.sum(q * np.logaddexp(0, best))
    np.testing.assert_allclose(loss, np.log(4) - 2 * jl.js_divergence(p, q), rtol=1e-5)
    real = jl.discriminator_loss(best, jnp.full(3, -1e30), sample_weights=p, reduction="sum")
    fake = jl.discriminator_loss(jnp.full(3, 1e30), best, sample_weights=q, reduction="sum")
    np.testing.assert_allclose(real + fake, loss, rtol=1e-5)


def test_the_total_of_a_cyclegan():
    """L_GAN(G) + L_GAN(F) + 10 L_cyc + 5 L_idt, with element means, by plain numpy."""
    rng = np.random.default_rng(1)
    x, y, fgx, gfy, gy, fx = rng.normal(size=(6, 2, 4, 4, 3)).astype(np.float32)
    dy, dx = rng.normal(size=(2, 2, 5, 5)).astype(np.float32)
    namespace: dict = {}
    source = adversarial.__doc__.split(">>> import jaxlosses as jl")[1].split("Each side")[0]
    exec("\n".join(line[8:] for line in ("    >>> import jaxlosses as jl" + source).splitlines()), namespace)
    out = {
        "d_of_fake_y": dy,
        "d_of_fake_x": dx,
        "f_of_g_of_x": fgx,
        "g_of_f_of_y": gfy,
        "g_of_y": gy,
        "f_of_x": fx,
    }
    total, _ = namespace["cyclegan"]({"out": out, "batch": {"x": x, "y": y}})
    l1 = lambda a, b: np.abs(a - b).mean()  # noqa: E731
    expected = ((dy - 1) ** 2).mean() + ((dx - 1) ** 2).mean()
    expected += 10 * (l1(fgx, x) + l1(gfy, y)) + 5 * (l1(gy, y) + l1(fx, x))
    np.testing.assert_allclose(total, expected, rtol=1e-5)


def test_a_perfect_cycle_has_no_loss_and_no_gradient():
    for loss in (jl.cycle_consistency_loss, jl.identity_loss):
        value, gradient = jax.value_and_grad(lambda x, f=loss: f(x, jnp.ones(3), reduction="sum"))(jnp.ones(3))
        assert value == 0
        assert (gradient == 0).all()


def test_an_unknown_variant_raises():
    with pytest.raises(
        ValueError,
        match=r"^generator_loss: variant must be one of 'minimax', 'non_saturating', 'least_squares', got 'lsgan'",
    ):
        jl.generator_loss(FAKE, variant="lsgan")


def test_each_side_of_the_discriminator_alone():
    real, fake = np.array([1.5, -2.0, 0.3], np.float32), np.array([[-0.5, 4.0]], np.float32)
    softplus = lambda x: np.logaddexp(0, x)  # noqa: E731
    close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6)  # noqa: E731
    close(jl.discriminator_loss(real, None), softplus(-real))
    close(jl.discriminator_loss(None, fake), softplus(fake))
    close(jl.discriminator_loss(real, None, real_label=0.9), 0.9 * softplus(-real) + 0.1 * softplus(real))
    close(jl.discriminator_loss(real, None, variant="least_squares"), (real - 1) ** 2 / 2)
    close(jl.discriminator_loss(None, fake, variant="least_squares", reduction="sum"), (fake**2 / 2).sum())
    with pytest.raises(ValueError, match="discriminator_loss: real_logits and fake_logits are both None"):
        jl.discriminator_loss(None, None)
    sides = {
        "real": jl.Term("discriminator_loss", {"real_logits": "real"}),
        "fake": jl.Term("discriminator_loss", {"fake_logits": "fake"}),
    }
    objective = jl.Objective(sides)
    assert jl.Objective.from_config(objective.to_config()) == objective
    total, _ = objective({"real": real, "fake": fake})
    close(total, softplus(-real).mean() + softplus(fake).mean())
    with pytest.raises(ValueError, match="term 'none': loss 'discriminator_loss' takes"):
        jl.Objective({"none": jl.Term("discriminator_loss", {})})
