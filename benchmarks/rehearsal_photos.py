"""Photos with known masks for `data_engine.py`, and who gets to see what of them."""

import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from simulated_annotator import PhotoTruth

from data_pipelines.synthetic import describe
from data_pipelines.units import find_units
from samjax.core.errors import UserError
from samjax.data.masks import rle
from samjax.data.records.masks import Record, decode_record
from samjax.data.synthetic.source import SyntheticSource, parse_synthetic

SHIPPED = Path(__file__).parent.parent / "experiments" / "sam" / "photos"
STAGES = 3


@dataclass(frozen=True, kw_only=True)
class Photos:
    """Photos by their part in the rehearsal; none has two."""

    start: Sequence[Record]
    """With their masks, for the first model."""
    stages: Sequence[Sequence[Record]]
    """Without: for people in stages 1 and 2, for the model alone in stage 3."""
    held_out: Sequence[Record]
    """With their masks, to compare models on: nobody annotates them."""
    least_area: float
    """Share of a photo that an object covers at least, to be annotated or evaluated."""

    def truth(self, name: str) -> PhotoTruth:
        """Return the objects of a stage's photo by the name of its file."""
        (record,) = [one for stage in self.stages for one in stage if file_of(one) == name]
        ordered = sorted(record.annotations, key=lambda one: -one.area)
        masks = [rle.decode(one.counts, height=record.height, width=record.width) for one in ordered]
        large = len(self._large(record))
        return PhotoTruth(objects=masks[:large], small=masks[large:])

    def write(self, out: Path) -> dict[str, int]:
        """Write OUT/start and OUT/held_out in SA-1B's layout, and the photos alone to OUT/photos/stage_N.

        Returns what there is, and what is left out, by name.
        """
        counts = {"objects too small": 0, "photos left out, without an object": 0}
        for part, records in (("start", self.start), ("held_out", self.held_out)):
            (out / part).mkdir(parents=True, exist_ok=True)
            kept = [record for record in records if self._large(record)]
            for record in kept:
                described, large = describe(record), {one.id for one in self._large(record)}
                described["annotations"] = [one for one in described["annotations"] if one["id"] in large]
                (out / part / file_of(record)).write_bytes(record.jpeg)
                (out / part / file_of(record)).with_suffix(".json").write_text(json.dumps(described))
            counts[f"photos, {part.replace('_', ' ')}"] = len(kept)
            counts["photos left out, without an object"] += len(records) - len(kept)
        for number, records in enumerate(self.stages, start=1):
            folder = out / "photos" / f"stage_{number}"
            folder.mkdir(parents=True, exist_ok=True)
            for record in records:
                (folder / file_of(record)).write_bytes(record.jpeg)
            counts[f"photos, stage {number}"] = len(records)
        for record in self._all():
            counts["objects too small"] += len(record.annotations) - len(self._large(record))
        return counts

    def _all(self) -> Iterator[Record]:
        yield from self.start
        for stage in self.stages:
            yield from stage
        yield from self.held_out

    def _large(self, record: Record) -> list:
        least = self.least_area * record.height * record.width
        return [one for one in record.annotations if one.area >= least]


def file_of(record: Record) -> str:
    """Return the name of a photo's file, from which its id is read again."""
    return f"sa_{record.image_id}.jpg"


def divide(synthetic: str | None, *, start: int, stages: Sequence[int], held_out: int, least_area: float) -> Photos:
    """Return so many photos for each part: the shipped ones, or those of a `synthetic:` source.

    Of the shipped ones, the demo's training photos come first, and those held out are of its held-out ones: a
    checkpoint of the demo has seen none of these.

    Raises:
      UserError: there are too few.
    """
    needed = start + sum(stages) + held_out
    records = _shipped() if synthetic is None else _synthetic(synthetic, needed)
    if needed > len(records):
        raise UserError(f"{needed} photos are needed, and {len(records)} are shipped: give --synthetic synthetic:")
    ends = [start + sum(stages[:count]) for count in range(len(stages) + 1)]
    return Photos(
        start=records[:start],
        stages=[records[first:end] for first, end in itertools.pairwise(ends)],
        held_out=records[len(records) - held_out :],
        least_area=least_area,
    )


def _shipped() -> list[Record]:
    found = []
    for unit in find_units([str(SHIPPED / split) for split in ("train", "val")]):
        for item in unit.records():
            data = getattr(item, "data", None)
            if data is None:
                raise UserError(f"{item.where} cannot be used: restore experiments/sam/photos")
            found.append(decode_record(data))
    return found


def _synthetic(source: str, count: int) -> list[Record]:
    photos = SyntheticSource(
        parse_synthetic(f"{source}{',' if source[-1] != ':' else ''}photos={count}"), split="train"
    )
    return [decode_record(photos[index]) for index in range(count)]
