"""`samjax evaluate proposals`."""


def add_parser(protocols, name: str) -> None:
    """Add the protocol."""
