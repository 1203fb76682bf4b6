"""The methods: a `Gram` in, a weight for every term out."""

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxlosses.core.numerics import matmul_full_precision, safe_divide
from jaxlosses.core.ranges import Range, check_range
from jaxlosses.core.types import Number
from jaxlosses.gradients._solvers import (
    DEPENDENCE_THRESHOLD,
    equal_projection,
    nash_bargaining,
    normalize_gram,
    simplex_interior_point,
    weights_by_term,
)
from jaxlosses.gradients._trees import Gram


def pcgrad(gram: Gram, key: Array | None = None) -> dict[str, Array]:
    """PCGrad (gradient surgery): each gradient is projected onto the normal plane of those that conflict with it.

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
    normalized = normalize_gram("pcgrad", gram)
    terms = jnp.arange(len(gram.names))
    keys = None if key is None else jax.random.split(key, len(terms))
    orders = (
        jnp.tile(terms, (len(terms), 1)) if keys is None else jax.vmap(lambda k: jax.random.permutation(k, terms))(keys)
    )

    def project(parts: Array, others: Array) -> tuple[Array, None]:
        is_other = others[:, None] == terms[None, :]
        overlap = jnp.sum(jnp.where(is_other, matmul_full_precision(parts, normalized.cosines), 0), 1)
        opposes = (overlap < 0) & (others != terms)
        return parts - jnp.where(opposes[:, None] & is_other, overlap[:, None], 0), None

    # In unit gradients: row i is n_i u_i, and then what is left of it.
    parts, _ = lax.scan(project, jnp.diag(normalized.norms), orders.T)
    return weights_by_term(gram, safe_divide(jnp.sum(parts, 0), normalized.norms), normalized.present)


def cagrad(gram: Gram, *, c: Number = 0.5) -> dict[str, Array]:
    """CAGrad: stay near the mean gradient, and there improve the term that gains least as much as possible.

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
        ValueError: if the matrix is not one row and column per name, or `c` is a number outside [0, 1).

    Example:
        >>> from jaxlosses import gradients
        >>> products = gradients.gram({"seg": [-4.0, 1.0, 1.0], "depth": [6.0, 1.0, 1.0]})
        >>> weights = gradients.cagrad(products)
        >>> round(float(weights["seg"]), 3), round(float(weights["depth"]), 3)
        (0.563, 0.4)

    Reference:
        Liu et al., Conflict-Averse Gradient Descent for Multi-task Learning, 2021, arXiv:2110.14048.
    """
    check_range("cagrad", "c", c, Range("a number in [0, 1)", low=0.0, high=1.0, without=(1.0,)))
    normalized = normalize_gram("cagrad", gram)
    c = jnp.asarray(c, normalized.norms.dtype)
    mean = safe_divide(normalized.present, jnp.sum(normalized.present))
    cosines, lengths = normalized.regularized_cosines, normalized.relative_norms
    with_mean = matmul_full_precision(cosines, lengths * mean)
    length = jnp.sqrt(matmul_full_precision(lengths * mean, with_mean))
    with_mean = safe_divide(with_mean, length)

    def model(y: Array) -> tuple[Array, Array]:
        products = matmul_full_precision(cosines, y)
        norm = jnp.sqrt(matmul_full_precision(y, products))
        # Without its negative part: the whole Hessian leads astray near |g_x| = 0, where the function has a kink.
        return with_mean + c * safe_divide(products, norm), c * safe_divide(cosines, norm)

    y = simplex_interior_point(model, normalized.relative_inverse_norms, normalized.present)
    pull = safe_divide(c * length, jnp.sqrt(matmul_full_precision(y, matmul_full_precision(cosines, y))))
    return weights_by_term(gram, (mean + safe_divide(pull * y, lengths)) / (1 + c**2), normalized.present)


def mgda(gram: Gram) -> dict[str, Array]:
    """MGDA: the shortest convex combination of the gradients, which descends every loss, or there is no such direction.

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
    normalized = normalize_gram("mgda", gram)
    cosines, coefficients = normalized.regularized_cosines, normalized.relative_inverse_norms
    weights = coefficients * simplex_interior_point(
        lambda y: (matmul_full_precision(cosines, y), cosines), coefficients, normalized.present
    )
    return weights_by_term(gram, safe_divide(weights, jnp.sum(weights)), normalized.present)


