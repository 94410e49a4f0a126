"""Losses: CenterNet's (Section 2.1; Zhou et al., Objects as Points), and the classifier's (Section 4.1).

In single precision whatever the context: in half, a map's sum passes 65,504, and 0.9998 is a centre.
"""

import nnabla as nn
import nnabla.functions as F  # noqa: N812

from ..kernels import FocalLoss
from ..precision import single_precision


@single_precision()
def focal_loss(logits, heatmap):
    """Penalty-reduced focal loss, α = 2 and β = 4, over the number of centres (at least 1).

    Args:
        logits, heatmap: (B, classes, h, w), before the sigmoid and as encoded from the boxes.
    """
    if nn.get_current_context().backend[0].startswith("cpu"):
        return FocalLoss()(logits, heatmap)
    return focal_loss_of_functions(logits, heatmap)


def focal_loss_of_functions(logits, heatmap):
    """The same by NNabla's functions, in the current context."""
    centres = F.equal_scalar(heatmap, 1.0)
    probability = F.sigmoid(logits)
    log_p = F.log_sigmoid(logits)  # of the logits, so that nothing needs clamping
    log_q = log_p - logits
    positive = centres * (1.0 - probability) ** 2 * log_p
    negative = (1.0 - centres) * (1.0 - heatmap) ** 4 * probability**2 * log_q
    return F.sum(positive + negative) * -1.0 / F.maximum_scalar(F.sum(centres), 1.0)


@single_precision()
def centre_l1_loss(prediction, target, index, mask):
    """L1 at the objects' centres over the number of values, 2 · objects + 1e-4; 0 without objects.

    Args:
        prediction: (B, 2, h, w) map.
        target: (B, M, 2) values. index: (B, M) cells y·w + x. mask: (B, M), 1 where there is an object.
    """
    batch, channels = prediction.shape[:2]
    cells = F.transpose(F.reshape(prediction, (batch, channels, -1)), (0, 2, 1))
    gathered = F.gather(cells, index, axis=1, batch_dims=1)
    mask = F.reshape(mask, (*mask.shape, 1))
    return F.sum(F.absolute_error(gathered, target) * mask) / (F.sum(mask) * channels + 1e-4)


@single_precision()
def cross_entropy(logits, wanted):
    """Mean over the batch of the cross entropy from `wanted` (B, classes), which sums to 1, to softmax(logits)."""
    return F.mean(F.sum(wanted * F.log_softmax(logits), axis=1)) * -1.0
