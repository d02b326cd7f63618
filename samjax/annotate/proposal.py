"""Masks that a model proposes for a photo, and what a person did with each."""

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


class ProposalState(enum.Enum):
    """What a person did with a proposal."""

    OPEN = "open"
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    CHANGED = "changed"
    """Opened with clicks and committed with other pixels."""


@dataclass(frozen=True, kw_only=True)
class ProposalProgress:
    """What people have done with a proposal so far."""

    state: ProposalState = ProposalState.OPEN
    uuid: str | None = None
    """Of the mask that accepting it made."""
    revision: int = 0
    """How often its state has been set."""
    annotator: str | None = None
    """Who set it last."""


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """A mask of the model alone."""

    number: int
    """Its place among the photo's proposals, from 0."""
    runs: dict[str, Any]
    """Compressed COCO run lengths at the photo's size: `{"size": [h, w], "counts": text}`."""
    bbox: tuple[float, float, float, float]
    """(x, y, width, height), the last pixels inside included, as SA-1B has it."""
    predicted_iou: float
    stability_score: float
    point: tuple[float, float]
    """(x, y): the prompt that the mask is of."""
    state: ProposalState = ProposalState.OPEN
    revision: int = 0
    """How often its state has been set; 0 where nobody has touched it."""
    uuid: str | None = None
    """Of the mask that it becomes when it is accepted or changed: always the same one. None before it is stored."""

    def as_json(self) -> dict[str, Any]:
        """Return it as the page reads it, the routes' PROPOSAL."""
        return {
            "number": self.number,
            "runs": self.runs,
            "predicted_iou": self.predicted_iou,
            "stability_score": self.stability_score,
            "state": self.state.value,
            "revision": self.revision,
            "bbox": list(self.bbox),
            "uuid": self.uuid,
        }


def states_as_json(proposals: Sequence[Proposal]) -> dict[str, dict[str, Any]]:
    """Return the states of a photo's proposals, by number, as the page reads them, the routes' STATES."""
    return {str(one.number): {"state": one.state.value, "revision": one.revision} for one in proposals}
