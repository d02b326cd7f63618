"""SETR's published models (Zheng et al. 2021): the authors', and mmsegmentation's of the same names."""

from dataclasses import replace
from typing import Any, TypeVar

from samjax.models.heads.head import HeadConfig
from samjax.models.heads.mla import MlaConfig
from samjax.models.heads.progressive import ProgressiveConfig
from samjax.models.vit.tapped_vit import TappedVitConfig

T = TypeVar("T")


class SetrSizes:
    """SETR as trained on ADE20K, with crops of 512 pixels; Cityscapes has `image_size=(768, 768), classes=19`.

    Counts are of the authors' models with 150 classes, without auxiliary heads. Every method takes:

    Args:
      classes: channels of the logits.
      auxiliary: whether there are the heads that trained with the model and that nothing else needs.
      mmsegmentation: whether it is mmsegmentation's network, which differs: patches have no bias; neither have PUP's
        and Naive's convolutions; Naive's logits are enlarged in two steps; MLA is as `MlaConfig` says; and auxiliary
        heads are as those of its models for ADE20K.
      changes: to any field.
    """

    @classmethod
    def setr_naive(
        cls: type[T], *, classes: int = 150, auxiliary: bool = True, mmsegmentation: bool = False, **changes
    ) -> T:
        """ViT-L with the Naive head: 304,450,966 parameters."""
        head = ProgressiveConfig.naive(auxiliary=auxiliary)
        if mmsegmentation:
            head = replace(head, use_bias=False, factors=(4,), auxiliary_factors=(4, 4))
        encoder = _vit_l((9, 14, 19) if auxiliary else (), patch_bias=not mmsegmentation)
        return _setr(cls, encoder, head, {"classes": classes, **changes})

    @classmethod
    def setr_naive_base(cls: type[T], *, classes: int = 150, auxiliary: bool = True, **changes) -> T:
        """ViT-B with the Naive head: 86,670,486 parameters. The authors published it for Cityscapes."""
        encoder = TappedVitConfig(taps=(2, 5, 8) if auxiliary else (), map_norms=True)
        return _setr(cls, encoder, ProgressiveConfig.naive(auxiliary=auxiliary), {"classes": classes, **changes})

    @classmethod
    def setr_pup(
        cls: type[T], *, classes: int = 150, auxiliary: bool = True, mmsegmentation: bool = False, **changes
    ) -> T:
        """ViT-L with progressive upsampling: 308,319,894 parameters."""
        head, taps = ProgressiveConfig(auxiliary=auxiliary), (9, 14, 19, 23)
        if mmsegmentation:
            head, taps = replace(head, use_bias=False, auxiliary_factors=(4, 4)), (9, 14, 19)
        encoder = _vit_l(taps if auxiliary else (), patch_bias=not mmsegmentation)
        return _setr(cls, encoder, head, {"classes": classes, **changes})

    @classmethod
    def setr_mla(
        cls: type[T], *, classes: int = 150, auxiliary: bool = True, mmsegmentation: bool = False, **changes
    ) -> T:
        """ViT-L with multi-level aggregation: 310,028,438 parameters.

        Both published models have 2,048 more, a class token and its position, on which no output depends: it is dropped
        before the first block.
        """
        head = MlaConfig(auxiliary=auxiliary)
        if mmsegmentation:
            head = replace(head, kernel=1, deepest_first=True, align_corners=False, auxiliary_bias=True)
        encoder = _vit_l((5, 11, 17), patch_bias=not mmsegmentation, class_token=False)
        return _setr(cls, encoder, head, {"classes": classes, **changes})


def _vit_l(taps: tuple[int, ...], **changes) -> TappedVitConfig:
    return replace(TappedVitConfig(width=1024, depth=24, heads=16, taps=taps, map_norms=True), **changes)


def _setr(cls: Any, encoder: TappedVitConfig, head: HeadConfig, changes: dict[str, Any]) -> Any:
    return replace(cls(encoder=encoder, head=head), **changes)
