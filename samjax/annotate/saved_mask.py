"""A mask that a person committed, and what is known of how it was made."""

import enum
from dataclasses import dataclass
from typing import Any


class Source(enum.Enum):
    """What a mask was made with; the last of several."""

    CLICKS = "clicks"
    BOX = "box"
    BRUSH = "brush"
    PROPOSAL = "proposal"
    """Of the model alone, accepted by a person."""
    CHANGED = "changed"
    """A proposal, changed by a person."""


class MaskVerdict(enum.Enum):
    """What another person says of a mask (SAM 2, section 5.1)."""

    YES = "yes"
    """Satisfactory."""
    NO = "no"
    """No object: the mask is deleted."""
    REDO = "redo"
    """An object, not well drawn: the photo goes back to the queue."""
    OPEN = "open"
    """None: an earlier verdict is withdrawn, and a mask that it deleted comes back."""


@dataclass(frozen=True, kw_only=True)
class Prompts:
    """Points and a box, in the photo's pixels, (x, y), in the order in which they were given."""

    points: tuple[tuple[float, float], ...] = ()
    labels: tuple[int, ...] = ()
    """For each point 1, foreground, or 0, background."""
    box: tuple[float, float, float, float] | None = None
    """(x0, y0, x1, y1)."""

    def as_json(self) -> dict[str, Any]:
        """Return it as the page reads and sends it."""
        return {
            "points": [list(point) for point in self.points],
            "labels": list(self.labels),
            "box": None if self.box is None else list(self.box),
        }


@dataclass(frozen=True, kw_only=True)
class Effort:
    """What a person did for a mask, besides its seconds and clicks, since the page that committed it got it."""

    since: int = 0
    """The mask's revision when the page got it, 0 for one that was made there: of an earlier commit with the same or a
    later number the effort is in this one."""

    first_seconds: float | None = None
    """To the first click, box or stroke; None where there was none."""
    boxes: int = 0
    """They are among the clicks too."""
    strokes: int = 0
    """Of the brush."""
    undos: int = 0
    decode_ms: tuple[float, ...] = ()
    """Milliseconds that the model took for each answer, previews excluded."""

    @property
    def is_none(self) -> bool:
        """Whether nothing was done: a change was undone."""
        return self == Effort(since=self.since)


@dataclass(frozen=True, kw_only=True)
class SavedMask:
    """A mask of a photo, to commit or as committed."""

    uuid: str
    """The browser's: canonical lower-case text of a UUID4."""
    runs: dict[str, Any]
    """Compressed COCO run lengths at the photo's size: `{"size": [h, w], "counts": text}`."""
    source: Source
    annotator: str
    """Who committed it, or changed it last."""
    seconds: float = 0.0
    """What the mask took in all, changes included: a commit that is sent again counts no second twice. Those of a
    commit are since the commit before, or since the photo was shown. So are `active_seconds` and `clicks`."""
    active_seconds: float = 0.0
    """`seconds` without pauses and hidden tabs."""
    clicks: int = 0
    effort: Effort | None = None
    """Goes to the events alone: a mask that is read has none."""
    model: str | None = None
    """The checkpoint that answered the prompts; None where no model took part, as with the brush alone."""
    predicted_iou: float | None = None
    """The model's, in its last answer; so is `stability_score`. Both None exactly where `model` is. SA-1B's reader
    needs numbers: there the file says 1, for a person drew it."""
    stability_score: float | None = None
    prompts: Prompts = Prompts()
    revision: int = 0
    """From 1, rising with each change; 0 before the first commit."""
    verdict: MaskVerdict | None = None
    verifier: str | None = None
    """Who gave the verdict; it is lost when the mask changes."""
    id: int | None = None
    """The annotation's id, given by the first commit and kept by all later ones."""

    def as_json(self) -> dict[str, Any]:
        """Return it as the page reads it, the routes' MASK."""
        shown = {
            "uuid": self.uuid,
            "revision": self.revision,
            "runs": self.runs,
            "source": self.source.value,
            "annotator": self.annotator,
            "seconds": self.seconds,
            "active_seconds": self.active_seconds,
            "clicks": self.clicks,
            "predicted_iou": self.predicted_iou,
            "stability_score": self.stability_score,
            "prompts": self.prompts.as_json(),
        }
        return shown | ({"verdict": self.verdict.value} if self.verdict else {})


def model_label(name: str, digest: str) -> str:
    """Return what a mask or proposal calls the model that made it: the checkpoint's name, and which weights it had."""
    return f"{name}@{digest[:12]}"
