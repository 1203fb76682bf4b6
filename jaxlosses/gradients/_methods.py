"""The methods: a `Gram` in, a weight for every term out."""

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxlosses.core.numerics import safe_divide
from jaxlosses.core.types import Number
from jaxlosses.gradients._solvers import DEPENDENT, balanced, bargain, dot, minimised, named, unit
from jaxlosses.gradients._trees import Gram


def pcgrad(gram: Gram, key: Array | None = None) -> dict[str, Array]:
    """Take out of every gradient what opposes another one, and add up what is left.

        d = Σ_i p_i,   p_i = g_i;   for j ≠ i, in random order, where p_i · g_j < 0:  p_i ← p_i - (p_i · g_j)/n_j² g_j

    Without conflict the weights are 1, those of the plain sum; with one they grow, by what the partners take out.

    Args:
        gram: the gradients' inner products, from `gradients.gram`.
        key: for the order, drawn for every term anew, as in the paper: a `jax.random.key`, another in every step. None
            for the order of the names, a variant which favours the last ones.

    Returns:
        A weight >= 0 for every term. Parallel gradients get 1; opposite ones cancel.

    Raises:
        ValueError: if the matrix is not one row and column per name.

    Example:
        >>> from jaxlosses import gradients
        >>> products = gradients.gram({"seg": [-4.0, 1.0, 1.0], "depth": [6.0, 1.0, 1.0]})
        >>> weights = gradients.pcgrad(products)
        >>> round(float(weights["seg"]), 4), round(float(weights["depth"]), 4)
        (2.2222, 1.5789)

    Reference:
        Yu et al., Gradient Surgery for Multi-Task Learning, 2020, arXiv:2001.06782.
    """
    gradients = unit("pcgrad", gram)
    terms = jnp.arange(len(gram.names))
    keys = None if key is None else jax.random.split(key, len(terms))
    orders = (
        jnp.tile(terms, (len(terms), 1)) if keys is None else jax.vmap(lambda k: jax.random.permutation(k, terms))(keys)
    )

    def project(parts: Array, place: Array) -> tuple[Array, None]:
        other = place[:, None] == terms[None, :]
        overlap = jnp.sum(jnp.where(other, dot(parts, gradients.cosines), 0), 1)
        opposes = (overlap < 0) & (place != terms)
        return parts - jnp.where(opposes[:, None] & other, overlap[:, None], 0), None

    # In unit gradients: row i is n_i u_i, and then what is left of it.
    parts, _ = lax.scan(project, jnp.diag(gradients.norms), orders.T)
    return named(gram, safe_divide(jnp.sum(parts, 0), gradients.norms), gradients.present)


def cagrad(gram: Gram, *, c: Number = 0.5) -> dict[str, Array]:
    """Stay near the mean gradient, and there help the term that gains least as much as can be.

        d = (g_0 + c |g_0| g_x/|g_x|)/(1 + c²),   x = argmin over Σx = 1, x >= 0 of  g_x · g_0 + c |g_0| |g_x|

    with g_0 the mean and g_x = Σ x_i g_i. It is the d of a ball of radius c |g_0| around g_0 that maximises the least
    g_i · d, shortened as in the authors' code. The minimum is good to 1e-4 |g_0| max n; where opposite gradients let
    g_x be 0, to about 1e-2 of it, with weights of up to 1e3.

    Args:
        gram: the gradients' inner products, from `gradients.gram`.
        c: in [0, 1); 0 is the mean gradient.

    Returns:
        A weight >= 0 for every term. The length of the update is within (1 ± c)/(1 + c²) of the mean gradient's.

    Raises:
        ValueError: if the matrix is not one row and column per name.

    Example:
        >>> from jaxlosses import gradients
        >>> products = gradients.gram({"seg": [-4.0, 1.0, 1.0], "depth": [6.0, 1.0, 1.0]})
        >>> weights = gradients.cagrad(products)
        >>> round(float(weights["seg"]), 3), round(float(weights["depth"]), 3)
        (0.563, 0.4)

    Reference:
        Liu et al., Conflict-Averse Gradient Descent for Multi-task Learning, 2021, arXiv:2110.14048.
    """
    gradients = unit("cagrad", gram)
    c = jnp.asarray(c, gradients.norms.dtype)
    mean = safe_divide(gradients.present, jnp.sum(gradients.present))
    firm, lengths = gradients.firm, gradients.relative
    with_mean = dot(firm, lengths * mean)
    length = jnp.sqrt(dot(lengths * mean, with_mean))
    with_mean = safe_divide(with_mean, length)

    def model(y: Array) -> tuple[Array, Array]:
        products = dot(firm, y)
        norm = jnp.sqrt(dot(y, products))
        # Without its negative part: the whole Hessian leads astray near |g_x| = 0, where the function has a kink.
        return with_mean + c * safe_divide(products, norm), c * safe_divide(firm, norm)

    y = minimised(model, safe_divide(gradients.present, lengths), gradients.present)
    pull = safe_divide(c * length, jnp.sqrt(dot(y, dot(firm, y))))
    return named(gram, (mean + pull * safe_divide(y, lengths)) / (1 + c**2), gradients.present)


