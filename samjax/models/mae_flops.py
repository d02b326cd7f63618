"""Floating-point operations of a masked autoencoder's training step, counted from the configuration.

A multiply-add is two. Matrix products alone, as in `models.sam.flops`.
"""

from dataclasses import dataclass

from samjax.models.mae import MaeConfig
from samjax.models.vit.blocks import BlocksConfig


@dataclass(frozen=True, kw_only=True)
class MaeFlops:
    """A photo's forward pass, by part."""

    patch_embedding: int
    """Of every patch, seen or not."""
    encoder: int
    decoder: int
    """With its projections of tokens and to pixels."""

    @property
    def forward(self) -> int:
        """FLOP of the forward pass."""
        return self.patch_embedding + self.encoder + self.decoder

    @property
    def training(self) -> int:
        """FLOP of forward and backward passes, without anything computed twice to save memory."""
        return 3 * self.forward


def mae_flops(config: MaeConfig) -> MaeFlops:
    """Return what a photo costs."""
    encoder, width = config.encoder, config.decoder.width
    pixels, own = 3 * encoder.patch**2, encoder.extra_tokens
    seen, all_tokens = config.visible + own, config.tokens + own
    projections = seen * encoder.width * width + all_tokens * width * pixels
    return MaeFlops(
        patch_embedding=2 * config.tokens * pixels * encoder.width,
        encoder=2 * _blocks(encoder, seen),
        decoder=2 * (projections + _blocks(config.decoder_blocks, all_tokens)),
    )


def _blocks(config: BlocksConfig, tokens: int) -> int:
    """Multiply-adds of all blocks on a sequence: projections, MLP, scores and weighted sums."""
    dense = (4 + 2 * config.mlp_ratio) * tokens * config.width**2
    return config.depth * (dense + 2 * tokens**2 * config.width)
