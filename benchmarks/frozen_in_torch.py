"""What a plain PyTorch loop trains of `SamModel`: everything, the decoder, or that and adapters written by hand."""

import math

import torch
import transformers
from torch import nn

RANK, ALPHA = 8, 16.0


class Adapter(nn.Module):
    """A dense layer W, frozen, plus alpha / rank * A B (Hu et al. 2021), without making the sum of the two kernels."""

    def __init__(self, dense: nn.Linear):
        super().__init__()
        self.dense = dense
        self.down = nn.Parameter(torch.randn(dense.in_features, RANK) / math.sqrt(dense.in_features))
        self.up = nn.Parameter(torch.zeros(RANK, dense.out_features))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.dense(x) + (ALPHA / RANK) * (x @ self.down @ self.up)


def freeze(model: transformers.SamModel, *, trains: str) -> list[nn.Parameter]:
    """Freeze what is not trained, add adapters to the encoder where it says so, and return what is trained."""
    if trains == "everything":
        return list(model.parameters())
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    for part in (model.mask_decoder, model.prompt_encoder):
        for name, parameter in part.named_parameters():
            parameter.requires_grad_("shared_embedding" not in name)  # the random frequencies, which are no parameters
    if trains == "adapters":
        for layer in model.vision_encoder.layers:
            for holder, name in ((layer.attn, "qkv"), (layer.attn, "proj"), (layer.mlp, "lin1"), (layer.mlp, "lin2")):
                setattr(holder, name, Adapter(getattr(holder, name)))
    return [parameter for parameter in model.parameters() if parameter.requires_grad]
