"""What tests of several folders share.

Pytest puts `tests` on the path: `from helpers.micro import micro_run`, in experiments that tests write too.
"""
