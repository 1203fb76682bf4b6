"""Losses between images, measured on the feature maps of a network.

perceptual      the mean squared error of feature maps
style_transfer  content, style, and their sum against two images
gram            the Gram matrix of a feature map, which style losses compare
feature_maps    what feature maps may be: arrays, lists or dicts of arrays, or images and a network
"""

from jaxlosses.losses.images.gram import gram_matrix as gram_matrix
from jaxlosses.losses.images.perceptual import perceptual_loss as perceptual_loss
from jaxlosses.losses.images.style_transfer import content_loss as content_loss
from jaxlosses.losses.images.style_transfer import content_style_loss as content_style_loss
from jaxlosses.losses.images.style_transfer import style_loss as style_loss
