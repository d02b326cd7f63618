"""The masked autoencoders that the paper published, by name."""

from samjax.models.mae import MaeConfig

PUBLISHED = {"ViT-B": MaeConfig.vit_b(), "ViT-L": MaeConfig.vit_l(), "ViT-H": MaeConfig.vit_h()}
"""He et al. 2022, section 4 and appendix A."""


def size_name(config: MaeConfig) -> str:
    """Return `ViT-B`, or what a model's encoder measures."""
    return config.encoder.name_among({name: one.encoder for name, one in PUBLISHED.items()})
