"""The server of the annotator's page: one process, one address, until it is stopped."""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable, Iterator
from typing import Annotated, Any

from samjax.annotate.access import Access
from samjax.core.errors import UserError
from samjax.core.optional import optional
from samjax.core.ranges import Range, config_class

_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_PATIENCE_S = 5
"""How long requests under way may take to end when the server stops."""


@config_class("server")
class ServerConfig:
    """Where the server listens."""

    host: str = "127.0.0.1"
    """The address to listen on; others than this machine's own need a token."""
    port: Annotated[int, Range(at_least=0, at_most=65_535, why="it is a port")] = 8117
    """The port; 0 takes any that is free."""
    token: str | None = None
    """What a page must present, in the address that is printed."""

    def __post_init__(self):
        if self.token is None and self.host not in _LOOPBACK:
            raise UserError(f"--host {self.host} lets other machines in: give --token, or leave --host out")


@contextlib.contextmanager
def listening(config: ServerConfig) -> Iterator[socket.socket]:
    """Yield a socket that listens where `config` says.

    Raises:
      UserError: the port is in use, or the address is not this machine's.
    """
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    with contextlib.closing(listener):
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((config.host, config.port))
            listener.listen()
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
            raise UserError(
                f"--host {config.host} --port {config.port} cannot be used ({reason}): give another --port"
            ) from None
        yield listener


def address(config: ServerConfig, listener: socket.socket) -> str:
    """Return the page's address, with the token behind # where a browser keeps it to itself."""
    port = listener.getsockname()[1]
    host = f"[{config.host}]" if ":" in config.host else config.host
    if config.host in ("0.0.0.0", "::"):
        host = socket.gethostname()
    return f"http://{host}:{port}/{f'#token={config.token}' if config.token else ''}"


def serve(
    make_app: Callable[[], Any],
    config: ServerConfig,
    listener: socket.socket,
    *,
    on_start: Callable[[], None] = lambda: None,
    startup: Callable[[], Any] | None = None,
) -> None:
    """Serve until Ctrl-C or SIGTERM; requests under way end first.

    Args:
      make_app: returns the ASGI application; called in the server's event loop.
      config: what `listener` was made of.
      listener: listens already, so that nobody else has taken the port meanwhile.
      on_start: called when pages are answered.
      startup: a coroutine function to run beside the first requests, such as one that compiles.

    Raises:
      UserError: uvicorn is not installed.
    """
    uvicorn = optional("uvicorn", extra="annotate")
    port = listener.getsockname()[1]
    hosts = {f"{'[::1]' if name == '::1' else name}:{port}" for name in (*_LOOPBACK, config.host)}

    async def run() -> None:
        app = Access(make_app(), hosts=hosts, token=config.token)
        server = uvicorn.Server(
            uvicorn.Config(
                app,
                log_level="warning",
                access_log=False,
                lifespan="off",
                timeout_keep_alive=75,
                timeout_graceful_shutdown=_PATIENCE_S,
                h11_max_incomplete_event_size=64 * 1024,
            )
        )
        serving = asyncio.ensure_future(server.serve(sockets=[listener]))
        while not server.started and not serving.done():
            await asyncio.sleep(0.01)
        on_start()
        beside = None if startup is None else asyncio.ensure_future(startup())
        await serving
        if beside is not None:
            beside.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await beside

    logging.getLogger("uvicorn").handlers.clear()
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(run())
