"""What is wrong with a checkpoint, or only with the way to it."""

import jax

from samjax.core.errors import UserError
from samjax.core.machine_faults import machine_fault

# What is no fault of a checkpoint: a file system or a device in trouble, beside what `machine_fault` sees. Of files
# that are cut off or changed Orbax, TensorStore and JSON make errors of every type, down to a plain Exception.
_NOT_ITS_FAULT = (UserError, OSError, MemoryError, jax.errors.JaxRuntimeError)
_MISSING = (FileNotFoundError, NotADirectoryError)


def is_its_fault(error: Exception) -> bool:
    """Return whether an error in reading a checkpoint says that the checkpoint is damaged."""
    if machine_fault(error):
        return False
    return isinstance(error, _MISSING) or not isinstance(error, _NOT_ITS_FAULT)


def reason(error: Exception) -> str:
    """Return what an error in reading a checkpoint says, without what TensorStore adds to it."""
    return f"it cannot be read: {detail(error)}"


def detail(error: Exception) -> str:
    """Return what an error of a library says, without what TensorStore adds to it."""
    return f"{str(error.__cause__ or error).split(' [tensorstore_spec=')[0]:.300}"


def summary(differences: list[str]) -> str:
    """Return the first of some differences, and how many more there are."""
    return "; ".join(differences[:3]) + (f"; {len(differences) - 3} more" if differences[3:] else "")
