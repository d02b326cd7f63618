"""Text from the file system, made printable on every output."""


def printable(text: str) -> str:
    r"""Return `text` so that any output can encode it.

    A file name need not be UTF-8. Python keeps invalid bytes as lone surrogates, which no encoder accepts; here they
    become escapes, as in JSON: `caf\udce9.jpg`. Other text is returned unchanged.
    """
    return text.encode(errors="backslashreplace").decode()
