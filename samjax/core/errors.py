"""Errors a user can act on."""


class UserError(Exception):
    """Something outside the code is wrong: a path, a setting, a file.

    The message is one sentence that names the thing, what was expected and the way out. The command line prints it
    without a traceback and exits with code 2.
    """


class CorruptCheckpointError(UserError):
    """A checkpoint cannot be read, or differs from what was saved; the message says which part."""


class MachineError(Exception):
    """The machine failed, not the data: the message says which limit was reached, or what to check.

    Not a UserError, so that code that skips damaged files or records never skips a sound one because of it. The command
    line prints it the same way.
    """
