"""`samjax evaluate edges`."""


def add_parser(protocols, name: str) -> None:
    """Add the protocol."""
