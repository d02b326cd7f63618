"""The systems of dense prediction, each a family to the laws: one config class, but tables of weights of their own."""

import dataclasses

from helpers.tiny_dense import tiny_dense
from known_family import SYNTHETIC, KnownFamily, Size

from samjax.data.segments.photometric import PhotometricConfig
from samjax.data.segments.segment_data import SegmentDataConfig
from samjax.interop.tables.segformer import HUB_EPSILON, SEGFORMER
from samjax.interop.tables.segformer_rows import HUB
from samjax.losses.pixel_cross_entropy import PixelLossConfig
from samjax.models.dense_prediction.dense_model import DenseConfig
from samjax.tasks.semantic import SemanticTraining


def semantic(model: DenseConfig):
    """Return what makes a run of four photos a step: object or not."""

    def run() -> SemanticTraining:
        return SemanticTraining(
            model=dataclasses.replace(model, classes=2),
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


SEGFORMER_TINY = tiny_dense(classes=2)

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
        parity=(
            "tests/parity/test_pyramid_maps.py::test_every_map",
            "tests/parity/test_all_mlp.py::test_logits_gradients_and_statistics",
        ),
        exchange=SEGFORMER,
        exchanged={HUB: (_with_encoder(SEGFORMER_TINY, epsilon=HUB_EPSILON),)},
        import_options={"image_size": SEGFORMER_TINY.image_size},
    ),
)
