"""Losses of adversarial training (GANs, CycleGAN): a value per logit of the discriminator, or per pixel.

With d = D(x) the discriminator's logit for a real sample and d' = D(G(z)) for a generated one:

    variant            discriminator_loss                 generator_loss
    "minimax"          softplus(-d) + softplus(d')        -softplus(d')     vanishes where D wins
    "non_saturating"   the same                           softplus(-d')     does not
    "least_squares"    ((d - 1)² + d'²)/2                 (d' - 1)²

The total of a CycleGAN, for generators G: X → Y and F: Y → X, is an objective like any other:

    >>> import jaxlosses as jl
    >>> def term(inputs, loss, weight, **options):
    ...     return jl.Term(loss, inputs, weight=weight, options=options)
    >>> cyclegan = jl.Objective({
    ...     "G fools": term(("out.d_of_fake_y",), "generator_loss", 1.0, variant="least_squares"),
    ...     "F fools": term(("out.d_of_fake_x",), "generator_loss", 1.0, variant="least_squares"),
    ...     "cycle x": term(("out.f_of_g_of_x", "batch.x"), "cycle_consistency_loss", 10.0),
    ...     "cycle y": term(("out.g_of_f_of_y", "batch.y"), "cycle_consistency_loss", 10.0),
    ...     "identity y": term(("out.g_of_y", "batch.y"), "identity_loss", 5.0),
    ...     "identity x": term(("out.f_of_x", "batch.x"), "identity_loss", 5.0),
    ... })

Each side is differentiated by its own parameters: stop the gradient of what belongs to the other (the fakes in
`discriminator_loss`), or differentiate by one tree only.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from jaxlosses.core import checks
from jaxlosses.core.errors import one_of
from jaxlosses.core.numerics import abs_zero_grad, multiply_inf_safe, negative_log_sigmoid, scaled_square, softplus
from jaxlosses.core.reduction import reduce
from jaxlosses.core.types import ArrayLike, Number, Reduced
from jaxlosses.registry import register

__all__ = ["cycle_consistency_loss", "discriminator_loss", "generator_loss", "identity_loss"]

VARIANTS = ("minimax", "non_saturating", "least_squares")


def _example_inputs(key: Array) -> tuple[Array, Array]:
    real, fake = jax.random.normal(key, (2, 5, 3))
    return real, fake


_register = functools.partial(register, family="adversarial", minimum=0.0, example_inputs=_example_inputs)


@_register(
    "discriminator_loss",
    domain=("logits", "logits"),
    citation="arXiv:1406.2661",
    law_exceptions=(
        ("scaled inputs give scaled values", "a probability or a logit has a scale of its own"),
        ("integers keep their differences", "it depends on more than differences of probabilities or logits"),
    ),
)
def discriminator_loss(
    real_logits: ArrayLike | None,
    fake_logits: ArrayLike | None,
    *,
    variant: str = "minimax",
    real_label: Number = 1.0,
    where: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    reduction: str = "none",
) -> Reduced:
    """GAN discriminator loss: binary cross-entropy or least squares (LSGAN) on logits of real and generated samples.

        l = -log σ(d) - log(1 - σ(d'))   or, for least squares,   ((d - 1)² + d'²)/2

    Each side has a term of its own, so one may be None: two calls where there are not as many generated samples as real
    ones. In an objective that is `jl.Term("discriminator_loss", {"fake_logits": "out.fake"})` beside one of the others.

    Args:
        real_logits: `(...)`, d = D(x), any numbers; one per sample, or per patch. None for the other side alone.
        fake_logits: `(...)`, d' = D(G(z)), the same shape. None for the real side alone.
        variant: `"minimax"`, `"non_saturating"` (the same for this side) or `"least_squares"`.
        real_label: what D is to say about real samples; 0.9 is one-sided label smoothing.
        where: bool, a prefix of the shape; True counts. `jaxlosses.core.reduction` explains this and the next two.
        sample_weights: numbers >= 0, a prefix of the shape.
        reduction: `"none"`, `"sum"`, `"mean"` or `"parts"`.

    Returns:
        `(...)`, at least 0, and 2 log 2 (one side: log 2) for a D that knows nothing; or what `reduction` makes of it.

    Raises:
        ValueError: if the shapes differ, both sides are None, or `variant` is another.

    Example:
        >>> import jaxlosses as jl
        >>> jl.discriminator_loss(1.5, -0.5)
        Array(0.6755, dtype=float32)
        >>> jl.discriminator_loss(1.5, -0.5, variant="least_squares")
        Array(0.25, dtype=float32)

    Reference:
        Goodfellow et al., Generative Adversarial Networks, 2014, arXiv:1406.2661. Least squares: Mao et al., 2016,
        arXiv:1611.04076. One-sided smoothing: Salimans et al., 2016, arXiv:1606.03498.
    """
    one_of("discriminator_loss", "variant", variant, VARIANTS)
    sides = {"real_logits": real_logits, "fake_logits": fake_logits}
    given: dict[str, Any] = {name: logits for name, logits in sides.items() if logits is not None}
    if not given:
        raise ValueError("discriminator_loss: real_logits and fake_logits are both None; at least one side is needed")
    *logits, mask = checks.prepare_same_shape("discriminator_loss", where, sample_weights, **given)
    costs = {"real_logits": _real_cost, "fake_logits": _fake_cost}
    values = [costs[name](d, variant, real_label) for name, d in zip(given, logits, strict=True)]
    return reduce(sum(values[1:], values[0]), mask, reduction)


def _real_cost(d: Float[Array, "*s"], variant: str, real_label: Number) -> Float[Array, "*s"]:
    real_label = jnp.asarray(real_label, d.dtype)
    if variant == "least_squares":
        return scaled_square(0.5, d - real_label)
    return multiply_inf_safe(real_label, negative_log_sigmoid(d)) + multiply_inf_safe(1 - real_label, softplus(d))


def _fake_cost(d: Float[Array, "*s"], variant: str, _: Number) -> Float[Array, "*s"]:
    return scaled_square(0.5, d) if variant == "least_squares" else softplus(d)


@_register(
    "generator_loss",
    domain=("logits",),
    law_exceptions=(
        ("scaled inputs give scaled values", "a probability or a logit has a scale of its own"),
        ("integers keep their differences", "it depends on more than differences of probabilities or logits"),
    ),
    negative_with=(("variant", "minimax"),),
    citation="arXiv:1406.2661",
    example_inputs=lambda key: _example_inputs(key)[:1],
)
def generator_loss(
    fake_logits: ArrayLike,
    *,
    variant: str = "non_saturating",
    where: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    reduction: str = "none",
) -> Reduced:
    """GAN generator loss: minimax, non-saturating or least squares (LSGAN), on logits of generated samples.

        l = log(1 - σ(d'))  ("minimax"),   -log σ(d')  ("non_saturating"),   (d' - 1)²  ("least_squares")

    Args:
        fake_logits: `(...)`, d' = D(G(z)), any numbers; one per sample, or per patch.
        variant: one of the three. The gradient of the first is -σ(d'), which vanishes where D wins; that of the second
            is -σ(-d').
        where: bool, a prefix of the shape; True counts. `jaxlosses.core.reduction` explains this and the next two.
        sample_weights: numbers >= 0, a prefix of the shape.
        reduction: `"none"`, `"sum"`, `"mean"` or `"parts"`.

    Returns:
        `(...)`, at most 0 for `"minimax"`, at least 0 for the others; or what `reduction` makes of it.

    Raises:
        ValueError: if `variant` is another.

    Example:
        >>> import jaxlosses as jl
        >>> print([round(float(jl.generator_loss(-0.5, variant=v)), 4) for v in ("minimax", "non_saturating")])
        [-0.4741, 0.9741]
        >>> jl.generator_loss(-0.5, variant="least_squares")
        Array(2.25, dtype=float32)

    Reference:
        Goodfellow et al., Generative Adversarial Networks, 2014, arXiv:1406.2661. Least squares: Mao et al., 2016,
        arXiv:1611.04076, without its 1/2, as in CycleGAN.
    """
    one_of("generator_loss", "variant", variant, VARIANTS)
    fake, mask = checks.prepare_same_shape("generator_loss", where, sample_weights, fake_logits=fake_logits)
    if variant == "least_squares":
        return reduce((fake - 1) ** 2, mask, reduction)
    return reduce(-softplus(fake) if variant == "minimax" else negative_log_sigmoid(fake), mask, reduction)


@_register(
    "cycle_consistency_loss",
    domain=("any number", "any number"),
    citation="arXiv:1703.10593",
    homogeneous_degree=1,
    translation_invariant=True,
)
def cycle_consistency_loss(
    cycled: ArrayLike,
    images: ArrayLike,
    *,
    where: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    reduction: str = "none",
) -> Reduced:
    """Cycle-consistency loss (CycleGAN): L1 distance between an image and its round trip through both generators.

        l = |F(G(x)) - x|

    The other direction, |G(F(y)) - y|, is a second term. CycleGAN weighs both with 10.

    Args:
        cycled: `(...)`, F(G(x)), any numbers.
        images: `(...)`, x, the same shape.
        where: bool, a prefix of the shape; True counts. `jaxlosses.core.reduction` explains this and the next two.
        sample_weights: numbers >= 0, a prefix of the shape.
        reduction: `"none"`, `"sum"`, `"mean"` or `"parts"`.

    Returns:
        `(...)`, at least 0; or what `reduction` makes of it.

    Raises:
        ValueError: if the shapes differ; nothing is broadcast.

    Example:
        >>> import jaxlosses as jl
        >>> jl.cycle_consistency_loss([0.2, 0.9], [0.0, 1.0], reduction="mean")
        Array(0.15, dtype=float32)

    Reference:
        Zhu, Park, Isola and Efros, Unpaired Image-to-Image Translation, 2017, arXiv:1703.10593.
    """
    r, mask = checks.prepare_residuals("cycle_consistency_loss", where, sample_weights, cycled=cycled, images=images)
    return reduce(abs_zero_grad(r), mask, reduction)


@_register(
    "identity_loss",
    domain=("any number", "any number"),
    citation="arXiv:1703.10593",
    homogeneous_degree=1,
    translation_invariant=True,
)
def identity_loss(
    mapped: ArrayLike,
    images: ArrayLike,
    *,
    where: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    reduction: str = "none",
) -> Reduced:
    """Identity loss (CycleGAN): L1 distance between a target-domain image and its own translation, to keep colours.

        l = |G(y) - y|

    CycleGAN weighs it with half of the weight of the cycle, and uses it where colours are to be kept.

    Args:
        mapped: `(...)`, G(y), any numbers.
        images: `(...)`, y, the same shape.
        where: bool, a prefix of the shape; True counts. `jaxlosses.core.reduction` explains this and the next two.
        sample_weights: numbers >= 0, a prefix of the shape.
        reduction: `"none"`, `"sum"`, `"mean"` or `"parts"`.

    Returns:
        `(...)`, at least 0; or what `reduction` makes of it.

    Raises:
        ValueError: if the shapes differ; nothing is broadcast.

    Example:
        >>> import jaxlosses as jl
        >>> jl.identity_loss([0.2, 0.9], [0.0, 1.0], reduction="mean")
        Array(0.15, dtype=float32)

    Reference:
        Zhu, Park, Isola and Efros, Unpaired Image-to-Image Translation, 2017, arXiv:1703.10593, after Taigman, Polyak
        and Wolf, 2016, arXiv:1611.02200.
    """
    r, mask = checks.prepare_residuals("identity_loss", where, sample_weights, mapped=mapped, images=images)
    return reduce(abs_zero_grad(r), mask, reduction)
