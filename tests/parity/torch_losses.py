"""The training loss of Segment Anything in plain PyTorch, written from the paper and RECIPE, sharing no code."""

import torch
from torch.nn import functional


def mask_terms(
    logits: torch.Tensor,
    target: torch.Tensor,
    inside: torch.Tensor,
    *,
    alpha: float = 0.25,
    gamma: float = 2.0,
    smoothing: float = 1.0,
) -> tuple[torch.Tensor, ...]:
    """Return focal, dice and true IoU of each mask; logits [n k h w], target and inside [n h w] of 0 and 1."""
    target, inside = target[:, None].expand_as(logits), inside[:, None].expand_as(logits)
    probability = torch.sigmoid(logits)
    cross_entropy = functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    p_true = probability * target + (1 - probability) * (1 - target)
    weight = alpha * target + (1 - alpha) * (1 - target)
    focal = (weight * (1 - p_true) ** gamma * cross_entropy * inside).sum((2, 3)) / inside.sum((2, 3))

    overlap = (probability * target * inside).sum((2, 3))
    areas = (probability * inside).sum((2, 3)) + (target * inside).sum((2, 3))
    dice = 1 - (2 * overlap + smoothing) / (areas + smoothing)

    predicted = (logits > 0).to(logits.dtype)
    both = (predicted * target * inside).sum((2, 3))
    either = ((predicted + target).clamp(max=1) * inside).sum((2, 3))
    return focal, dice, both / either.clamp(min=1)


def object_loss(
    logits: torch.Tensor,
    estimate: torch.Tensor,
    target: torch.Tensor,
    inside: torch.Tensor,
    *,
    focal_weight: float = 20.0,
    dice_weight: float = 1.0,
    iou_weight: float = 1.0,
    alpha: float = 0.25,
) -> torch.Tensor:
    """Return each object's loss [n]: the lowest focal + dice of its k masks, and its IoU estimate's squared error."""
    logits = functional.interpolate(logits, size=target.shape[-2:], mode="bilinear", align_corners=False)
    focal, dice, iou = mask_terms(logits, target, inside, alpha=alpha)
    of_mask = focal_weight * focal + dice_weight * dice
    best = of_mask.detach().argmin(dim=1, keepdim=True)
    squared = iou_weight * (estimate - iou.detach()) ** 2
    return (of_mask.gather(1, best) + squared.gather(1, best))[:, 0]
