"""Converts weights from and to a PyTorch state dict by a table of rows, as NumPy arrays: bit for bit and complete."""

import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from samjax.core.errors import UserError
from samjax.interop.axes import Layout

_PLACEHOLDER = re.compile(r"{(\w+)}")


@dataclass(frozen=True, kw_only=True)
class Naming:
    """A published layout of keys: a column of a family's table."""

    name: str
    """As a checkpoint records it."""
    title: str
    """Its origin, as in "key layout of TITLE"."""
    signs: tuple[str, ...]
    """Paths of arrays that identify it: a state dict with the keys of all of them has this layout."""
    part: str = ""
    """The part of the model that it holds, such as "the image encoder"; empty for a whole model."""
    unused_patterns: tuple[str, ...] = ()
    """Shell patterns of further keys that may be present and that the model does not use."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One array, or one of each layer of a stack: a placeholder such as `{block}` names the stack."""

    path: str
    """Of the array here."""
    layout: Layout
    names: Mapping[str, tuple[str, ...]] = field(hash=False)
    """Its key by the name of each naming that has it; further keys are of the very same array."""
    within: tuple[int | None, ...] = ()
    """Where the array is a part of ours: its index along each leading axis of a layer, None for all of an axis."""

    def keys(self, naming: Naming) -> tuple[str, ...]:
        """Return the array's keys in a naming, none where it has no such array."""
        return self.names.get(naming.name, ())


def move_rows(rows: Iterable[Row], folder: str, layouts: Mapping[str, str]) -> list[Row]:
    """Return rows of a part as those of a model.

    Args:
      rows: the part's, whose layouts have names of their own.
      folder: what the part's paths begin with in the model, such as `encoder/`.
      layouts: the part's layout of each naming of the model that is wanted, by the naming's name.
    """
    return [
        replace(
            row,
            path=f"{folder}{row.path}",
            names={naming: row.names[layout] for naming, layout in layouts.items() if layout in row.names},
        )
        for row in rows
    ]


@dataclass(frozen=True, kw_only=True)
class Slot:
    """A layer's place: its number in PyTorch, its folder in our path, its index in our stacked array."""

    number: int
    folder: str = ""
    index: tuple[int, ...] = ()


def plain_slots(depth: int) -> list[Slot]:
    """Return the places of a stack whose layers lie in order along one leading axis."""
    return [Slot(number=number, index=(number,)) for number in range(depth)]


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One array of a PyTorch state dict, and its place here: an index into the array at `path`."""

    keys: tuple[str, ...]
    path: str
    index: tuple[int | None, ...]
    """Along the leading axes; None is all of an axis."""
    layout: Layout

    @property
    def place(self) -> tuple[int | slice, ...]:
        """The index as NumPy takes it."""
        return tuple(slice(None) if index is None else index for index in self.index)

    def shape_in(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of this part of our array, which has `shape`."""
        return tuple(size for size, index in itertools.zip_longest(shape, self.index) if index is None)


def write_out(rows: Iterable[Row], stacks: Mapping[str, Sequence[Slot]], naming: Naming) -> list[Entry]:
    """Return rows with their stacks written out: every array that `naming` has, once."""
    found = []
    for row in rows:
        names = row.keys(naming)
        if not names:
            continue
        placeholder = _PLACEHOLDER.search(names[0])
        for slot in stacks[placeholder[1]] if placeholder else [Slot(number=0)]:
            keys = tuple(_PLACEHOLDER.sub(str(slot.number), key) for key in names)
            path = _PLACEHOLDER.sub(slot.folder, row.path)
            found.append(Entry(keys=keys, path=path, index=(*slot.index, *row.within), layout=row.layout))
    return found


def arrays_from_torch(
    table: Sequence[Entry], state_dict: Mapping[str, np.ndarray], shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, np.ndarray]:
    """Return our float32 arrays by path; `shapes` has that of every path of `table`.

    Where PyTorch has an array under several keys, one of them suffices.

    Raises:
      UserError: names every key that is missing, unexpected, of another shape, not float32 without loss, or at odds
        with another key of the same array.
    """
    known = {key for entry in table for key in entry.keys}
    faults = [f"{key} is unexpected" for key in state_dict if key not in known]
    arrays = {entry.path: np.empty(shapes[entry.path], np.float32) for entry in table}
    for entry in table:
        shape = entry.shape_in(shapes[entry.path])
        given = {key: np.asarray(state_dict[key]) for key in entry.keys if key in state_dict}
        wrong = list(_misfits(given, entry.layout.torch_shape(shape)))
        faults += [f"{' = '.join(entry.keys)} is missing"] if not given else wrong
        if given and not wrong:
            arrays[entry.path][entry.place] = entry.layout.from_torch(next(iter(given.values())), shape)
    _refuse(faults, "the state dict does not hold the weights of the given model config")
    return arrays


def arrays_to_torch(
    table: Sequence[Entry], arrays: Mapping[str, np.ndarray], shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, np.ndarray]:
    """Return the state dict with our arrays, by path, under every key of `table`; `shapes` are the whole model's.

    Raises:
      UserError: names every path that is missing, unexpected or of another shape.
    """
    needed = {entry.path for entry in table}
    faults = [f"{path} is unexpected" for path in arrays if path not in shapes]
    faults += [f"{path} is missing" for path in shapes if path in needed and path not in arrays]
    faults += [
        f"{path} has shape {array.shape}, expected {shapes[path]}"
        for path, array in arrays.items()
        if path in shapes and array.shape != shapes[path]
    ]
    _refuse(faults, "the parameters are not those of the given model config")
    return {key: entry.layout.to_torch(arrays[entry.path][entry.place]) for entry in table for key in entry.keys}


def _misfits(given: Mapping[str, np.ndarray], shape: tuple[int, ...]) -> Iterable[str]:
    for key, array in given.items():
        if array.shape != shape:
            yield f"{key} has shape {array.shape}, expected {shape}"
        elif not np.can_cast(array.dtype, np.float32):
            yield f"{key} is {array.dtype}, expected float32"
    first, *others = given or [""]
    for key in others:
        if not np.array_equal(given[key], given[first]):
            yield f"{key} differs from {first}; they are the same array"


def _refuse(faults: list[str], what: str) -> None:
    if faults:
        raise UserError(f"{what} ({len(faults)} faults): {'; '.join(faults)}")
