"""Packages that one command or another needs and samjax itself does not."""

import importlib
from typing import Any

from samjax.core.errors import UserError


def optional(module: str, *, extra: str) -> Any:
    """Return an optional package's module, such as `safetensors.numpy`.

    Raises:
      UserError: it is not installed; `extra` is the extra of ours that brings it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.split(".")[0]
        raise UserError(f"this needs {package}, which is not here ({error}): pip install 'samjax[{extra}]'") from None
