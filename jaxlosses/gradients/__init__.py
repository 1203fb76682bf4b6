"""One update from the gradients of several losses: seven methods of multi-task learning for gradients in conflict.

The gradients of K losses enter only by their inner products, the K x K matrix M = G Gᵀ. A method turns it into K
weights, and the update is the sum of the gradients with these weights. Nothing leaves the device, and every step is
yours to see:

    losses = lambda params: objective.losses({"out": net(params, batch), "batch": batch}, step=step)
    grads, aux = gradients.per_term_gradients(losses)(params)                  # {"seg": tree, "depth": tree}
    weights = gradients.conflict_free(gradients.gram({name: g["trunk"] for name, g in grads.items()}))
    updates, state = optimizer.update(gradients.weighted_sum(grads, weights), state, params)

Take M over the parameters that the losses share: a head of its own makes a gradient longer and hides a conflict. With
n_i the length of gradient i, u_i = g_i / n_i, C the cosines, and d = Σ w_i g_i the update:

                   the update                                           its length
    pcgrad         each g_i without what opposes another one, added up  that of the plain sum where nothing opposes
    cagrad         near the mean, best for the term it helps least      (1 ± c)/(1 + c²) of the mean's
    mgda           the shortest convex combination                      at most the shortest gradient's
    nash_mtl       w_i (g_i · d) = 1: Nash's bargaining solution        √K, however long the gradients are
    imtl_g         equal projections on all g_i, with Σ w = 1           of parallel ones the harmonic mean
    aligned_mtl    gradients made orthogonal and equally long           √(K λ), λ the least eigenvalue of M
    conflict_free  equal cosines with all g_i                           the sum of the projections of all g_i on d

For two losses nash_mtl, imtl_g and conflict_free go along the bisector. Of g and -g all make an update of 0. A gradient
of 0 is treated as if its term did not exist, and gets the weight 0. Gradients count as linearly dependent where their
cosines have an eigenvalue below 1e-6 K: two of them within a tenth of a degree of parallel or opposite. NaN or infinity
in any gradient makes every weight NaN.

Before you reach for these: tuned constant weights with ordinary regularisation matched them wherever somebody neutral
compared (Kurin et al. 2022, arXiv:2201.04122; Xin et al. 2022), and they cost K backward passes. Where encoder and
heads are separate functions, one pass through the encoder is enough, for `per_term_gradients` may differentiate by the
features:

    features, pull = jax.vjp(encoder, params)
    grads, aux = gradients.per_term_gradients(heads)(features)
    (update,) = pull(gradients.weighted_sum(grads, gradients.mgda(gradients.gram(grads))))

This module is not part of `import jaxlosses`: write `from jaxlosses import gradients`.
"""

from jaxlosses.gradients._methods import aligned_mtl, cagrad, conflict_free, imtl_g, mgda, nash_mtl, pcgrad
from jaxlosses.gradients._trees import Gram, gram, per_term_gradients, weighted_sum

__all__ = [
    "Gram",
    "aligned_mtl",
    "cagrad",
    "conflict_free",
    "gram",
    "imtl_g",
    "mgda",
    "nash_mtl",
    "pcgrad",
    "per_term_gradients",
    "weighted_sum",
]
