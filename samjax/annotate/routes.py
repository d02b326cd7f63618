"""The routes of the annotator's page: JSON in and out of a `Workplace`, errors as one sentence each."""

import json
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from samjax.annotate.access import TooLargeError
from samjax.annotate.mask_checks import check_annotator
from samjax.annotate.prompt_request import NewerRequest
from samjax.annotate.proposal import states_as_json
from samjax.annotate.refusals import (
    ConflictError,
    LostLeaseError,
    NotAllowedError,
    NotSavedError,
    StaleProposalError,
    UnknownPhotoError,
)
from samjax.annotate.workplace import Workplace
from samjax.core.errors import MachineError, UserError

log = logging.getLogger(__name__)

STATIC = Path(__file__).parent / "static"
_STATUS = {
    UnknownPhotoError: 404,
    NotAllowedError: 403,
    LostLeaseError: 409,
    ConflictError: 409,
    StaleProposalError: 409,
    NotSavedError: 507,
    TooLargeError: 413,
    MachineError: 500,
}
_SHOWN = {"Cache-Control": "no-cache"}
_IMMUTABLE = {"Cache-Control": "private, max-age=31536000, immutable"}


class PageFiles(StaticFiles):
    """The page's files, which a browser asks for again at each start: a newer samjax may have others."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        """Return a file, or that it has not changed."""
        response = super().file_response(*args, **kwargs)
        response.headers.update(_SHOWN)
        return response


def make_app(place: Workplace) -> Starlette:
    """Return the ASGI application of the page and its routes."""
    api = _Api(place)
    photo = "/api/photos/{photo}"
    routes = [
        ("GET", "/api/session", api.session),
        ("GET", "/api/stats", api.stats),
        ("POST", "/api/next", api.next),
        ("GET", f"{photo}.jpg", api.jpeg),
        ("POST", f"{photo}/predict", api.predict),
        ("GET", f"{photo}/runs/{{handle}}", api.runs),
        ("PUT", f"{photo}/masks/{{uuid}}", api.put_mask),
        ("DELETE", f"{photo}/masks/{{uuid}}", api.delete_mask),
        ("PUT", f"{photo}/proposals", api.accept),
        ("PUT", f"{photo}/proposals/{{number}}", api.set_proposal),
        ("PUT", f"{photo}/verdicts/{{uuid}}", api.judge),
        ("POST", f"{photo}/alive", api.alive),
        ("POST", f"{photo}/done", api.finish),
        ("POST", f"{photo}/skip", api.skip),
        ("POST", f"{photo}/back", api.back),
    ]
    return Starlette(
        routes=[
            Route("/", lambda _: FileResponse(STATIC / "index.html", headers=_SHOWN)),
            Mount("/static", PageFiles(directory=STATIC)),
            *(Route(path, _answering(handler), methods=[method]) for method, path, handler in routes),
        ]
    )


def _answering(handler: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
    """Return the handler with its errors as answers."""

    async def answer(request: Request) -> Response:
        try:
            return await handler(request)
        except NewerRequest:
            return JSONResponse({"error": "A newer request replaced this one", "superseded": True}, 409)
        except (UserError, MachineError, TooLargeError) as error:
            status = next((code for kind, code in _STATUS.items() if isinstance(error, kind)), 400)
            content: dict[str, Any] = {"error": str(error)}
            if isinstance(error, ConflictError):
                content |= {"stored": error.stored and error.stored.as_json(), "deleted": error.deleted}
            elif isinstance(error, StaleProposalError):
                content["states"] = states_as_json(error.proposals)
            return JSONResponse(content, status)
        except ClientDisconnect:
            return Response(status_code=400)
        except Exception:
            log.exception("%s %s", request.method, request.url.path)
            return JSONResponse({"error": "The server failed: its output says more"}, 500)

    return answer


class _Api:
    """The handlers: what a request holds, checked, to the workplace's calls."""

    def __init__(self, place: Workplace):
        self._place = place

    async def session(self, request: Request) -> Response:
        return JSONResponse(self._place.session())

    async def stats(self, request: Request) -> Response:
        return JSONResponse(await self._place.stats())

    async def next(self, request: Request) -> Response:
        return _or_nothing(await self._place.next(_annotator(request), await _body(request)))

    async def back(self, request: Request) -> Response:
        _photo(request)
        return _or_nothing(await self._place.back(_annotator(request)))

    async def jpeg(self, request: Request) -> Response:
        content = await self._place.jpeg(_photo(request))
        return Response(content, media_type="image/jpeg", headers=_IMMUTABLE)

    async def predict(self, request: Request) -> Response:
        found = await self._place.predict(_photo(request), _annotator(request), await _body(request))
        return Response(found.pack(), media_type="application/octet-stream")

    async def runs(self, request: Request) -> Response:
        return JSONResponse(await self._place.runs(_photo(request), request.path_params["handle"]))

    async def put_mask(self, request: Request) -> Response:
        uuid = request.path_params["uuid"]
        mask = await self._place.put_mask(_photo(request), uuid, _annotator(request), await _body(request))
        return JSONResponse(mask.as_json())

    async def delete_mask(self, request: Request) -> Response:
        given = {name: _integer(name, request.query_params.get(name, "")) for name in ("revision", "lease")}
        uuid = request.path_params["uuid"]
        return JSONResponse(
            {"revision": await self._place.delete_mask(_photo(request), uuid, _annotator(request), **given)}
        )

    async def accept(self, request: Request) -> Response:
        return JSONResponse(await self._place.accept(_photo(request), _annotator(request), await _body(request)))

    async def set_proposal(self, request: Request) -> Response:
        number = _integer("a proposal's number", request.path_params["number"])
        return JSONResponse(
            await self._place.set_proposal(_photo(request), number, _annotator(request), await _body(request))
        )

    async def judge(self, request: Request) -> Response:
        uuid = request.path_params["uuid"]
        mask = await self._place.judge(_photo(request), uuid, _annotator(request), await _body(request))
        return JSONResponse({"mask": mask and mask.as_json()})

    async def alive(self, request: Request) -> Response:
        await self._place.alive(_photo(request), await _body(request))
        return JSONResponse({})

    async def finish(self, request: Request) -> Response:
        await self._place.finish(_photo(request), await _body(request))
        return JSONResponse({})

    async def skip(self, request: Request) -> Response:
        await self._place.skip(_photo(request), await _body(request))
        return JSONResponse({})


def _or_nothing(content: dict[str, Any] | None) -> Response:
    return Response(status_code=204) if content is None else JSONResponse(content)


def _annotator(request: Request) -> str:
    """Return who asks.

    Raises:
      InvalidMaskError: the header holds no name.
    """
    name = unquote(request.headers.get("x-annotator", ""), errors="replace")
    check_annotator(name)
    return name


def _photo(request: Request) -> int:
    return _integer("a photo's id", request.path_params["photo"])


def _integer(name: str, text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 15):
        raise UserError(f"{text[:40]!r} is not {name}: give an integer")
    return int(text)


async def _body(request: Request) -> dict[str, Any]:
    """Return the JSON object of a request; an empty one for an empty body.

    Raises:
      UserError: it is something else.
    """
    content = await request.body()
    try:
        body = json.loads(content) if content else {}
    except (ValueError, RecursionError):
        raise UserError("the request is no JSON") from None
    if not isinstance(body, dict):
        raise UserError("the request is no JSON object")
    return body
