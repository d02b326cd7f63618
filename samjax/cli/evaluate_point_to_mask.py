"""`samjax evaluate point-to-mask`."""


def add_parser(protocols, name: str) -> None:
    """Add the protocol."""
