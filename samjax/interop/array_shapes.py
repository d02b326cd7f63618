"""Array shapes in a state dict, looked up by our paths, from which a family reads a model's size."""

import re
from collections.abc import Mapping, Sequence

import numpy as np

from samjax.core.errors import UserError
from samjax.interop.mapping import Naming, Row

_PLACEHOLDER = re.compile(r"{\w+}")


def key_of(rows: Sequence[Row], naming: Naming, path: str, number: int = 0) -> str:
    """Return the key of the array at `path` of a table, of a stack that of layer `number`."""
    (key,) = (row.keys(naming)[0] for row in rows if row.path == path and row.keys(naming))
    return _PLACEHOLDER.sub(str(number), key)


class Shapes:
    """Shapes in a state dict whose keys are those of `naming` in the table `rows`."""

    def __init__(self, arrays: Mapping[str, np.ndarray], naming: Naming, rows: Sequence[Row]):
        self.arrays, self.naming, self.rows = arrays, naming, rows

    def key(self, path: str, number: int = 0) -> str:
        """Return the key of the array at `path`, of a stack that of layer `number`."""
        return key_of(self.rows, self.naming, path, number)

    def need(self, *places: tuple[str, int]) -> None:
        """Raise a `UserError` that names every array of these (path, layer) that is missing."""
        keys = (self.key(path, number) for path, number in places)
        missing = [key for key in keys if key not in self.arrays]
        if missing:
            raise UserError(f"{len(missing)} arrays that say how large the model is are missing: {', '.join(missing)}")

    def of(self, path: str, number: int = 0, *, axes: int) -> tuple[int, ...]:
        """Return an array's shape in PyTorch.

        Raises:
          UserError: it is missing, or has another number of axes.
        """
        self.need((path, number))
        shape = self.arrays[self.key(path, number)].shape
        if len(shape) != axes or 0 in shape:
            raise UserError(f"{self.key(path, number)} has shape {shape}, expected {axes} axes")
        return shape

    def has(self, path: str, number: int = 0) -> bool:
        """Return whether there is an array at `path`, of a stack that of layer `number`; the table may not have it."""
        in_table = any(row.path == path and row.keys(self.naming) for row in self.rows)
        return in_table and self.key(path, number) in self.arrays

    def count(self, path: str) -> int:
        """Return how many layers a stack has, by its highest number.

        Raises:
          UserError: it has none.
        """
        (key,) = (row.keys(self.naming)[0] for row in self.rows if row.path == path and row.keys(self.naming))
        pattern = re.compile(re.sub(r"\\{\w+\\}", r"(\\d{1,4})", re.escape(key)))
        numbers = [int(match[1]) for key in self.arrays if (match := pattern.fullmatch(key))]
        self.need(*[] if numbers else [(path, 0)])
        return max(numbers) + 1
