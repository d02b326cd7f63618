"""Who may speak to the server: its own page alone, with the token where there is one, in requests of bounded size."""

import hmac
import json
from collections.abc import Collection
from typing import Any

LARGEST_BODY = 4 * 2**20
"""Bytes of a request: the runs of a mask have a few thousand."""

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_HEADERS = (
    (b"content-security-policy", _POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
)


class Access:
    """An ASGI application in front of another, which refuses what does not come from the server's own page.

    A page of another site can make a browser send requests here, and by a name of its own that leads to this machine
    even read the answers. So without a token `Host` must be one of `hosts`; in any case `Origin`, where a browser sends
    it, must be the host's own. What changes or reads data is below /api and needs the token, if there is one.
    """

    def __init__(self, app: Any, *, hosts: Collection[str], token: str | None):
        """Serve `app` under `hosts`, each with its port, as browsers send them: `127.0.0.1:8000`."""
        self._app, self._hosts, self._token = app, frozenset(hosts), token

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request, or pass it on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        host = headers.get(b"host", b"").decode("latin-1")
        origin = headers.get(b"origin", b"").decode("latin-1")
        length = headers.get(b"content-length", b"0")
        if self._token is None and host not in self._hosts:
            await _refuse(send, 403, f"This server is not {host[:80]!r}: open the address that it printed")
        elif origin and origin != f"http://{host}":
            await _refuse(send, 403, f"A page of {origin[:80]!r} may not use this server")
        elif scope["path"].startswith("/api/") and not self._has_token(headers):
            await _refuse(send, 403, "The token is missing or wrong: open the address that the server printed")
        elif not length.isdigit() or int(length) > LARGEST_BODY:
            await _refuse(send, 413, f"The request is larger than {LARGEST_BODY:,} bytes")
        else:
            await self._app(scope, _bounded(receive), _with_headers(send))

    def _has_token(self, headers: dict[bytes, bytes]) -> bool:
        if self._token is None:
            return True
        given = headers.get(b"authorization", b"")
        return hmac.compare_digest(given, f"Bearer {self._token}".encode())


class TooLargeError(Exception):
    """A body that goes on beyond the bound: it did not say its size, or lied."""


def _bounded(receive: Any) -> Any:
    seen = 0

    async def bounded() -> Any:
        nonlocal seen
        message = await receive()
        if message["type"] == "http.request":
            seen += len(message.get("body", b""))
            if seen > LARGEST_BODY:
                raise TooLargeError(f"The request is larger than {LARGEST_BODY:,} bytes")
        return message

    return bounded


def _with_headers(send: Any) -> Any:
    async def with_headers(message: Any) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), *_HEADERS]
        await send(message)

    return with_headers


async def _refuse(send: Any, status: int, sentence: str) -> None:
    body = json.dumps({"error": sentence}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), *_HEADERS]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
