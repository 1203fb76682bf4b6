"""Networks whose feature maps perceptual and style losses compare.

Each is a module of its own: `from jaxlosses.feature_extractors import vgg`.
"""
