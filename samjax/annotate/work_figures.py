"""Figures of people's work: seconds a mask, masks a photo, by source, by person and by checkpoint.

All come from the events, so they may be taken while a server writes. Segment Anything's own are in its section 4 and
appendix B: 34 falling to 14 s a mask, 20 rising to 44 masks a photo.
"""

import dataclasses
import itertools
import math
import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from samjax.annotate.annotation_folder import EVENTS
from samjax.annotate.event_log import Act, Event, read_events
from samjax.annotate.folder_about import ABOUT, local_folder, read_about
from samjax.annotate.folder_progress import FolderProgress
from samjax.annotate.proposal import ProposalState
from samjax.annotate.saved_mask import Effort, MaskVerdict, Source
from samjax.core.errors import UserError

_MOST_BINS = 20
"""Points of a curve over time."""
_FEWEST_IN_BIN = 5


@dataclass(frozen=True, kw_only=True)
class Average:
    """Of some numbers."""

    mean: float
    median: float


@dataclass(frozen=True, kw_only=True)
class MaskGroup:
    """Masks that have something in common. Times and clicks are of those that were not accepted as proposed."""

    masks: int
    share: float
    """Of all masks."""
    seconds: Average | None
    """From the commit before, or from when the photo was shown, to this one, changes included; None without masks that
    people made."""
    active_seconds: Average | None
    """Without pauses and hidden tabs."""
    clicks: Average | None


@dataclass(frozen=True, kw_only=True)
class EffortFigures:
    """What people did for a mask, over masks that they made and of which the page told it."""

    masks: int
    first_seconds: Average | None
    """To the first click, box or stroke."""
    boxes: Average | None
    strokes: Average | None
    """Of the brush."""
    undos: Average | None
    decodes: int
    """Answers of the model, previews excluded."""
    decode_ms: Average | None
    """Milliseconds of an answer, without waiting."""
    slow_decode_ms: float | None
    """95% of the answers took no longer."""


@dataclass(frozen=True, kw_only=True)
class WorkBin:
    """Successive masks, or successive photos."""

    until: float
    """When the last of them was committed, in seconds since 1970."""
    count: int
    """How many these and all before them are."""
    value: Average


@dataclass(frozen=True, kw_only=True)
class WorkFigures:
    """What `samjax annotate stats DIR` prints."""

    photos: int
    """That the folder has ids for."""
    photos_with_masks: int
    finished_photos: int
    """That a person says are done."""
    masks: int
    """As the folder has them now."""
    masks_per_photo: Average | None
    """Of photos with masks or finished."""
    all_masks: MaskGroup
    effort: EffortFigures
    by_source: Mapping[str, MaskGroup]
    by_annotator: Mapping[str, MaskGroup]
    """Who committed the mask or changed it last."""
    by_model: Mapping[str, MaskGroup]
    """The checkpoint that answered; `none` for masks by brush alone."""
    acts: Mapping[str, int]
    """How often each act was done: masks added, changed, deleted, photos skipped, ..."""
    proposals: Mapping[str, int]
    """How many are in each state."""
    verdicts: Mapping[str, int]
    """How many of each kind were given."""
    seconds_over_time: Sequence[WorkBin]
    """Of masks that people made, in the order of their commits."""
    masks_over_time: Sequence[WorkBin]
    """Masks of a photo, in the order in which photos got their last mask."""

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON."""
        return dataclasses.asdict(self)


@dataclass(kw_only=True)
class _Mask:
    content: Mapping[str, Any]
    time: float
    """Of its first commit."""
    spent: Mapping[int, Effort] = field(default_factory=dict)
    """What each page that committed it tells of effort, by `Effort.since`."""

    @property
    def is_by_hand(self) -> bool:
        return self.content["source"] != Source.PROPOSAL.value


def work_figures(out: str | Path) -> WorkFigures:
    """Return the figures of an annotation folder, which a server may be writing to.

    Raises:
      UserError: it is no annotation folder, or its events are damaged.
    """
    folder = local_folder(out)
    about = read_about(folder)
    if about is None:
        raise UserError(f"{folder} has no {ABOUT}: give a folder that samjax annotate wrote")
    progress, acts, verdicts = FolderProgress(), Counter[str](), Counter[str]()
    masks: dict[int, dict[str, _Mask]] = {}
    last: dict[int, float] = {}
    for event in read_events(folder / EVENTS):
        progress.update(event)
        acts[event.act.value] += 1
        if event.act is Act.VERDICT:
            verdicts[event.details["verdict"]] += 1
        if event.photo is not None and event.changes_photo:
            _follow(masks.setdefault(event.photo, {}), event)
            last[event.photo] = event.time
    every = sorted((mask for of_photo in masks.values() for mask in of_photo.values()), key=lambda mask: mask.time)
    by_hand = [mask for mask in every if mask.is_by_hand]
    worked = sorted((id for id in masks if masks[id] or progress.photo(id).is_done), key=lambda id: last[id])
    return WorkFigures(
        photos=len(about.photos),
        photos_with_masks=sum(bool(of_photo) for of_photo in masks.values()),
        finished_photos=sum(photo.is_done for photo in progress.photos.values()),
        masks=len(every),
        masks_per_photo=_average(float(len(masks[id])) for id in worked),
        all_masks=_group(every, of=len(every)),
        effort=_effort(by_hand),
        by_source=_groups(every, lambda mask: mask.content["source"]),
        by_annotator=_groups(every, lambda mask: mask.content["annotator"]),
        by_model=_groups(every, lambda mask: mask.content["model"] or "none"),
        acts=dict(acts),
        proposals=_proposals(progress),
        verdicts={one.value: verdicts[one.value] for one in MaskVerdict if one is not MaskVerdict.OPEN},
        seconds_over_time=_bins([(mask.time, mask.content["seconds"]) for mask in by_hand]),
        masks_over_time=_bins([(last[id], float(len(masks[id]))) for id in worked]),
    )


def _follow(masks: dict[str, _Mask], event: Event) -> None:
    """Take a change of a photo's masks in."""
    details = event.details
    told = _told(details)
    for content in [details["mask"]] if "mask" in details else details.get("masks", ()):
        earlier = masks.get(content["uuid"])
        time, spent = (earlier.time, earlier.spent) if earlier else (event.time, {})
        if told is not None:
            kept = {since: one for since, one in spent.items() if since < told.since}
            spent = kept if told.is_none else kept | {told.since: told}
        masks[content["uuid"]] = _Mask(content=content, time=time, spent=spent)
    if "uuid" in details:
        masks.pop(details["uuid"], None)


