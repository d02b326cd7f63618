"""HRFormer with OCR: the authors' files, and the backbone alone of their classifiers."""

import re
from collections.abc import Iterable

from samjax.core.errors import UserError
from samjax.interop.array_shapes import Shapes
from samjax.interop.family import Family, Reading, Source
from samjax.interop.mapping import Naming, Row, move_rows
from samjax.interop.tables import hrnet_rows as hrnet
from samjax.interop.tables.dense_reading import beyond_pixels, frame_note, reading, used_part
from samjax.interop.tables.ocr_rows import ocr_rows
from samjax.models.dense_prediction.dense_model import DenseConfig
from samjax.models.heads.ocr import OcrConfig
from samjax.models.hrnet.hrnet import HrnetConfig
from samjax.models.hrnet.hrnet_sizes import BranchBlock, Fuse

AUTHORS, AUTHORS_ENCODER = "hrformer", "hrformer-encoder"
"""Names of the layouts."""
PUBLISHED = {size: getattr(HrnetConfig, f"hrformer_{size.lower()}")() for size in ("T", "S", "B")}
FRAME = DenseConfig.hrformer_s().image_size
_PREFIXES = {AUTHORS: "backbone.", AUTHORS_ENCODER: ""}
_LAST = "encoder/stages/2/modules/0/branches"
"""Branches of the last stage, of which there are four."""
_SIGNS = ("encoder/stem/0/conv/kernel", f"{_LAST}/3/0/norm1/scale")
_PROBE = DenseConfig.hrformer_s()


def hrformer_rows(config: DenseConfig) -> tuple[Row, ...]:
    """Return the rows of a model, whose paths begin with `encoder` and `head`; which there are depends on its sizes."""
    rows: list[Row] = []
    for layout, start in _PREFIXES.items():
        own = hrnet.hrnet_rows(config.encoder, prefixes={hrnet.AUTHORS: start})  # type: ignore[arg-type]
        rows += move_rows(own, "encoder/", {layout: hrnet.AUTHORS})
    if isinstance(config.head, OcrConfig):
        rows += move_rows(ocr_rows(config.head, prefixes={AUTHORS: ""}), "head/", {AUTHORS: AUTHORS})
    return tuple(rows)


def _read(source: Source) -> Reading:
    used = used_part(source)
    shapes = Shapes(used.arrays, used.naming, hrformer_rows(_PROBE))
    encoder = _encoder(shapes, _PREFIXES[used.naming.name])
    size = source.image_size or FRAME
    if source.naming.part:
        config = DenseConfig(image_size=size, encoder=encoder, head=OcrConfig(), dtype="float32")
        return reading(HRFORMER, source, config, *frame_note(source, FRAME))
    auxiliary_width, _, _, auxiliary_kernel = shapes.of("head/auxiliary/conv/kernel", axes=4)
    head = OcrConfig(
        width=shapes.of("head/project/conv/kernel", axes=4)[0],
        key_width=shapes.of("head/attention/query/0/conv/kernel", axes=4)[0],
        auxiliary_width=auxiliary_width,
        auxiliary_kernel=auxiliary_kernel,
        attention_bias=shapes.has("head/attention/query/0/conv/bias"),
    )
    classes = shapes.of("head/classify/kernel", axes=4)[0]
    config = DenseConfig(image_size=size, classes=classes, encoder=encoder, head=head, dtype="float32")
    return reading(HRFORMER, source, config, *frame_note(source, FRAME))


def _encoder(shapes: Shapes, start: str) -> HrnetConfig:
    def count(pattern: str) -> int:
        """Return how many there are of what the number in a key counts."""
        expression = re.compile(re.escape(start) + pattern)
        return _highest(int(match[1]) for key in shapes.arrays if (match := expression.match(key))) + 1

    tables = [shapes.of(f"{_LAST}/{branch}/0/attention/offsets", axes=2) for branch in range(4)]
    sides = {round(rows**0.5) for rows, _ in tables}
    side = max(sides)
    if len(sides) > 1 or any(rows != side**2 for rows, _ in tables) or side % 2 == 0:
        key = shapes.key(f"{_LAST}/0/0/attention/offsets")
        raise UserError(f"{key} has biases of {tables[0][0]} offsets, which are of no square window")
    widths = tuple(shapes.of(f"{_LAST}/{branch}/0/norm1/scale", axes=1)[0] for branch in range(4))
    hidden, width, *_ = shapes.of(f"{_LAST}/0/0/mlp/up/conv/kernel", axes=4)
    return HrnetConfig(
        widths=widths,  # type: ignore[arg-type]
        bottlenecks=count(r"layer1\.(\d+)\."),
        modules=tuple(count(rf"stage{stage}\.(\d+)\.") for stage in (2, 3, 4)),  # type: ignore[arg-type]
        blocks=count(r"stage4\.0\.branches\.0\.(\d+)\."),
        heads=tuple(heads for _, heads in tables),  # type: ignore[arg-type]
        window=(side + 1) // 2,
        mlp_ratio=hidden // width,
    )


def _highest(numbers: Iterable[int]) -> int:
    return max(numbers, default=0)


def _holds(config: DenseConfig) -> bool:
    encoder = config.encoder
    if not isinstance(encoder, HrnetConfig) or not isinstance(config.head, OcrConfig):
        return False
    return (encoder.block, encoder.fuse) == (BranchBlock.TRANSFORMER, Fuse.DEPTHWISE)


def size_name(config: DenseConfig) -> str:
    """Return `B with windows of 7`, or the widths of a model's branches."""
    encoder = config.encoder
    assert isinstance(encoder, HrnetConfig)
    for name, one in PUBLISHED.items():
        if (encoder.widths, encoder.modules) == (one.widths, one.modules):
            return f"{name} with windows of {encoder.window}"
    return f"of widths {' '.join(map(str, encoder.widths))} with windows of {encoder.window}"


WHOLE = Naming(
    name=AUTHORS, title="HRFormer's authors", signs=(*_SIGNS, "head/classify/kernel"), unused_patterns=hrnet.UNUSED
)
ENCODER = Naming(
    name=AUTHORS_ENCODER,
    title="the classifiers of HRFormer's authors",
    signs=_SIGNS,
    part="the backbone",
    unused_patterns=(*hrnet.UNUSED, "classifier.*"),
)

HRFORMER = Family(
    name="HRFormer",
    config=DenseConfig,
    namings=(WHOLE, ENCODER),
    rows=hrformer_rows,
    stacks=lambda config: {},
    read=_read,
    size=size_name,
    sample=_PROBE,
    holds=_holds,
    beyond=beyond_pixels,
)
