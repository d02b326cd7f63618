"""Tells a damaged checkpoint from a failing machine."""

import jax

from samjax.core.errors import UserError
from samjax.core.machine_faults import machine_fault

# Not the checkpoint's fault: a failing file system or device, beside what `machine_fault` sees. For files
# that are truncated or changed, Orbax, TensorStore and JSON raise errors of every type, even a plain Exception.
_NOT_ITS_FAULT = (UserError, OSError, MemoryError, jax.errors.JaxRuntimeError)
_MISSING = (FileNotFoundError, NotADirectoryError)


def is_its_fault(error: Exception) -> bool:
    """Return whether an error while reading a checkpoint means that the checkpoint is damaged."""
    if machine_fault(error):
        return False
    return isinstance(error, _MISSING) or not isinstance(error, _NOT_ITS_FAULT)


def reason(error: Exception) -> str:
    """Return the message of an error while reading a checkpoint, without TensorStore's appendix."""
    return f"it cannot be read: {detail(error)}"


def detail(error: Exception) -> str:
    """Return the message of a library's error, without TensorStore's appendix."""
    return f"{str(error.__cause__ or error).split(' [tensorstore_spec=')[0]:.300}"


def summary(differences: list[str]) -> str:
    """Return the first few differences, and how many more there are."""
    return "; ".join(differences[:3]) + (f"; {len(differences) - 3} more" if differences[3:] else "")
