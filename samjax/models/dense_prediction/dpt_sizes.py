"""DPT's published models (Ranftl et al. 2021)."""

from dataclasses import replace
from typing import Any, TypeVar

from samjax.models.heads.dpt import DptDepthConfig, DptSegmentationConfig
from samjax.models.resnet import ResNetConfig
from samjax.models.vit.dpt_vit import DptVitConfig
from samjax.nn.pixels import PixelStatistics

T = TypeVar("T")

LARGE = DptVitConfig(width=1024, depth=24, heads=16, taps=(5, 11, 17, 23))
HYBRID = DptVitConfig(taps=(8, 11), resnet=ResNetConfig())
BASE = DptVitConfig()
MAP_WIDTHS = {LARGE: (256, 512, 1024, 1024), HYBRID: (0, 0, 768, 768), BASE: (96, 192, 384, 768)}
"""Channels of the head's four maps."""


class DptSizes:
    """DPT-Large, -Hybrid and -Base, for inverse depth in a frame of 384 pixels, and as trained on ADE20K in one of 480.

    `changes` to any field. Photos of any sides that are multiples of 32 will do.
    """

    @classmethod
    def dpt_large_depth(cls: type[T], **changes) -> T:
        """DPT-Large for depth: 341,848,257 parameters."""
        return _depth(cls, LARGE, changes)

    @classmethod
    def dpt_hybrid_depth(cls: type[T], **changes) -> T:
        """DPT-Hybrid for depth: 121,196,289 parameters. Fine-tuned ones are in `depth_calibration`."""
        return _depth(cls, HYBRID, changes)

    @classmethod
    def dpt_base_depth(cls: type[T], **changes) -> T:
        """DPT-Base for depth, which the paper has not: 109,696,385 parameters."""
        return _depth(cls, BASE, changes)

    @classmethod
    def dpt_large_segmentation(cls: type[T], *, classes: int = 150, **changes) -> T:
        """DPT-Large for segmentation: 342,777,644 parameters with 150 classes, those of the auxiliary ones too."""
        return _segmentation(cls, LARGE, {"classes": classes, **changes})

    @classmethod
    def dpt_hybrid_segmentation(cls: type[T], *, classes: int = 150, **changes) -> T:
        """DPT-Hybrid for segmentation: 122,125,676 parameters."""
        return _segmentation(cls, HYBRID, {"classes": classes, **changes})

    @classmethod
    def dpt_base_segmentation(cls: type[T], *, classes: int = 150, **changes) -> T:
        """DPT-Base for segmentation: 110,625,772 parameters."""
        return _segmentation(cls, BASE, {"classes": classes, **changes})


def _depth(cls: Any, encoder: DptVitConfig, changes: dict[str, Any]) -> Any:
    base = cls(
        image_size=(384, 384),
        classes=1,
        pixel_statistics=PixelStatistics.HALF,
        encoder=encoder,
        head=DptDepthConfig(map_widths=MAP_WIDTHS[encoder]),
    )
    return replace(base, **changes)


def _segmentation(cls: Any, encoder: DptVitConfig, changes: dict[str, Any]) -> Any:
    base = cls(
        image_size=(480, 480),
        pixel_statistics=PixelStatistics.HALF,
        encoder=encoder,
        head=DptSegmentationConfig(map_widths=MAP_WIDTHS[encoder]),
    )
    return replace(base, **changes)
