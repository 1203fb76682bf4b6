"""Losses between images, measured on the feature maps of a network: perceptual, content and style losses."""

from jaxlosses.losses.images.gram import gram_matrix as gram_matrix
from jaxlosses.losses.images.perceptual import content_loss as content_loss
from jaxlosses.losses.images.perceptual import content_style_loss as content_style_loss
from jaxlosses.losses.images.perceptual import perceptual_loss as perceptual_loss
from jaxlosses.losses.images.perceptual import style_loss as style_loss
