"""The models that the paper published, by name."""

from samjax.models.sam.sam import SamConfig

PUBLISHED = {"ViT-B": SamConfig.vit_b(), "ViT-L": SamConfig.vit_l(), "ViT-H": SamConfig.vit_h()}
"""Segment Anything, section 3 and appendix A."""


def size_name(config: SamConfig) -> str:
    """Return `ViT-B`, or what a model's image encoder measures."""
    return config.image_encoder.name_among({name: one.image_encoder for name, one in PUBLISHED.items()})
