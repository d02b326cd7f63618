"""The names of `folder` and `files` under their old address."""

from samjax.core.files import tell_write_errors
from samjax.core.folder import check_can_write, check_room, whole_folder

__all__ = ["check_can_write", "check_room", "tell_write_errors", "whole_folder"]
