"""SegFormer's published models (Xie et al. 2021)."""

from dataclasses import replace
from typing import Any, TypeVar

from samjax.models.heads.all_mlp import AllMlpConfig
from samjax.models.pyramid.pyramid import PyramidConfig

T = TypeVar("T")


class SegFormerSizes:
    """SegFormer B0 to B5 as trained on ADE20K: a frame of 512 pixels, 640 for B5; `changes` to any field."""

    @classmethod
    def segformer_b0(cls: type[T], *, classes: int = 150, **changes) -> T:
        """B0: 3,752,694 parameters with 150 classes."""
        return _segformer(cls, PyramidConfig.mit_b0(drop_path=0.1), 256, {"classes": classes, **changes})

    @classmethod
    def segformer_b1(cls: type[T], *, classes: int = 150, **changes) -> T:
        """B1: 13,715,798 parameters."""
        return _segformer(cls, PyramidConfig.mit_b1(drop_path=0.1), 256, {"classes": classes, **changes})

    @classmethod
    def segformer_b2(cls: type[T], *, classes: int = 150, **changes) -> T:
        """B2: 27,461,974 parameters."""
        return _segformer(cls, PyramidConfig.mit_b2(drop_path=0.1), 768, {"classes": classes, **changes})

    @classmethod
    def segformer_b3(cls: type[T], *, classes: int = 150, **changes) -> T:
        """B3: 47,337,814 parameters."""
        return _segformer(cls, PyramidConfig.mit_b3(drop_path=0.1), 768, {"classes": classes, **changes})

    @classmethod
    def segformer_b4(cls: type[T], *, classes: int = 150, **changes) -> T:
        """B4: 64,108,374 parameters."""
        return _segformer(cls, PyramidConfig.mit_b4(drop_path=0.1), 768, {"classes": classes, **changes})

    @classmethod
    def segformer_b5(cls: type[T], *, classes: int = 150, **changes) -> T:
        """B5: 84,708,694 parameters."""
        large = {"image_size": (640, 640), "classes": classes, **changes}
        return _segformer(cls, PyramidConfig.mit_b5(drop_path=0.1), 768, large)


def _segformer(cls: Any, encoder: PyramidConfig, width: int, changes: dict[str, Any]) -> Any:
    return replace(cls(encoder=encoder, head=AllMlpConfig(width=width)), **changes)