def mgda(gram: Gram) -> dict[str, Array]:
    """Take the shortest convex combination of the gradients: it descends every loss, or there is no such direction.

        w = argmin over Σw = 1, w >= 0 of  |Σ w_i g_i|²

    Read to the letter, one gradient of 0 would be the shortest combination and stop everything; here it is left out.
    Solved as a quadratic program to float32, and not by the paper's Frank-Wolfe steps, which close in slowly.

    Args:
        gram: the gradients' inner products, from `gradients.gram`.

    Returns:
        A weight >= 0 for every term, which sum to 1. The update is no longer than the shortest gradient, and 0 where
        gradients balance, such as opposite ones. Of parallel gradients the shortest has all the weight.

    Raises:
        ValueError: if the matrix is not one row and column per name.

    Example:
        >>> from jaxlosses import gradients
        >>> products = gradients.gram({"seg": [-4.0, 1.0, 1.0], "depth": [6.0, 1.0, 1.0]})
        >>> weights = gradients.mgda(products)
        >>> round(float(weights["seg"]), 4), round(float(weights["depth"]), 4)
        (0.6, 0.4)

    Reference:
        Sener and Koltun, Multi-Task Learning as Multi-Objective Optimization, 2018, arXiv:1810.04650.
    """
    gradients = unit("mgda", gram)
    firm, coefficients = gradients.firm, safe_divide(gradients.present, gradients.relative)
    weights = coefficients * minimised(lambda y: (dot(firm, y), firm), coefficients, gradients.present)
    return named(gram, safe_divide(weights, jnp.sum(weights)), gradients.present)


def nash(gram: Gram) -> dict[str, Array]:
    """Let the terms bargain for the direction: the one with the largest product of their gains.

        w_i (g_i · d) = 1 for all i,   that is  M w = 1/w

    The scale of a loss does not matter: its weight takes it out again. Where gradients are nearly opposite the update
    goes to 0, with weights of up to 1e3/n.

    Args:
        gram: the gradients' inner products, from `gradients.gram`.

    Returns:
        A weight > 0 for every term that is present. The update has the length √K for K of them, however long the
        gradients are: choose the learning rate accordingly, or clip the norm at 1 (`optax.clip_by_global_norm`), as
        the authors do.

    Raises:
        ValueError: if the matrix is not one row and column per name.

    Example:
        >>> from jaxlosses import gradients
        >>> products = gradients.gram({"seg": [-4.0, 1.0, 1.0], "depth": [6.0, 1.0, 1.0]})
        >>> weights = gradients.nash(products)
        >>> round(float(weights["seg"]), 4), round(float(weights["depth"]), 4)
        (0.5915, 0.4071)

    Reference:
        Navon et al., Multi-Task Learning as a Bargaining Game, 2022, arXiv:2202.01017.
    """
    gradients = unit("nash", gram)
    weights = safe_divide(bargain(gradients.firm), gradients.norms)
    return named(gram, weights, gradients.present)


