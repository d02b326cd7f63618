"""The names of `folder` and `files` under their old address."""

from samjax.core.files import is_bucket
from samjax.core.folder import lock_folder as held

__all__ = ["held", "is_bucket"]
