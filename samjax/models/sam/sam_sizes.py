"""The models that the paper published, by name."""

from samjax.models.sam.sam import SamConfig

PUBLISHED = {"ViT-B": SamConfig.vit_b(), "ViT-L": SamConfig.vit_l(), "ViT-H": SamConfig.vit_h()}
"""Segment Anything, section 3 and appendix A."""


def size_name(config: SamConfig) -> str:
    """Return `ViT-B`, or what a model's image encoder measures."""
    encoder = config.image_encoder
    for name, published in PUBLISHED.items():
        one = published.image_encoder
        if (encoder.width, encoder.depth, encoder.heads) == (one.width, one.depth, one.heads):
            return name
    return f"ViT of {encoder.depth} blocks, width {encoder.width}, {encoder.heads} heads"
