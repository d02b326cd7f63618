"""PVT's published models with Semantic FPN (Wang et al. 2021, 2022)."""

from dataclasses import replace
from typing import Any, TypeVar

from samjax.models.heads.fpn import FpnConfig
from samjax.models.pyramid.pyramid import PyramidConfig

T = TypeVar("T")


_TABLES = (224, 224)
"""Of PVT v1: those of the classifiers that training started from, which the authors resize for every photo."""


class PvtSizes:
    """PVT and PVT v2 with Semantic FPN as trained on ADE20K, with a frame of 512 pixels; `changes` to any field.

    The authors' counts of PVT v1 have 512 parameters more: the class token's place in the last table.
    """

    @classmethod
    def pvt_tiny_fpn(cls: type[T], **changes) -> T:
        """PVT Tiny: 16,980,886 parameters with 150 classes."""
        return _pvt(cls, PyramidConfig.pvt_tiny(drop_path=0.1, table_size=_TABLES), changes)

    @classmethod
    def pvt_small_fpn(cls: type[T], **changes) -> T:
        """PVT Small: 28,237,462."""
        return _pvt(cls, PyramidConfig.pvt_small(drop_path=0.1, table_size=_TABLES), changes)

    @classmethod
    def pvt_medium_fpn(cls: type[T], **changes) -> T:
        """PVT Medium: 47,959,702."""
        return _pvt(cls, PyramidConfig.pvt_medium(drop_path=0.1, table_size=_TABLES), changes)

    @classmethod
    def pvt_large_fpn(cls: type[T], **changes) -> T:
        """PVT Large: 65,120,918."""
        return _pvt(cls, PyramidConfig.pvt_large(drop_path=0.1, table_size=_TABLES), changes)

    @classmethod
    def pvt_v2_b0_fpn(cls: type[T], **changes) -> T:
        """PVT v2 B0: 7,545,334 parameters with 150 classes."""
        return _pvt(cls, PyramidConfig.pvt_v2_b0(drop_path=0.1), changes)

    @classmethod
    def pvt_v2_b1_fpn(cls: type[T], **changes) -> T:
        """PVT v2 B1: 17,762,646."""
        return _pvt(cls, PyramidConfig.pvt_v2_b1(drop_path=0.1), changes)

    @classmethod
    def pvt_v2_b2_fpn(cls: type[T], **changes) -> T:
        """PVT v2 B2: 29,116,502."""
        return _pvt(cls, PyramidConfig.pvt_v2_b2(drop_path=0.1), changes)

    @classmethod
    def pvt_v2_b2_li_fpn(cls: type[T], **changes) -> T:
        """PVT v2 B2-Li: 26,307,158."""
        return _pvt(cls, PyramidConfig.pvt_v2_b2_li(drop_path=0.1), changes)

    @classmethod
    def pvt_v2_b3_fpn(cls: type[T], **changes) -> T:
        """PVT v2 B3: 48,992,342."""
        return _pvt(cls, PyramidConfig.pvt_v2_b3(drop_path=0.1), changes)

    @classmethod
    def pvt_v2_b4_fpn(cls: type[T], **changes) -> T:
        """PVT v2 B4: 66,309,718."""
        return _pvt(cls, PyramidConfig.pvt_v2_b4(drop_path=0.1), changes)

    @classmethod
    def pvt_v2_b5_fpn(cls: type[T], **changes) -> T:
        """PVT v2 B5: 85,709,654."""
        return _pvt(cls, PyramidConfig.pvt_v2_b5(drop_path=0.1), changes)


def _pvt(cls: Any, encoder: PyramidConfig, changes: dict[str, Any]) -> Any:
    return replace(cls(encoder=encoder, head=FpnConfig()), **changes)
