"""Losses of bounding boxes against target boxes; `iou` has the formulas that they share.

iou_loss .. eiou_loss           1 minus a similarity                          iou_losses
focal_l1_loss                   box offsets, with bounded gradients           focal
focal_eiou_loss                 the EIoU loss, weighted by the IoU            focal
cdiou_loss                      an IoU loss and the distances of the corners  cdiou
box_iou .. box_cdiou            the similarities                              similarities
box_convert, box_sort_corners   box formats                                   formats
"""

from jaxlosses.losses.boxes.iou_losses import ciou_loss as ciou_loss
from jaxlosses.losses.boxes.iou_losses import diou_loss as diou_loss
from jaxlosses.losses.boxes.iou_losses import eiou_loss as eiou_loss
from jaxlosses.losses.boxes.iou_losses import giou_loss as giou_loss
from jaxlosses.losses.boxes.iou_losses import iou_loss as iou_loss
from jaxlosses.losses.boxes.cdiou import cdiou_loss as cdiou_loss
from jaxlosses.losses.boxes.focal import focal_eiou_loss as focal_eiou_loss
from jaxlosses.losses.boxes.focal import focal_l1_loss as focal_l1_loss
from jaxlosses.losses.boxes.similarities import box_cdiou as box_cdiou
from jaxlosses.losses.boxes.similarities import box_ciou as box_ciou
from jaxlosses.losses.boxes.similarities import box_diou as box_diou
from jaxlosses.losses.boxes.similarities import box_eiou as box_eiou
from jaxlosses.losses.boxes.similarities import box_giou as box_giou
from jaxlosses.losses.boxes.similarities import box_iou as box_iou
from jaxlosses.losses.boxes.formats import box_convert as box_convert
from jaxlosses.losses.boxes.formats import box_sort_corners as box_sort_corners
