"""Photos in several units that share an image id: the first, in the source's order, keeps it.

The others are dropped if ids come from the source, and get the next free id if the preparation made them. Units are
read independently, by any number of processes, so ids are compared at the end, and a shard with a duplicate is
rewritten.
"""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int

from data_pipelines.pairs import Drop
from data_pipelines.shards import LISTED_DROPS, ShardResult, duplicate, write_records
from samjax.data.stream.readers import open_reader


def find_duplicates(results: Sequence[ShardResult]) -> list[Int[np.ndarray, "n"]]:
    """Return, for each result, the positions of the records whose image id an earlier one has."""
    lengths = [len(result.ids) for result in results]
    ids = np.concatenate([np.zeros(0, np.int64), *(np.array(result.ids, np.int64) for result in results)])
    repeated = np.ones(len(ids), bool)
    repeated[np.unique(ids, return_index=True)[1]] = False
    parts = np.split(repeated, np.cumsum(lengths)[:-1]) if lengths else []
    return [np.flatnonzero(part) for part in parts]


def without_records(result: ShardResult, positions: Sequence[int]) -> ShardResult:
    """Return `result` with the records at `positions` counted as dropped; masks, size and digest are still the old."""
    gone = set(positions)
    name = result.path.rstrip("/").rsplit("/", 1)[-1]
    new = tuple(duplicate(f"{name}: sa_{result.ids[at]}", image_id=result.ids[at]) for at in sorted(gone))
    ids = tuple(number for at, number in enumerate(result.ids) if at not in gone)
    kept: tuple[Drop, ...] = (*result.drops, *new)[:LISTED_DROPS]
    dropped = {**result.dropped, "duplicate": result.dropped.get("duplicate", 0) + len(gone)}
    return dataclasses.replace(result, ids=ids, records=len(ids), dropped=dropped, drops=kept)


def with_free_ids(results: Sequence[ShardResult], repeated: Sequence[Int[np.ndarray, "_"]]) -> list[ShardResult]:
    """Return `results` with new ids at the positions `repeated` of each: the next of 31 bits that nothing has."""
    used = np.unique(np.concatenate([np.zeros(0, np.int64), *(np.array(result.ids, np.int64) for result in results)]))
    new: set[int] = set()

    def is_used(number: int) -> bool:
        at = int(np.searchsorted(used, number))
        return number in new or (at < len(used) and int(used[at]) == number)

    changed = []
    for result, positions in zip(results, repeated, strict=True):
        ids = list(result.ids)
        for at in positions.tolist():
            ids[at] = next_free(ids[at], is_used)
            new.add(ids[at])
        changed.append(dataclasses.replace(result, ids=tuple(ids)) if len(positions) else result)
    return changed


def next_free(number: int, is_used: Callable[[int], bool]) -> int:
    """Return the first image id from `number` on, of 31 bits and around, that is not used."""
    while is_used(number):
        number = (number + 1) % 2**31
    return number


def rewrite(shard: Path, target: Path, change: Callable[[int, bytes], bytes | None]) -> None:
    """Write what `change` makes of the records of `shard`, given their positions, to `target`; None leaves one out.

    Raises:
      OSError: `target` cannot be written whole.
      ShardError, MachineError: `shard` cannot be opened.
    """

    def kept() -> Iterator[bytes]:
        reader = open_reader(str(shard), options="")  # from its beginning to its end
        for position in range(reader.num_records()):
            record = change(position, reader.read())
            if record is not None:
                yield record
        reader.close()

    write_records(target, kept())
