"""A server with the annotator's routes whose model answers discs, so that every pixel is known. No JAX, no disk."""

import asyncio
import contextlib
import itertools
import json
import socket
import struct
import threading
import time
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import uvicorn
from disc_photo import GRID, decode, stored_mask, upscale
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from samjax.data.masks.rle import encode

STATIC = Path(__file__).parents[2] / "samjax" / "annotate" / "static"
IOUS = (0.95, 0.9, 0.85)
HEADERS = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
}
"""With which the page has to live: nothing from outside, no inline script or style."""


class DiscServer:
    """Start and stop it as often as you like: what was stored stays, handles and what was in memory go."""

    def __init__(self, photos, *, mode="manual", lease_seconds=120, token=None):
        self.photos = {photo.id: photo for photo in photos}
        self.mode, self.lease_seconds, self.token = mode, lease_seconds, token
        self.done, self.handles, self.leases, self.generation = set(), {}, {}, 0
        self.numbers = itertools.count()
        self.log, self.delay, self.fault, self.hovers, self.most_hovers = [], 0.0, None, 0, 0
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            self.port = listener.getsockname()[1]
        self.server = self.thread = None

    @property
    def address(self):
        return f"http://127.0.0.1:{self.port}/"

    def start(self):
        self.handles.clear()
        routes = [
            Route("/", lambda _: FileResponse(STATIC / "index.html", headers=HEADERS)),
            Mount("/static", StaticFiles(directory=STATIC)),
            Route("/api/{path:path}", self.api, methods=["GET", "POST", "PUT", "DELETE"]),
        ]
        config = uvicorn.Config(
            Starlette(routes=routes), port=self.port, log_level="error", lifespan="off", timeout_graceful_shutdown=1
        )
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.server.run, daemon=True)
        self.thread.start()
        while not self.server.started:
            time.sleep(0.01)
        return self

    def stop(self):
        if self.server is not None:
            self.server.should_exit = self.server.force_exit = True
            self.thread.join()
            self.server = None

    def requests(self, method, part):
        return [body for verb, path, body in self.log if verb == method and part in path]

    async def api(self, request: Request):
        body = json.loads(await request.body() or b"{}")
        path = request.path_params["path"]
        self.log.append((request.method, path, body))
        if self.token and request.headers.get("authorization") != f"Bearer {self.token}":
            return JSONResponse({"error": "The token is wrong"}, 403)
        if self.fault is not None and (answer := self.fault(request.method, path, body)) is not None:
            return answer
        who = unquote(request.headers["x-annotator"])
        name = path.split("/")
        match request.method, name:
            case "GET", ["session"]:
                return JSONResponse(self.session())
            case "POST", ["next"]:
                return self.lease(who, skip=body.get("skip"))
            case "GET", ["photos", file]:
                photo = self.photos[int(file.removesuffix(".jpg"))]
                return Response(
                    photo.jpeg, media_type="image/jpeg", headers={"Cache-Control": "max-age=1000, immutable"}
                )
        photo = self.photos[int(name[1])]
        match request.method, name[2:]:
            case "POST", ["predict"]:
                return await self.predict(photo, body)
            case "PUT", ["masks", uuid]:
                return self.put(photo, uuid, body, who)
            case "DELETE", ["masks", uuid]:
                return self.delete(photo, uuid, int(request.query_params["revision"]))
            case "PUT", ["proposals", *number]:
                return self.propose(photo, number, body, who)
            case "PUT", ["verdicts", uuid]:
                photo.verdicts[uuid] = body["verdict"]
                return JSONResponse({})
            case "POST", ["done"]:
                self.done.add(photo.id)
                self.leases.pop(photo.id, None)
                return JSONResponse({})
            case "POST", ["skip"]:
                self.leases.pop(photo.id, None)
                return JSONResponse({})
            case "POST", ["back"]:
                earlier = [number for number in self.photos if number < photo.id]
                self.leases.pop(photo.id, None)
                return self.open(self.photos[earlier[-1]], who) if earlier else Response(status_code=204)
            case "POST", ["alive"]:
                return JSONResponse({})
        return JSONResponse({"error": "No such route"}, 404)

    def session(self):
        return {
            "model": {"name": "discs", "digest": "0" * 64, "frame": [256, 256], "logits": [GRID, GRID]},
            "mode": self.mode,
            "order": "listed",
            "photos": len(self.photos),
            "settings": {"lease_seconds": self.lease_seconds, "amber_seconds": 30, "smallest_mask": 10},
            "version": "test",
        }

    def lease(self, who, *, skip):
        held = [number for number, owner in self.leases.items() if owner == who and number != skip]
        free = [
            number for number in self.photos if number not in self.done and number not in self.leases and number != skip
        ]
        for number in held + free:
            return self.open(self.photos[number], who)
        return Response(status_code=204)

    def open(self, photo, who):
        self.leases[photo.id] = who
        return JSONResponse(
            {
                "photo": {"id": photo.id, "width": photo.width, "height": photo.height, "name": f"sa_{photo.id}.jpg"},
                "lease": {"number": 1, "seconds": self.lease_seconds},
                "masks": [{**mask, "verdict": photo.verdicts.get(uuid)} for uuid, mask in photo.masks.items()],
                "proposals": photo.proposals,
                "ahead": [number for number in self.photos if number > photo.id][:2],
            }
        )

    async def predict(self, photo, body):
        if body["previous"] is not None and body["previous"] not in self.handles:
            return JSONResponse({"error": "The logits are gone: click again"}, 400)
        self.hovers += body["hover"]
        self.most_hovers = max(self.most_hovers, self.hovers)
        await asyncio.sleep(self.delay)
        self.hovers -= body["hover"]
        height, width, valid = photo.grid
        found = photo.answer(body)
        candidates, grids = [], b""
        for logits, iou in zip(found, IOUS, strict=True):
            handle = f"h{next(self.numbers)}"  # none twice, whatever the server forgets
            self.handles[handle] = (logits, iou)
            candidates.append({"iou": iou, "stability": 0.98, "handle": handle})
            grids += np.clip(np.round(logits * 16), -127, 127).astype(np.int8).tobytes()
        header = {"generation": body["generation"], "height": height, "width": width, "valid": valid}
        text = json.dumps({**header, "candidates": candidates, "decode_ms": 1.0}).encode()
        return Response(struct.pack("<I", len(text)) + text + grids, media_type="application/octet-stream")

    def put(self, photo, uuid, body, who):
        old = photo.masks.get(uuid)
        if old and "revision" not in body:
            return JSONResponse(old)
        deleted = None if old else photo.deleted.get(uuid)
        revision = old["revision"] if old else deleted
        if body.get("revision") != revision:
            return JSONResponse({"error": "This mask has changed meanwhile", "stored": old, "deleted": deleted}, 409)
        iou = body.get("predicted_iou")
        if "handle" in body:
            if body["handle"] not in self.handles:
                return JSONResponse({"error": "The logits are gone: click again"}, 400)
            logits, iou = self.handles[body["handle"]]
            runs = encode(upscale(logits, photo.grid[2], photo.height, photo.width) > 0)
        else:
            runs = body["runs"]
            assert decode(runs).shape == (photo.height, photo.width)
        seconds = body["seconds"]
        photo.verdicts.pop(uuid, None)
        photo.masks[uuid] = stored_mask(uuid, runs, body["source"], who, iou, body["prompts"], revision, seconds)
        return JSONResponse(photo.masks[uuid])

    def delete(self, photo, uuid, revision):
        old = photo.masks.get(uuid)
        if old is None and uuid in photo.deleted:
            return JSONResponse({"revision": photo.deleted[uuid]})
        if old is None:
            return JSONResponse({"error": "No such mask"}, 404)
        if old["revision"] != revision:
            return JSONResponse({"error": "This mask has changed meanwhile", "stored": old}, 409)
        del photo.masks[uuid]
        photo.deleted[uuid] = revision + 1
        for proposal in photo.proposals:
            if proposal["uuid"] == uuid and proposal["state"] == "accepted":
                self.set_state(proposal, "rejected")
        return JSONResponse({"revision": revision + 1})

    @staticmethod
    def set_state(proposal, state):
        proposal.update(state=state, revision=proposal["revision"] + 1)

    def propose(self, photo, number, body, who):
        """Set states as the routes do; one whose mask is there is accepted again, and has the same mask."""
        wanted = body["accepted"] if not number else {number[0]: body["revision"]}
        chosen = [(photo.proposals[int(place)], revision) for place, revision in wanted.items()]
        accepted, status = [], 200
        if any(one["revision"] != revision and one["uuid"] not in photo.masks for one, revision in chosen):
            chosen, status = [], 409
        for proposal, revision in chosen:
            uuid, state = proposal["uuid"], body.get("state", "accepted")
            if state != "accepted":
                if state != "changed" and uuid in photo.masks:
                    self.delete(photo, uuid, photo.masks[uuid]["revision"])
                proposal.update(state=state, revision=revision + 1)
                continue
            if uuid not in photo.masks:
                prompts = {"points": [], "labels": [], "box": None}
                iou = proposal["predicted_iou"]
                mask = stored_mask(uuid, proposal["runs"], "proposal", who, iou, prompts, photo.deleted.get(uuid))
                photo.masks[uuid] = mask
                self.set_state(proposal, "accepted")
            accepted.append(photo.masks[uuid])
        states = {str(one["number"]): {name: one[name] for name in ("state", "revision")} for one in photo.proposals}
        content = {"accepted": accepted, "states": states}
        return JSONResponse(content if status == 200 else {"error": "Set since", **content}, status)


@contextlib.contextmanager
def serving(photos, **options):
    server = DiscServer(photos, **options).start()
    try:
        yield server
    finally:
        server.stop()
