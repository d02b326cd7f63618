"""Statistics of a sample of a source's records, as stored, and what is wrong with unusable ones."""

import collections
import concurrent.futures
import dataclasses
from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Int

from samjax.core.machine_faults import raise_machine_fault
from samjax.data.masks import rle
from samjax.data.photo import PhotoError, check_photo
from samjax.data.records import masks as records
from samjax.data.stream.sources import RecordSource

_EXAMPLES = 5
_THREADS = 8


@dataclasses.dataclass(frozen=True, kw_only=True)
class Survey:
    """A sample of records; the arrays are of its readable photos."""

    total: int
    """Records of the source."""
    sample: int
    """Records read."""
    sizes: Int[np.ndarray, "photos 2"]
    """(height, width)."""
    masks: Int[np.ndarray, "photos"]
    """Masks a photo."""
    shares: Float[np.ndarray, "masks"]
    """Of the photo that each mask covers, all photos together."""
    faults: dict[str, int]
    """Records that cannot be used, by kind."""
    examples: tuple[str, ...]
    """The first of them in full."""

    @property
    def aspects(self) -> Float[np.ndarray, "photos"]:
        """Width over height of each photo."""
        return self.sizes[:, 1] / self.sizes[:, 0]


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Photo:
    size: tuple[int, int]
    areas: tuple[int, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Fault:
    kind: str
    detail: str


_KINDS: dict[type[Exception], str] = {
    records.RecordError: "not a readable record",
    PhotoError: "broken photo",
    rle.RleError: "broken mask",
}


def survey(source: RecordSource, *, sample: int, seed: int, advance: Callable[[], object] = lambda: None) -> Survey:
    """Read `sample` records of `source`, all if it has no more, drawn without replacement.

    Photos are opened, not decoded: their header's size must be the record's. Every mask's run lengths are read.

    Args:
      source: where the records are.
      sample: how many to read.
      seed: of the draw.
      advance: called after each record.
    """
    total = len(source)
    places = np.arange(total) if total <= sample else np.random.default_rng(seed).choice(total, sample, replace=False)
    photos: list[_Photo] = []
    faults: collections.Counter[str] = collections.Counter()
    examples: list[str] = []
    with concurrent.futures.ThreadPoolExecutor(_THREADS) as threads:
        for read in threads.map(lambda place: _read(source, int(place)), np.sort(places)):
            advance()
            if isinstance(read, _Photo):
                photos.append(read)
                continue
            faults[read.kind] += 1
            if len(examples) < _EXAMPLES:
                examples.append(read.detail)
    return Survey(
        total=total,
        sample=len(places),
        sizes=np.array([photo.size for photo in photos], int).reshape(-1, 2),
        masks=np.array([len(photo.areas) for photo in photos], int),
        shares=np.array([area / (photo.size[0] * photo.size[1]) for photo in photos for area in photo.areas], float),
        faults=dict(faults),
        examples=tuple(examples),
    )


def _read(source: RecordSource, place: int) -> _Photo | _Fault:
    name = f"record {place}"
    try:
        record = records.decode_record(source[place])
        name = f"record {place} (image {record.image_id})"
        height, width = record.height, record.width
        check_photo(record.jpeg, height=height, width=width)
        areas = tuple(
            rle.area(rle.parse_runs(annotation.counts, height=height, width=width)) for annotation in record.annotations
        )
    except tuple(_KINDS) as error:
        raise_machine_fault(error, what=f"{name} cannot be read")
        return _Fault(kind=_KINDS[type(error)], detail=f"{name}: {error}")
    return _Photo(size=(height, width), areas=areas)