def imtl_g(gram: Gram) -> dict[str, Array]:
    """Choose weights under which the update has the same projection on every gradient: no term is favoured.

        d · u_i = d · u_j for all i, j,   Σ w = 1;   w = v/Σv,  v_i = (C⁺ 1)_i / n_i

    Args:
        gram: the gradients' inner products, from `gradients.gram`.

    Returns:
        A weight for every term, which sum to 1 and may be negative. Parallel gradients get weights in proportion to
        1/n. All are 0 for opposite gradients, and where Σv <= 0: there the weights of sum 1 would climb all the losses.
        Just above, they are large; `config` never has this trouble.

    Raises:
        ValueError: if the matrix is not one row and column per name.

    Example:
        >>> from jaxlosses import gradients
        >>> products = gradients.gram({"seg": [-4.0, 1.0, 1.0], "depth": [6.0, 1.0, 1.0]})
        >>> weights = gradients.imtl_g(products)
        >>> round(float(weights["seg"]), 4), round(float(weights["depth"]), 4)
        (0.5923, 0.4077)

    Reference:
        Liu et al., Towards Impartial Multi-task Learning, ICLR 2021, https://openreview.net/forum?id=IMPnRXEWpvr.
    """
    gradients = unit("imtl_g", gram)
    v = safe_divide(balanced(gradients), gradients.relative)
    total = jnp.sum(v)
    uphill = total <= DEPENDENT * jnp.sum(jnp.abs(v))
    return named(gram, jnp.where(uphill, 0, v / jnp.where(uphill, 1, total)), gradients.present)


def aligned(gram: Gram) -> dict[str, Array]:
    """Replace the gradients by the nearest ones that are orthogonal and equally long, and add those up.

        w = √λ_min V Λ^(-1/2) Vᵀ 1,   M = V Λ Vᵀ

    with λ_min the smallest eigenvalue above 1e-6 K of the largest; eigenvectors below are left out. (The scale "min" of
    the authors' code. With it one short gradient makes the whole update short.)

    Args:
        gram: the gradients' inner products, from `gradients.gram`.

    Returns:
        A weight for every term, possibly negative. The update has the length √(K λ_min), K weights of 1 for orthogonal
        gradients of equal length. Parallel or opposite gradients give their plain sum. Divide by K for a mean.

    Raises:
        ValueError: if the matrix is not one row and column per name.

    Example:
        >>> from jaxlosses import gradients
        >>> products = gradients.gram({"seg": [-4.0, 1.0, 1.0], "depth": [6.0, 1.0, 1.0]})
        >>> weights = gradients.aligned(products)
        >>> round(float(weights["seg"]), 4), round(float(weights["depth"]), 4)
        (1.1182, 0.8165)

    Reference:
        Senushkin et al., Independent Component Alignment for Multi-Task Learning, 2023, arXiv:2305.19000.
    """
    gradients = unit("aligned", gram)
    longest = jnp.max(gradients.norms)
    lengths = safe_divide(gradients.norms, longest)
    eigenvalues, vectors = jnp.linalg.eigh(lengths[:, None] * gradients.cosines * lengths[None, :])
    dropped = eigenvalues <= DEPENDENT * len(eigenvalues) * jnp.max(eigenvalues)
    smallest = jnp.min(jnp.where(dropped, jnp.inf, eigenvalues))
    ratios = jnp.where(dropped, 0, jnp.sqrt(smallest / jnp.where(dropped, 1, eigenvalues)))
    return named(gram, dot(vectors, ratios * dot(gradients.present, vectors)), gradients.present)


def config(gram: Gram) -> dict[str, Array]:
    """Go where the cosines with all gradients are equal and positive, as far as their projections add up to.

        d = (Σ_i g_i · d̂) d̂,   d̂ = U⁺1/|U⁺1|,  with rows u_i of U;   w_i = (C⁺ 1)_i / n_i · (nᵀ C C⁺ 1)/(1ᵀ C⁺ 1)

    Args:
        gram: the gradients' inner products, from `gradients.gram`.

    Returns:
        A weight for every term, possibly negative. Parallel gradients are added up, plainly in direction and length;
        the update shrinks as they part, to 0 where they are opposite.

    Raises:
        ValueError: if the matrix is not one row and column per name.

    Example:
        >>> from jaxlosses import gradients
        >>> products = gradients.gram({"seg": [-4.0, 1.0, 1.0], "depth": [6.0, 1.0, 1.0]})
        >>> weights = gradients.config(products)
        >>> round(float(weights["seg"]), 4), round(float(weights["depth"]), 4)
        (1.2265, 0.8441)

    Reference:
        Liu, Chu and Thuerey, ConFIG: Towards Conflict-free Training of Physics Informed Neural Networks, 2024,
        arXiv:2408.11104.
    """
    gradients = unit("config", gram)
    u = balanced(gradients)
    products = dot(gradients.cosines, u)
    length = safe_divide(dot(gradients.relative, products), dot(u, products))
    return named(gram, length * safe_divide(u, gradients.relative), gradients.present)
