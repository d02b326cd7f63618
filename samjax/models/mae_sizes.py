"""The masked autoencoders that the paper published, by name."""

from samjax.models.mae import MaeConfig

PUBLISHED = {"ViT-B": MaeConfig.vit_b(), "ViT-L": MaeConfig.vit_l(), "ViT-H": MaeConfig.vit_h()}
"""He et al. 2022, section 4 and appendix A."""


def size_name(config: MaeConfig) -> str:
    """Return `ViT-B`, or what a model's encoder measures."""
    encoder = config.encoder
    for name, published in PUBLISHED.items():
        one = published.encoder
        if (encoder.width, encoder.depth, encoder.heads) == (one.width, one.depth, one.heads):
            return name
    return f"ViT of {encoder.depth} blocks, width {encoder.width}, {encoder.heads} heads"
