"""Photos with one image id in several units: the first, in the source's order, is kept.

No unit knows the others while it is read, whatever number of processes reads them. So the ids are compared when all are
done, and the rare shard that holds one too many is written again without it.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int

from data_pipelines.pairs import Drop
from data_pipelines.shards import LISTED_DROPS, ShardResult, duplicate, write_records
from samjax.data.records import masks as records
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


def rewrite(shard: Path, target: Path, *, without: Sequence[int]) -> list[records.Record]:
    """Write the records of `shard` to `target` but for those at the positions `without`; return those.

    Raises:
      OSError: `target` cannot be written whole.
      ShardError, MachineError: `shard` cannot be opened.
    """
    gone = set(without)
    left_out: list[records.Record] = []

    def kept() -> Iterator[bytes]:
        reader = open_reader(str(shard), options="")  # from its beginning to its end
        for position in range(reader.num_records()):
            content = reader.read()
            if position in gone:
                left_out.append(records.decode_record(content))
            else:
                yield content
        reader.close()

    write_records(target, kept())
    return left_out
