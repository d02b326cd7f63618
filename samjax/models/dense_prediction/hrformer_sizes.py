"""HRFormer's published models with OCR heads (Yuan et al. 2021)."""

from dataclasses import replace
from typing import Any, TypeVar

from samjax.models.heads.ocr import OcrConfig
from samjax.models.hrnet.hrnet import HrnetConfig

T = TypeVar("T")


class HrFormerSizes:
    """HRFormer with OCR: a frame of 520 pixels, as for ADE20K, Pascal-Context and COCO-Stuff; `changes` to any field.

    Cityscapes's is 512 x 1024, and HRFormer-B's drop path there 0.4: `hrformer_b(classes=19, image_size=(512, 1024),
    encoder=HrnetConfig.hrformer_b(drop_path=0.4))`.
    """

    @classmethod
    def hrformer_s(cls: type[T], *, classes: int = 150, **changes) -> T:
        """S: 13,658,262 parameters with 150 classes, 13,523,856 with Cityscapes's 19."""
        return _hrformer(cls, HrnetConfig.hrformer_s(drop_path=0.2), {"classes": classes, **changes})

    @classmethod
    def hrformer_b(cls: type[T], *, classes: int = 150, **changes) -> T:
        """B with windows of 7: 56,166,918 parameters, 56,032,512 with 19 classes."""
        return _hrformer(cls, HrnetConfig.hrformer_b(drop_path=0.2), {"classes": classes, **changes})

    @classmethod
    def hrformer_b_window13(cls: type[T], *, classes: int = 150, **changes) -> T:
        """B with windows of 13, trained on ADE20K: 56,278,182 parameters."""
        return _hrformer(cls, HrnetConfig.hrformer_b(window=13, drop_path=0.2), {"classes": classes, **changes})

    @classmethod
    def hrformer_b_window15(cls: type[T], *, classes: int = 150, **changes) -> T:
        """B with windows of 15, trained on the other data sets: 56,330,886 parameters, 56,196,480 with 19 classes."""
        return _hrformer(cls, HrnetConfig.hrformer_b(window=15, drop_path=0.2), {"classes": classes, **changes})


def _hrformer(cls: Any, encoder: HrnetConfig, changes: dict[str, Any]) -> Any:
    return replace(cls(image_size=(520, 520), encoder=encoder, head=OcrConfig()), **changes)
