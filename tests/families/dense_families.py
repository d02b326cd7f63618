"""The systems of dense prediction, each a family to the laws: one config class, but tables of weights of their own."""

import dataclasses

from helpers.tiny_dense import tiny_dense
from known_family import SYNTHETIC, KnownFamily, Size

from samjax.data.segments.photometric import PhotometricConfig
from samjax.data.segments.segment_data import SegmentDataConfig
from samjax.interop.tables import dpt_rows, pvt, segmenter_rows, setr_rows
from samjax.interop.tables.dpt_family import DPT
from samjax.interop.tables.hrformer import HRFORMER
from samjax.interop.tables.pvt import PVT
from samjax.interop.tables.segformer import SEGFORMER
from samjax.interop.tables.segformer_rows import HUB
from samjax.interop.tables.segmenter import SEGMENTER
from samjax.interop.tables.setr import SETR
from samjax.losses.pixel_cross_entropy import PixelLossConfig
from samjax.models.dense_prediction.dense_model import DenseConfig
from samjax.models.heads.fpn import FpnConfig
from samjax.models.heads.mla import MlaConfig
from samjax.models.heads.ocr import OcrConfig
from samjax.models.hrnet.hrnet import HrnetConfig
from samjax.models.pyramid.pyramid import PyramidConfig
from samjax.models.resnet import ResNetConfig
from samjax.models.vit.dpt_vit import DptVitConfig
from samjax.models.vit.tapped_vit import TappedVitConfig
from samjax.nn.reduction_attention import Reduction
from samjax.tasks.semantic import SemanticTraining


def semantic(model: DenseConfig):
    """Return what makes a run of four photos a step: object or not, and for some heads a class that is nowhere."""

    def run() -> SemanticTraining:
        return SemanticTraining(
            model=dataclasses.replace(model, classes=model.head.LEAST_CLASSES),
            data=SegmentDataConfig(
                source=SYNTHETIC, of_masks=True, fit=(96, 96), photometric=PhotometricConfig(probability=0.0)
            ),
            loss=PixelLossConfig(auxiliary_weight=0.4),
            steps=6,
            batch_size=4,
        )

    return run


def _with_encoder(model: DenseConfig, **changes) -> DenseConfig:
    return dataclasses.replace(model, encoder=dataclasses.replace(model.encoder, **changes))


def _small_vit(published: DenseConfig, **changes) -> DenseConfig:
    """Return a published model with four narrow blocks, all tapped where the published one taps four."""
    assert isinstance(published.encoder, TappedVitConfig)
    taps = tuple(range(len(published.encoder.taps)))
    small = dataclasses.replace(published.encoder, width=128, depth=4, heads=2, taps=taps, drop_path=0.0)
    return dataclasses.replace(published, image_size=(64, 64), encoder=small, dtype="float32", **changes)


SEGFORMER_TINY = tiny_dense(classes=2)
SETR_TINY = _small_vit(DenseConfig.setr_mla(classes=2), head=MlaConfig(width=16, level_width=8, auxiliary=True))
SEGMENTER_TINY = _small_vit(DenseConfig.segmenter_b16(classes=3))
_FPN = FpnConfig(pyramid_width=16, width=8)
PVT_TINY = tiny_dense(
    classes=2,
    encoder=PyramidConfig.pvt_v2_b1(widths=(4, 8, 10, 16), depths=(1, 2, 1, 1)),
    head=_FPN,
)


def _small_dpt(published: DenseConfig, **changes) -> DenseConfig:
    """Return a published model with four narrow blocks."""
    assert isinstance(published.encoder, DptVitConfig)
    taps = (0, 1, 2, 3) if published.encoder.resnet is None else (2, 3)
    resnet = published.encoder.resnet and ResNetConfig(stem=32, widths=(128, 128, 128), depths=(1, 2, 1))
    small = dataclasses.replace(
        published.encoder, width=128, depth=4, heads=2, taps=taps, table_size=(64, 64), resnet=resnet
    )
    widths = tuple(width and 8 for width in published.head.map_widths)  # type: ignore[attr-defined]
    head = dataclasses.replace(published.head, width=8, map_widths=widths)  # type: ignore[call-arg]
    return dataclasses.replace(published, image_size=(64, 64), encoder=small, head=head, dtype="float32", **changes)


