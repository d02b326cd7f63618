"""Segmenter's published models (Strudel et al. 2021)."""

from dataclasses import replace
from typing import Any, TypeVar

from samjax.models.heads.linear import LinearConfig
from samjax.models.heads.mask_transformer import MaskTransformerConfig
from samjax.models.vit.tapped_vit import TappedVitConfig
from samjax.nn.pixels import PixelStatistics

T = TypeVar("T")


class SegmenterSizes:
    """Segmenter as trained on ADE20K: a frame of 512 pixels, 640 for L/16.

    Counts are with 150 classes, of the mask transformer and of the linear head. Every method takes:

    Args:
      classes: channels of the logits.
      linear: whether the head is the linear one.
      changes: to any field.
    """

    @classmethod
    def segmenter_t16(cls: type[T], *, classes: int = 150, linear: bool = False, **changes) -> T:
        """T/16: 6,713,388 parameters, 5,712,342 with the linear head."""
        return _segmenter(cls, {"width": 192, "heads": 3}, linear, {"classes": classes, **changes})

    @classmethod
    def segmenter_s16(cls: type[T], *, classes: int = 150, linear: bool = False, **changes) -> T:
        """S/16: 26,033,964 parameters, 22,041,366."""
        return _segmenter(cls, {"width": 384, "heads": 6}, linear, {"classes": classes, **changes})

    @classmethod
    def segmenter_b16(cls: type[T], *, classes: int = 150, linear: bool = False, **changes) -> T:
        """B/16: 102,497,580 parameters, 86,549,910."""
        return _segmenter(cls, {}, linear, {"classes": classes, **changes})

    @classmethod
    def segmenter_b8(cls: type[T], *, classes: int = 150, linear: bool = False, **changes) -> T:
        """B/8: 104,414,508 parameters, 88,466,838."""
        return _segmenter(cls, {"patch": 8}, linear, {"classes": classes, **changes})

    @classmethod
    def segmenter_l16(cls: type[T], *, classes: int = 150, linear: bool = False, **changes) -> T:
        """L/16: 333,234,476 parameters, 304,893,078."""
        large = {"image_size": (640, 640), "classes": classes, **changes}
        return _segmenter(cls, {"width": 1024, "depth": 24, "heads": 16}, linear, large)

    @classmethod
    def segmenter_deit_b16(cls: type[T], *, classes: int = 150, linear: bool = False, **changes) -> T:
        """B/16 of DeiT, which was distilled and has a second learned token: 102,499,116 parameters, 86,551,446.

        Its photos have ImageNet's statistics.
        """
        deit = {"pixel_statistics": PixelStatistics.IMAGENET, "classes": classes, **changes}
        return _segmenter(cls, {"distillation_token": True}, linear, deit)


def _segmenter(cls: Any, sizes: dict[str, Any], linear: bool, changes: dict[str, Any]) -> Any:
    encoder = TappedVitConfig(**sizes, map_norms=True, epsilon=1e-5, drop_path=0.1)
    head = LinearConfig() if linear else MaskTransformerConfig()
    return replace(cls(encoder=encoder, head=head, pixel_statistics=PixelStatistics.HALF), **changes)
