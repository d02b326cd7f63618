"""Models of queries, as families to the laws."""

from known_family import SYNTHETIC, KnownFamily, Size

from samjax.data.segments.photometric import PhotometricConfig
from samjax.data.segments.segment_set_data import SegmentSetDataConfig
from samjax.losses.set_loss import SetLossConfig
from samjax.models.query_masks.mask2former import Mask2FormerConfig
from samjax.models.query_masks.mask2former_sizes import Mask2FormerSizes
from samjax.models.swin.swin import SwinConfig
from samjax.tasks.set_prediction import SetPredictionTraining

MASK2FORMER_TINY = Mask2FormerConfig(
    image_size=(96, 96),
    classes=1,
    encoder=SwinConfig(width=8, depths=(2, 2, 2, 2), heads=(1, 2, 4, 8), window=4),
    decoder=Mask2FormerSizes(width=64, heads=4, pixel_layers=1, pixel_hidden=32, layers=3, hidden=32, queries=6),
    dtype="float32",
)


def set_prediction() -> SetPredictionTraining:
    """Four photos a step, every mask a thing."""
    return SetPredictionTraining(
        model=MASK2FORMER_TINY,
        data=SegmentSetDataConfig(
            source=SYNTHETIC, of_masks=True, slots=6, fit=(96, 96), photometric=PhotometricConfig(probability=0.0)
        ),
        loss=SetLossConfig(points=1024),  # of fewer, small segments see none, and which query is theirs is a tie
        steps=6,
        batch_size=4,
    )


def _size(config: Mask2FormerConfig, parameters: int, *, golden: bool = False) -> Size:
    """Return a published size; transformers counts the norm of its Swin too, which is not used."""
    return Size(config=config, parameters={"": parameters - 2 * config.encoder.channels[-1]}, golden=golden)


SETS: tuple[KnownFamily, ...] = (
    KnownFamily(
        name="mask2former",
        tiny=MASK2FORMER_TINY,
        sizes={
            "swin_t": _size(Mask2FormerConfig.swin_t(), 47_436_800, golden=True),
            "swin_s": _size(Mask2FormerConfig.swin_s(), 68_754_704),
            "swin_b": _size(Mask2FormerConfig.swin_b(), 106_919_870),
            "swin_l": _size(Mask2FormerConfig.swin_l(), 215_538_682),
        },
        from_input=("encoder/stages/0/patches/*", "encoder/stages/0/pairs/tiled/*", "pixel_decoder/*"),
        undecayed=("*/attention/offsets", "decoder/queries", "decoder/position", "*decoder/level"),
        zero_kernels=("pixel_decoder/layers/attention/offsets/*", "pixel_decoder/layers/attention/weights/*"),
        training=set_prediction,
        parity=(
            "tests/parity/test_mask2former_queries.py::test_what_every_layer_says",
            "tests/parity/test_set_loss.py::test_losses_and_gradients",
        ),
    ),
)
