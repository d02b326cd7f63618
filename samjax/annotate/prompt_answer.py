"""The model's answer to an annotator: candidates with figures, and logits for the screen."""

import json
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float32, Int8

STEPS = 16
"""Steps of a logit on the screen: a byte is a logit times this."""
_MOST = 127


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One mask that the model offers."""

    iou: float
    """The model's estimate of its IoU with the intended object."""
    stability: float
    """The IoU of the masks at logits above 1 and above -1, on the grid of the logits: near that of the exact mask."""
    handle: str
    """Names its float32 logits on the server: to refine them, or for the exact mask."""


@dataclass(frozen=True, kw_only=True)
class Candidates:
    """Three candidates or one, by descending predicted IoU, and their logits for the screen.

    A logit is its byte / 16. The photo's pixel (x, y) lies at ((x + 0.5) * valid[1] / width - 0.5,
    (y + 0.5) * valid[0] / height - 0.5) of the grid, bilinear between its points.
    """

    candidates: tuple[Candidate, ...]
    logits: Int8[np.ndarray, "k h w"]
    """The part of the decoder's grid that the photo covers."""
    valid: tuple[float, float]
    """How many rows and columns of the grid the photo covers."""
    generation: int
    """The request's."""
    decode_ms: float
    """Milliseconds that the model took, without waiting."""

    def pack(self) -> bytes:
        """Return it as `POST /api/photos/ID/predict` answers.

        That is the length of a JSON header as a little-endian uint32, the header, and each candidate's logits row by
        row.
        """
        described: dict[str, Any] = {
            "generation": self.generation,
            "height": self.logits.shape[1],
            "width": self.logits.shape[2],
            "valid": list(self.valid),
            "candidates": [
                {"iou": one.iou, "stability": one.stability, "handle": one.handle} for one in self.candidates
            ],
            "decode_ms": round(self.decode_ms, 2),
        }
        header = json.dumps(described, separators=(",", ":"), allow_nan=False).encode()
        return len(header).to_bytes(4, "little") + header + np.ascontiguousarray(self.logits).tobytes()


@dataclass(frozen=True, kw_only=True)
class ExactMask:
    """A candidate as it is saved."""

    runs: dict[str, Any]
    """Compressed COCO run lengths at the photo's size: `{"size": [h, w], "counts": text}`."""
    iou: float
    stability: float
    """The IoU of the masks at logits above 1 and above -1, in pixels of the photo, as `samjax generate` computes it."""


def screen_logits(
    logits: Float32[np.ndarray, "k low_h low_w"], *, valid: tuple[float, float]
) -> Int8[np.ndarray, "k h w"]:
    """Return logits in steps of 1/16, between -127/16 and 127/16, of the part of the grid that the photo covers.

    That part ends at the last row and column that a pixel of the photo is made of.
    """
    height, width = (
        min(low, math.floor(covered - 0.5) + 2) for low, covered in zip(logits.shape[1:], valid, strict=True)
    )
    part = logits[:, :height, :width]
    return np.clip(np.rint(part * STEPS), -_MOST, _MOST).astype(np.int8)
