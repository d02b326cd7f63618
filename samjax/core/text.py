"""Text that comes from the file system, brought to what every output can encode."""


def printable(text: str) -> str:
    r"""Return `text` so that any output can encode it.

    A file's name need not be UTF-8. Python keeps each byte that is not as a lone surrogate, which no encoder takes; it
    becomes an escape here, as in JSON: `caf\udce9.jpg`. Other text is returned as it is.
    """
    return text.encode(errors="backslashreplace").decode()