def _told(details: Mapping[str, Any]) -> Effort | None:
    """Return the effort that an event of a commit tells of, None if it tells of none."""
    spent = details.get("spent", {})
    if "decode_ms" not in spent:
        return None
    told: dict[str, Any] = {one.name: spent[one.name] for one in dataclasses.fields(Effort) if one.name in spent}
    told["decode_ms"] = tuple(spent["decode_ms"])
    return Effort(**told)


def _proposals(progress: FolderProgress) -> dict[str, int]:
    counts = Counter(one.state for photo in progress.photos.values() for one in photo.states.values())
    counts[ProposalState.OPEN] = sum(photo.open_proposals for photo in progress.photos.values())
    return {state.value: counts[state] for state in ProposalState}


def _groups(masks: Sequence[_Mask], key: Callable[[_Mask], str]) -> dict[str, MaskGroup]:
    """Return the masks by key, the largest group first."""
    found: dict[str, list[_Mask]] = {}
    for mask in masks:
        found.setdefault(key(mask), []).append(mask)
    ordered = sorted(found.items(), key=lambda one: (-len(one[1]), one[0]))
    return {name: _group(those, of=len(masks)) for name, those in ordered}


def _group(masks: Sequence[_Mask], *, of: int) -> MaskGroup:
    by_hand = [mask.content for mask in masks if mask.is_by_hand]
    return MaskGroup(
        masks=len(masks),
        share=len(masks) / of if of else 0.0,
        seconds=_average(mask["seconds"] for mask in by_hand),
        active_seconds=_average(mask["active_seconds"] for mask in by_hand),
        clicks=_average(float(mask["clicks"]) for mask in by_hand),
    )


def _effort(masks: Sequence[_Mask]) -> EffortFigures:
    known = [[mask.spent[since] for since in sorted(mask.spent)] for mask in masks if mask.spent]
    decodes = sorted(float(ms) for spent in known for one in spent for ms in one.decode_ms)
    first = [spent[0].first_seconds for spent in known]

    def of(name: str) -> Average | None:
        return _average(float(sum(getattr(one, name) for one in spent)) for spent in known)

    return EffortFigures(
        masks=len(known),
        first_seconds=_average(float(seconds) for seconds in first if seconds is not None),
        boxes=of("boxes"),
        strokes=of("strokes"),
        undos=of("undos"),
        decodes=len(decodes),
        decode_ms=_average(decodes),
        slow_decode_ms=decodes[max(0, math.ceil(0.95 * len(decodes)) - 1)] if decodes else None,
    )


def _average(numbers: Iterable[float]) -> Average | None:
    found = list(numbers)
    if not found:
        return None
    return Average(mean=float(statistics.fmean(found)), median=float(statistics.median(found)))


def _bins(values: Sequence[tuple[float, float]]) -> list[WorkBin]:
    """Return (time, value) pairs in bins of about equal counts, at most `_MOST_BINS`."""
    count = min(_MOST_BINS, len(values) // _FEWEST_IN_BIN) or min(1, len(values))
    edges = [round(place * len(values) / count) for place in range(count + 1)] if count else []
    bins = []
    for start, end in itertools.pairwise(edges):
        average = _average(value for _, value in values[start:end])
        assert average is not None
        bins.append(WorkBin(until=values[end - 1][0], count=end, value=average))
    return bins
