"""Options of commands that classify the pixels of photos."""

import argparse
from typing import TYPE_CHECKING

from samjax.cli.arguments import real_number, whole_number
from samjax.predict.semantic.semantic_config import SCALE

if TYPE_CHECKING:
    from samjax.predict.semantic.semantic_config import SemanticPredictionConfig


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add how photos are shown to the model."""
    group = parser.add_argument_group("how photos are shown to the model")
    group.add_argument(
        "--windows",
        choices=("whole", "sliding"),
        help="the whole photo at once, or windows of the model's frame whose logits are averaged (default: whole where "
        "the model takes any size)",
    )
    group.add_argument(
        "--stride",
        type=whole_number("--stride"),
        metavar="N",
        help="pixels from one sliding window to the next (default: two thirds of the window)",
    )
    group.add_argument(
        "--fit",
        type=whole_number("--fit"),
        nargs=2,
        metavar=("LONGEST", "SHORTEST"),
        help="scale photos to fit these sides (default: the shortest side is the model's frame)",
    )
    group.add_argument(
        "--scales",
        type=real_number("--scales", SCALE),
        nargs="+",
        default=[1.0],
        metavar="S",
        help="factors of that size, over which probabilities are averaged: 0.5 0.75 1 1.25 1.5 1.75 is usual",
    )
    group.add_argument("--flip", action="store_true", help="also classify the mirrored photo at each scale")


def prediction_config(known: argparse.Namespace) -> "SemanticPredictionConfig":
    """Return what the options say."""
    from samjax.predict.semantic.semantic_config import SemanticPredictionConfig, Windows

    return SemanticPredictionConfig(
        windows=None if known.windows is None else Windows(known.windows),
        stride=known.stride,
        fit=None if known.fit is None else tuple(known.fit),
        scales=tuple(known.scales),
        flip=known.flip,
    )
