"""What the tests of CTC share: the compiled loss of one sequence and of a batch, and plain references."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np

import jaxlosses as jl


@functools.partial(jax.jit, static_argnames=("blank_id", "zero_infinity"))
def loss_of_one(logits, labels, **options):
    """The loss of one sequence."""
    return jl.ctc_loss(logits[None], jnp.asarray(labels, jnp.int32).reshape(1, -1), **options)[0]


@functools.partial(jax.jit, static_argnames=("blank_id", "zero_infinity"))
def losses_and_gradients(logits, labels, **options):
    """The losses of a batch, and their gradients."""
    values, back = jax.vjp(lambda z: jl.ctc_loss(z, labels, **options), logits)
    return values, back(jnp.ones_like(values))[0]


value_and_grad = jax.jit(jax.value_and_grad(loss_of_one))


def collapse(path, blank=0):
    """The map B in plain Python."""
    return tuple(symbol for symbol, _ in itertools.groupby(path) if symbol != blank)


def forward_backward(logits, labels, blank=0):
    """The loss of one sequence and its gradient, by the textbook's recursion, in logarithms.

    alpha[t, s] sums the paths that are in state s at frame t, with its symbol; beta[t, s] sums how they go on from there.
    """
    log_y = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
    time, states = len(logits), 2 * len(labels) + 1
    symbols = np.full(states, blank)
    symbols[1::2] = labels
    alpha, beta = np.full((2, time, states), -np.inf)

    def predecessors(s):
        yield s
        if s >= 1:
            yield s - 1
        if s % 2 == 1 and s >= 3 and symbols[s] != symbols[s - 2]:
            yield s - 2

    alpha[0, :2] = log_y[0, symbols[:2]]
    for t in range(1, time):
        for s in range(states):
            alpha[t, s] = log_y[t, symbols[s]] + np.logaddexp.reduce([alpha[t - 1, r] for r in predecessors(s)])
    beta[-1, -2:] = 0
    for t in reversed(range(time - 1)):
        for s in range(states):
            for r in predecessors(s):
                beta[t, r] = np.logaddexp(beta[t, r], log_y[t + 1, symbols[s]] + beta[t + 1, s])
    log_p = np.logaddexp.reduce(alpha[-1] + beta[-1])
    if log_p == -np.inf:  # the labels do not fit
        return np.inf, np.zeros_like(logits)
    gradient = np.exp(log_y)
    for s in range(states):
        gradient[:, symbols[s]] -= np.exp(alpha[:, s] + beta[:, s] - log_p)
    return -log_p, gradient


def pad_rows(rows, fill=0):
    width = max(map(len, rows))
    return np.array([[*row, *[fill] * (width - len(row))] for row in rows], np.int32), np.array([*map(len, rows)])
