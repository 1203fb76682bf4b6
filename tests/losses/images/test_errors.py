"""Which inputs and options the losses on images refuse, and the words of the errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxlosses as jl
from tests.losses.images.test_images import X, Y, Z

ONE = X["relu0"]  # (3, 4, 3, 2)

REFUSED = {
    "a layer too few": (
        lambda: jl.perceptual_loss(X, {"relu0": ONE}),
        r"^perceptual_loss: there is features\['relu1'\] but no target_features\['relu1'\], only target_features\['relu0'\]$",
    ),
    "a layer too many": (
        lambda: jl.style_loss({"relu0": ONE}, Y),
        r"^style_loss: there is target_features\['relu1'\] but no features\['relu1'\], only features\['relu0'\]$",
    ),
    "one map against a list": (
        lambda: jl.style_loss(ONE, [ONE]),
        r"there is target_features\[0\] but no features\[0\], only features$",
    ),
    "a layer of another shape": (
        lambda: jl.content_loss(X, {**Y, "relu1": Y["relu1"][:, :1]}),
        r"features\['relu1'\] \(3, 2, 2, 5\) and target_features\['relu1'\] \(3, 1, 2, 5\) must have equal shapes; losses do not",
    ),
    "channels first": (
        lambda: jl.perceptual_loss(ONE, jnp.moveaxis(ONE, -1, 1)),
        r"\(3, 4, 3, 2\) and target_features \(3, 2, 4, 3\) must have equal shapes; did you mean to transpose target_f",
    ),
    "a style of other channels": (
        lambda: jl.style_loss([ONE], [ONE[..., :1]]),
        r"style_loss: features\[0\] \(3, 4, 3, 2\) and target_features\[0\] \(3, 4, 3, 1\) must have the same N and C; ",
    ),
    "one style for all": (
        lambda: jl.style_loss(ONE, ONE[:1]),
        r"must both be \(N, H, W, C\), with one N; .* jnp.broadcast_to\(target_features, \(3, 4, 3, 2\)\)",
    ),
    "layers of two batches": (
        lambda: jl.perceptual_loss({"a": ONE, "b": ONE[:2]}, {"a": ONE, "b": ONE[:2]}),
        r"features\['a'\] \(3, 4, 3, 2\) and features\['b'\] \(2, 4, 3, 2\) must both be \(N, H, W, C\), with one N",
    ),
    "no batch": (
        lambda: jl.perceptual_loss(ONE[0], ONE[0]),
        r"^perceptual_loss: features \(4, 3, 2\) must be \(N, H, W, C\); did you mean features\[None\]\?$",
    ),
    "no maps": (
        lambda: jl.style_loss({}, {}),
        r"^style_loss: features holds no array; it must be \(N, H, W, C\), or a",
    ),
    "an empty list": (lambda: jl.style_loss([], []), r"^style_loss: features \(0,\) must be \(N, H, W, C\)"),
    "no positions": (
        lambda: jl.style_loss(ONE[:, :0], ONE),
        r"features \(3, 0, 3, 2\) must not be empty along H, W or C",
    ),
    "a mask of pixels": (
        lambda: jl.perceptual_loss(ONE, ONE, where=np.ones((3, 4, 3), bool)),
        r"^perceptual_loss: where \(3, 4, 3\) must be \(3,\)",
    ),
    "another variant": (
        lambda: jl.style_loss(ONE, ONE, variant="frobenius"),
        r"^style_loss: variant must be one of 'johnson', 'gatys', got 'frobenius'$",
    ),
    "a weight too few": (
        lambda: jl.perceptual_loss(X, Y, layer_weights={"relu0": 1.0}),
        r"there is features\['relu1'\] but no layer_weights\['relu1'\], only layer_weights\['relu0'\]$",
    ),
    "a weight too many": (
        lambda: jl.perceptual_loss(ONE, ONE, layer_weights={"relu0": 1.0}),
        r"there is layer_weights\['relu0'\] but no features\['relu0'\], only features$",
    ),
    "weights in an order that a dict has not": (
        lambda: jl.perceptual_loss(X, Y, layer_weights=[1.0, 2.0]),
        r"there is layer_weights\[0\] but no features\[0\], only features\['relu0'\], features\['relu1'\]$",
    ),
    "weights that are arrays": (
        lambda: jl.perceptual_loss([ONE], [ONE], layer_weights=[np.ones(3)]),
        r"layer_weights\[0\] \(3,\) must be one number; did you mean jax.vmap\?",
    ),
    "a layer that is nowhere": (
        lambda: jl.content_style_loss(X, Y, Z, content_layers=["relu4_2"]),
        r"^content_style_loss: there is content_layers\['relu4_2'\] but no content_features\['relu4_2'\], only content_features\['relu0'\]",
    ),
    "a layer without a target": (
        lambda: jl.content_style_loss(X, {"relu0": ONE}, Z, content_layers=["relu1"]),
        r"there is content_layers\['relu1'\] but no content_features\['relu1'\], only content_features\['relu0'\]",
    ),
    "maps where images were promised": (
        lambda: jl.perceptual_loss(X, Y, extract=jnp.sin),
        r"with extract= features must be one array of images, got features\['relu0'\], features\['relu1'\]",
    ),
    "a network that drops images": (
        lambda: jl.perceptual_loss(ONE, ONE, extract=lambda x: {"a": x[:2]}),
        r"features \(3, 4, 3, 2\) and extract\(features\)\['a'\] \(2, 4, 3, 2\) must both be \(N, H, W, C\), with one N",
    ),
    "a batch of maps": (lambda: jl.gram_matrix(ONE[0]), r"^gram_matrix: features \(4, 3, 2\) must be \(N, H, W, C\)"),
    "a Gram matrix of another kind": (
        lambda: jl.gram_matrix(ONE, variant="l2"),
        r"^gram_matrix: variant must",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_refused(what):
    call, words = REFUSED[what]
    with pytest.raises(ValueError, match=words):
        call()


def test_a_network_is_a_function_and_not_its_class():
    words = (
        r"^perceptual_loss: extract must be a function, got <class 'dict'>; did you mean an instance of that class\?"
    )
    with pytest.raises(TypeError, match=words):
        jl.perceptual_loss(ONE, ONE, extract=dict)


def test_names_are_a_list():
    with pytest.raises(
        TypeError, match=r"content_style_loss: style_layers must be names, as in \['relu4_2'\], or a dict"
    ):
        jl.content_style_loss(X, Y, Z, style_layers="relu0")
    with pytest.raises(TypeError, match="style_layers"):
        jl.content_style_loss(X, Y, Z, style_layers=[])


def test_checked_finds_negative_weights_of_layers():
    loss = jl.checked(jax.jit(lambda w: jl.perceptual_loss(X, Y, layer_weights={"relu0": w, "relu1": 1.0})))
    np.testing.assert_allclose(
        loss(0.5), jl.perceptual_loss(X, Y, layer_weights={"relu0": 0.5, "relu1": 1.0}), rtol=1e-6
    )
    with pytest.raises(Exception, match=r"perceptual_loss: layer_weights\['relu0'\] must be >= 0; 1 do not"):
        loss(-0.5)
    with pytest.raises(Exception, match=r"style_loss: sample_weights must be >= 0; 2 do not"):
        jl.checked(jl.style_loss)(X, Y, sample_weights=[-1.0, 1.0, -2.0])
