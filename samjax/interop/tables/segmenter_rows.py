"""Segmenter's weights: which PyTorch key of the authors' files, under `model` there, is which of our paths."""

from collections.abc import Mapping

from samjax.core.errors import UserError
from samjax.interop.axes import LINEAR, MATRIX, POSITION_ROWS
from samjax.interop.mapping import Row, Slot, plain_slots
from samjax.interop.tables.conv_norm_rows import layer_rows, norm_rows, row
from samjax.interop.tables.vit_rows import Dialect, block_rows, vit_rows
from samjax.models.dense_prediction.dense_model import DenseConfig
from samjax.models.heads.linear import LinearConfig
from samjax.models.heads.mask_transformer import MaskTransformerConfig
from samjax.models.vit.tapped_vit import TappedVitConfig

AUTHORS = "segmenter"
"""Name of the layout."""

UNUSED: Mapping[str, tuple[str, ...]] = {AUTHORS: ("encoder.head.*", "encoder.head_dist.*")}
"""Patterns of keys that files have and models do not use: the classifiers of ImageNet."""


def segmenter_slots(config: DenseConfig) -> dict[str, list[Slot]]:
    """Return the layers of every stack, by the stack's placeholder."""
    head = config.head
    decoder = {"layer": plain_slots(head.depth)} if isinstance(head, MaskTransformerConfig) else {}
    return {"block": plain_slots(_encoder(config).depth), **decoder}


def segmenter_rows(config: DenseConfig, *, prefixes: Mapping[str, str]) -> tuple[Row, ...]:
    """Return the rows of a whole model, whose paths begin with `encoder` and `head`.

    Args:
      config: which arrays there are depends on it.
      prefixes: what all keys begin with, by the name of the layout; an empty string in published files.

    Raises:
      UserError: it is no Segmenter.
    """
    encoder = _encoder(config)
    rows = vit_rows(
        "encoder/",
        {layout: (Dialect.TIMM, f"{prefix}encoder.") for layout, prefix in prefixes.items()},
        patch_bias=encoder.patch_bias,
        class_token=encoder.class_token,
        distillation_token=encoder.distillation_token,
    )
    rows += norm_rows("encoder/norms/0", "encoder.norm", prefixes)
    if isinstance(config.head, LinearConfig):
        return (*rows, *layer_rows("head/classify", "decoder.head", LINEAR, prefixes))
    if isinstance(config.head, MaskTransformerConfig):
        return (*rows, *_mask_transformer(prefixes))
    raise UserError(f"model.head is {type(config.head).__name__}; Segmenter has LinearConfig or MaskTransformerConfig")


def _encoder(config: DenseConfig) -> TappedVitConfig:
    if not isinstance(config.encoder, TappedVitConfig) or config.encoder.taps:
        raise UserError("model.encoder is not Segmenter's, which is a TappedVitConfig without taps")
    return config.encoder


def _mask_transformer(prefixes: Mapping[str, str]) -> list[Row]:
    """The last two projections are matrices that vectors are multiplied with from the left, as kernels are here."""
    blocks = {layout: (Dialect.TIMM, f"{prefix}decoder.") for layout, prefix in prefixes.items()}
    return [
        *layer_rows("head/project", "decoder.proj_dec", LINEAR, prefixes),
        row("head/class_tokens", "decoder.cls_emb", POSITION_ROWS, prefixes),
        *block_rows("head/groups/full", blocks, placeholder="layer"),
        *norm_rows("head/norm", "decoder.decoder_norm", prefixes),
        row("head/project_patches/kernel", "decoder.proj_patch", MATRIX, prefixes),
        row("head/project_classes/kernel", "decoder.proj_classes", MATRIX, prefixes),
        *norm_rows("head/class_norm", "decoder.mask_norm", prefixes),
    ]
