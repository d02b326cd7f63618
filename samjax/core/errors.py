"""Errors a user can act on."""


class UserError(Exception):
    """Something outside the code is wrong: a path, a setting, a file.

    The message is one sentence that names the thing, what was expected and the way out. The command line prints it
    without a traceback and exits with code 2.
    """


class CorruptCheckpointError(UserError):
    """A checkpoint cannot be read, or is not what was saved; the message says what of it."""
