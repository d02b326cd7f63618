"""Errors a user can act on."""


class UserError(Exception):
    """Something outside the code is wrong: a path, a setting, a file.

    The message is one sentence that names the thing, what was expected and the way out. The command line prints it
    without a traceback and exits with code 2.
    """


class CorruptCheckpointError(UserError):
    """A checkpoint cannot be read, or is not what was saved; the message says what of it."""


class MachineError(Exception):
    """The machine failed, not the data: the message says which limit was met, or what to look at.

    It is no UserError, so that code which leaves out a damaged file or record never leaves out a sound one for it.
    The command line prints it in the same way.
    """
