"""`samjax evaluate instances`."""


def add_parser(protocols, name: str) -> None:
    """Add the protocol."""