def nash_mtl(gram: Gram) -> dict[str, Array]:
    """Nash-MTL: the direction of the Nash bargaining solution, with the largest product of the terms' gains.

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
        >>> weights = gradients.nash_mtl(products)
        >>> round(float(weights["seg"]), 4), round(float(weights["depth"]), 4)
        (0.5915, 0.4071)

    Reference:
        Navon et al., Multi-Task Learning as a Bargaining Game, 2022, arXiv:2202.01017.
    """
    normalized = normalize_gram("nash_mtl", gram)
    weights = safe_divide(nash_bargaining(normalized.regularized_cosines), normalized.norms)
    return weights_by_term(gram, weights, normalized.present)


def imtl_g(gram: Gram) -> dict[str, Array]:
    """IMTL-G: weights under which the update has the same projection on every gradient, so that no term is favoured.

        d · u_i = d · u_j for all i, j,   Σ w = 1;   w = v/Σv,  v_i = (C⁺ 1)_i / n_i

    Args:
        gram: the gradients' inner products, from `gradients.gram`.

    Returns:
        A weight for every term, which sum to 1 and may be negative. Parallel gradients get weights in proportion to
        1/n. All are 0 for opposite gradients, and where Σv <= 0: there the weights of sum 1 would climb all the losses.
        Just above, they are large; `conflict_free` never has this trouble.

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
    normalized = normalize_gram("imtl_g", gram)
    v = equal_projection(normalized) * normalized.relative_inverse_norms
    total = jnp.sum(v)
    uphill = total <= DEPENDENCE_THRESHOLD * jnp.sum(jnp.abs(v))
    return weights_by_term(gram, jnp.where(uphill, 0, v / jnp.where(uphill, 1, total)), normalized.present)


def aligned_mtl(gram: Gram) -> dict[str, Array]:
    """Aligned-MTL: the sum of the nearest gradients that are orthogonal and equally long.

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
        >>> weights = gradients.aligned_mtl(products)
        >>> round(float(weights["seg"]), 4), round(float(weights["depth"]), 4)
        (1.1182, 0.8165)

    Reference:
        Senushkin et al., Independent Component Alignment for Multi-Task Learning, 2023, arXiv:2305.19000.
    """
    normalized = normalize_gram("aligned_mtl", gram)
    lengths = normalized.relative_norms
    eigenvalues, vectors = jnp.linalg.eigh(lengths[:, None] * normalized.cosines * lengths[None, :])
    dropped = eigenvalues <= DEPENDENCE_THRESHOLD * len(eigenvalues) * jnp.max(eigenvalues)
    smallest = jnp.min(jnp.where(dropped, jnp.max(eigenvalues), eigenvalues))
    ratios = jnp.where(dropped, 0, jnp.sqrt(smallest / jnp.where(dropped, 1, eigenvalues)))
    return weights_by_term(
        gram,
        matmul_full_precision(vectors, ratios * matmul_full_precision(normalized.present, vectors)),
        normalized.present,
    )


def conflict_free(gram: Gram) -> dict[str, Array]:
    """ConFIG, the conflict-free update: equal cosines with all gradients, as long as their projections add up to.

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
        >>> weights = gradients.conflict_free(products)
        >>> round(float(weights["seg"]), 4), round(float(weights["depth"]), 4)
        (1.2265, 0.8441)

    Reference:
        Liu, Chu and Thuerey, ConFIG: Towards Conflict-free Training of Physics Informed Neural Networks, 2024,
        arXiv:2408.11104.
    """
    normalized = normalize_gram("conflict_free", gram)
    u = equal_projection(normalized)
    products = matmul_full_precision(normalized.cosines, u)
    length = safe_divide(matmul_full_precision(normalized.relative_norms, products), matmul_full_precision(u, products))
    return weights_by_term(gram, safe_divide(length * u, normalized.relative_norms), normalized.present)
