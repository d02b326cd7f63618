"""Optional packages, which only some commands need."""

import importlib
from typing import Any

from samjax.core.errors import UserError


def optional(module: str, *, extra: str) -> Any:
    """Return an optional package's module, such as `safetensors.numpy`.

    Raises:
      UserError: it is not installed; `extra` is samjax's extra that installs it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.split(".")[0]
        raise UserError(
            f"this needs {package}, which is not installed ({error}): pip install 'samjax[{extra}]'"
        ) from None