DPT_TINY = _small_dpt(DenseConfig.dpt_large_segmentation(classes=2))
DPT_KINDS = (
    _small_dpt(DenseConfig.dpt_large_depth()),
    _small_dpt(DenseConfig.dpt_hybrid_depth()),
    _small_dpt(DenseConfig.dpt_hybrid_segmentation(classes=2)),
)
PVT_LINEAR = _with_encoder(PVT_TINY, reduction=Reduction.POOL)
PVT_V1 = _with_encoder(PVT_TINY, overlapping=False, table_size=(64, 64))
HRFORMER_TINY = tiny_dense(
    classes=2,
    encoder=HrnetConfig(widths=(4, 8, 8, 16), modules=(1, 1, 1), heads=(1, 2, 2, 4), blocks=1, mlp_ratio=2, window=3),
    head=OcrConfig(width=8, key_width=4, auxiliary_width=8),
)

DENSE: tuple[KnownFamily, ...] = (
    KnownFamily(
        name="segformer",
        tiny=SEGFORMER_TINY,
        sizes={
            "b0": Size(
                config=DenseConfig.segformer_b0(), parameters={"": 3_752_694, "encoder": 3_319_392}, golden=True
            ),
            "b5": Size(config=DenseConfig.segformer_b5(), parameters={"": 84_708_694, "encoder": 81_443_008}),
        },
        from_input=("encoder/stages/0/patches/*", "encoder/stages/3/blocks/*", "head/*"),
        training=semantic(SEGFORMER_TINY),
        begins_with=("mae",),
        parity=(
            "tests/parity/test_pyramid_maps.py::test_every_map",
            "tests/parity/test_all_mlp.py::test_logits_gradients_and_statistics",
        ),
        exchange=SEGFORMER,
        exchanged={HUB: (_with_encoder(SEGFORMER_TINY, epsilon=1e-5),)},
        import_options={"image_size": SEGFORMER_TINY.image_size},
    ),
    KnownFamily(
        name="setr",
        tiny=SETR_TINY,
        sizes={
            "naive_base": Size(config=DenseConfig.setr_naive_base(auxiliary=False), parameters={"": 86_670_486}),
            "mla": Size(config=DenseConfig.setr_mla(auxiliary=False), parameters={"": 310_028_438}),
        },
        from_input=("encoder/patch_embed/*", "encoder/groups/*", "head/*"),
        undecayed=("encoder/position",),
        training=semantic(SETR_TINY),
        begins_with=("mae",),
        parity=(
            "tests/parity/test_dense_goldens.py::test_setr",
            "tests/parity/test_setr_authors.py::test_logits",
        ),
        exchange=SETR,
        exchanged={
            setr_rows.AUTHORS: (
                SETR_TINY,
                *(_small_vit(getattr(DenseConfig, f"setr_{kind}")(classes=2)) for kind in ("naive", "pup")),
                _small_vit(DenseConfig.setr_pup(classes=2, auxiliary=False)),
            ),
            setr_rows.MMSEGMENTATION: tuple(
                _small_vit(getattr(DenseConfig, f"setr_{kind}")(classes=2, mmsegmentation=True))
                for kind in ("naive", "pup", "mla")
            ),
        },
        costly=True,
    ),
    KnownFamily(
        name="segmenter",
        tiny=SEGMENTER_TINY,
        sizes={
            "t16": Size(config=DenseConfig.segmenter_t16(), parameters={"": 6_713_388}),
            "l16": Size(config=DenseConfig.segmenter_l16(), parameters={"": 333_234_476}),
        },
        from_input=("encoder/patch_embed/*", "encoder/groups/*", "head/*"),
        undecayed=("encoder/position",),
        training=semantic(SEGMENTER_TINY),
        begins_with=("mae",),
        parity=(
            "tests/parity/test_dense_goldens.py::test_segmenter",
            "tests/parity/test_segmenter_authors.py::test_logits",
        ),
        exchange=SEGMENTER,
        exchanged={
            segmenter_rows.AUTHORS: (
                SEGMENTER_TINY,
                _small_vit(DenseConfig.segmenter_b8(classes=2, linear=True)),
                _small_vit(DenseConfig.segmenter_deit_b16(classes=2)),
            )
        },
        costly=True,
    ),
    KnownFamily(
        name="pvt",
        tiny=PVT_TINY,
        sizes={
            "tiny": Size(config=DenseConfig.pvt_tiny_fpn(), parameters={"": 16_980_886}),
            "v2_b5": Size(config=DenseConfig.pvt_v2_b5_fpn(), parameters={"": 85_709_654}),
        },
        from_input=("encoder/stages/0/patches/*", "encoder/stages/3/blocks/*", "head/*"),
        training=semantic(PVT_TINY),
        begins_with=("mae",),
        parity=("tests/parity/test_pyramid_maps.py::test_every_map",),
        exchange=PVT,
        exchanged={
            pvt.AUTHORS: (PVT_TINY, PVT_V1, PVT_LINEAR),
            pvt.AUTHORS_ENCODER: (PVT_TINY, PVT_V1),
            pvt.HUB_ENCODER: (PVT_V1,),
            pvt.HUB_V2_ENCODER: (PVT_TINY, PVT_LINEAR),
        },
        import_options={"image_size": PVT_TINY.image_size},
        costly=True,
    ),
    KnownFamily(
        name="dpt",
        tiny=DPT_TINY,
        sizes={
            "hybrid_depth": Size(config=DenseConfig.dpt_hybrid_depth(), parameters={"": 121_196_289}),
            "large_segmentation": Size(config=DenseConfig.dpt_large_segmentation(), parameters={"": 342_777_644}),
        },
        from_input=("encoder/vit/patch_embed/*", "encoder/vit/groups/*", "encoder/readouts/*", "head/*"),
        undecayed=("encoder/vit/position",),
        training=semantic(DPT_TINY),
        begins_with=("mae",),
        parity=(
            "tests/parity/test_dpt_answers.py::test_whole_models",
            "tests/parity/test_dpt_answers.py::test_depth",
        ),
        exchange=DPT,
        exchanged={
            dpt_rows.AUTHORS: (DPT_TINY, *DPT_KINDS),
            dpt_rows.HUB: tuple(_with_encoder(one, epsilon=1e-12) for one in (DPT_TINY, *DPT_KINDS)),
        },
        import_options={"image_size": DPT_TINY.image_size},
        costly=True,
    ),
    KnownFamily(
        name="hrformer",
        tiny=HRFORMER_TINY,
        sizes={
            "s": Size(config=DenseConfig.hrformer_s(), parameters={"": 13_658_262, "encoder": 7_891_050}),
        },
        from_input=("encoder/stem/*", "encoder/stages/2/modules/0/branches/*", "head/*"),
        undecayed=("*/attention/offsets",),
        training=semantic(HRFORMER_TINY),
        begins_with=("mae",),
        parity=(
            "tests/parity/test_hrformer_authors.py::test_maps",
            "tests/parity/test_hrformer_authors.py::test_logits",
        ),
        exchange=HRFORMER,
        import_options={"image_size": HRFORMER_TINY.image_size},
        # Weights that differ by 1e-7 have gradients that differ by 7e-4, and by up to 6e-2 in larger frames: rectifiers
        # behind batch norms. tests/parity/test_hrformer_authors.py compares gradients with the authors'.
        jumps=True,
        costly=True,
    ),
)
