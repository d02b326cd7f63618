"""Annotators at the routes of a server that dies: delays, lost answers, repetitions, tabs that close, late masks.

What the server has acknowledged goes to a `Ledger`, which is compared with the files in the end.
"""

import asyncio
import json
import random
import struct
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field

import httpx2
from helpers.annotators import HEIGHT, WIDTH, rectangle

from samjax.data.masks.mask_uuid import generated_uuid

_LOST = 0.15
"""Share of requests whose answer is not waited for."""
_TAB_CLOSES = 0.03
"""Share of the repetitions in whose place the tab is closed."""
ACTS = ("add", "add", "click", "click", "change", "change", "delete", "undo", "accept", "reject", "alive", "late")
AWAY_SECONDS = 2.5
"""Longer than a lease."""

Key = tuple[int, str]
"""A photo's id and a mask's UUID."""


class TabClosedError(Exception):
    """The page is gone, and what it knew with it."""


class RefusedError(Exception):
    """The server has refused a request."""

    def __init__(self, status: int, content: dict, *, is_repeated: bool):
        super().__init__(f"{status}: {content}")
        self.content, self.is_repeated = content, is_repeated


@dataclass
class Ledger:
    """What the server has told all pages."""

    told: dict[Key, tuple[int, str | None]] = field(default_factory=dict)
    """The last revision that was acknowledged, with its runs, None if that was a deletion."""
    unsure: set[Key] = field(default_factory=set)
    """Of requests that nobody has got an answer to."""
    holders: dict[int, tuple[str, float]] = field(default_factory=dict)
    """Who has a photo, and until when at least."""
    counts: Counter = field(default_factory=Counter)
    is_over: bool = False

    def tell(self, photo: int, name: str, revision: int, counts: str | None) -> None:
        if revision >= self.told.get((photo, name), (0, None))[0]:
            self.told[photo, name] = (revision, counts)

    def tell_mask(self, photo: int, mask: dict) -> None:
        self.tell(photo, mask["uuid"], mask["revision"], mask["runs"]["counts"])

    def hold(self, photo: int, name: str, *, sent: float, seconds: float) -> None:
        holder, until = self.holders.get(photo, (name, 0.0))
        assert holder == name or until <= time.monotonic(), f"{name} gets photo {photo}, which {holder} has"
        self.holders[photo] = (name, sent + seconds)

    def check(self, folder) -> None:
        """Compare it with a folder."""
        found = [(id, mask) for id in folder.photos for mask in folder.masks(id)]
        existing = {(id, mask.uuid): (mask.revision, mask.runs["counts"]) for id, mask in found}
        assert len(existing) == len(found) == len({mask.id for _, mask in found})
        for key, (revision, counts) in self.told.items():
            if key not in self.unsure:
                assert existing.get(key) == (None if counts is None else (revision, counts))
        assert existing.keys() <= self.told.keys() | self.unsure


class Annotator:
    """A person whose page is opened again and again."""

    def __init__(self, name: str, address: str, ledger: Ledger, *, seed: int):
        self.name, self.ledger, self.draw = name, ledger, random.Random(f"{seed} {name}")
        self.client = httpx2.AsyncClient(base_url=address, headers={"X-Annotator": name}, timeout=20)
        self.close_tab()

    def close_tab(self) -> None:
        self.photo: int | None = None
        self.lease = 0
        self.masks: dict[str, dict] = {}
        self.proposals: list[dict] = []
        self.deleted: list[tuple[dict, int]] = []
        self.earlier: list[int] = []

    async def work(self) -> None:
        async with self.client:
            while not self.ledger.is_over:
                try:
                    if not await self.open_next():
                        await asyncio.sleep(0.05)
                        continue
                    for _ in range(self.draw.randint(1, 8)):
                        await self.act(self.draw.choice(ACTS))
                    await self.leave()
                except TabClosedError:
                    self.ledger.counts["tabs closed"] += 1
                    self.close_tab()
                except RefusedError as error:  # the lease is over, or the mask has changed: the page opens the photo
                    self.ledger.counts["refused"] += 1
                    if error.content.get("stored"):
                        self.ledger.tell_mask(self.photo, error.content["stored"])

    async def open_next(self) -> bool:
        before = dict(self.ledger.told)
        sent, answer = await self.ask("POST", "next", {})
        if answer is None:
            return False
        photo, masks = answer["photo"]["id"], answer["masks"]
        self.ledger.hold(photo, self.name, sent=sent, seconds=answer["lease"]["seconds"])
        self.photo, self.lease = photo, answer["lease"]["number"]
        self.masks, self.proposals, self.deleted = {one["uuid"]: one for one in masks}, answer["proposals"], []
        assert len(self.masks) == len(masks)
        for (id, name), (revision, counts) in before.items():
            is_sure = (id, name) not in self.ledger.unsure and self.ledger.told[id, name] == (revision, counts)
            if id == photo and is_sure and counts is not None:
                assert self.masks[name]["revision"] == revision
        return True

    async def act(self, act: str) -> None:
        if act in ("add", "click", "late"):
            photo = self.draw.choice(self.earlier) if act == "late" and self.earlier else self.photo
            await self.add(photo, with_model=act == "click")
        elif act in ("accept", "reject"):
            await self.set_proposal(act)
        elif act == "alive":
            await self.ask("POST", f"photos/{self.photo}/alive", {"lease": self.lease})
        elif act == "undo" and self.deleted:
            mask, revision = self.deleted.pop()
            await self.put(self.photo, mask["uuid"], {"runs": mask["runs"], "revision": revision})
        elif self.masks:
            mask = self.draw.choice(list(self.masks.values()))
            if act == "change":
                runs = rectangle(self.draw.randrange(190))
                await self.put(self.photo, mask["uuid"], {"runs": runs, "revision": mask["revision"]})
            elif act == "delete":
                await self.delete(mask)

    async def add(self, photo: int, *, with_model: bool) -> None:
        name = str(uuid.UUID(int=self.draw.getrandbits(128), version=4))
        body = {"runs": rectangle(self.draw.randrange(190))}
        if with_model:
            point = [self.draw.randrange(WIDTH), self.draw.randrange(HEIGHT)]
            _, packed = await self.ask("POST", f"photos/{photo}/predict", {"points": [point], "labels": [1]})
            (length,) = struct.unpack("<I", packed[:4])
            body = {"handle": json.loads(packed[4 : 4 + length])["candidates"][0]["handle"]}
            await asyncio.sleep(self.draw.uniform(0, 0.2))
        try:
            await self.put(photo, name, body)
        except RefusedError as error:
            if "logits are gone" not in error.content["error"]:
                raise
            self.ledger.counts["handles lost"] += 1
            await self.put(photo, name, {"runs": rectangle(self.draw.randrange(190))})

    async def put(self, photo: int, name: str, body: dict) -> None:
        prompts = {"points": [], "labels": [], "box": None}
        content = {"source": "brush", "prompts": prompts, "seconds": 1.0, "lease": self.lease, **body}
        _, mask = await self.ask("PUT", f"photos/{photo}/masks/{name}", content, key=(photo, name))
        assert mask["uuid"] == name
        self.ledger.tell_mask(photo, mask)
        self.ledger.counts["masks"] += 1
        if photo == self.photo:
            self.masks[name] = mask

    async def delete(self, mask: dict) -> None:
        name, revision = mask["uuid"], mask["revision"]
        path = f"photos/{self.photo}/masks/{name}?revision={revision}&lease={self.lease}"
        _, answer = await self.ask("DELETE", path, key=(self.photo, name))
        self.ledger.tell(self.photo, name, answer["revision"], None)
        self.deleted.append((self.masks.pop(name), answer["revision"]))

    async def set_proposal(self, act: str) -> None:
        if not self.proposals:
            return
        one = self.draw.choice(self.proposals)
        name = generated_uuid(self.photo, one["number"], one["runs"]["counts"])
        mask = self.masks.get(name)
        if (mask is not None) == (act == "accept"):
            return
        if mask is not None and mask["source"] != "proposal":
            return
        body = {"state": f"{act}ed", "revision": one["revision"], "lease": self.lease}
        path = f"photos/{self.photo}/proposals/{one['number']}"
        _, answer = await self.ask("PUT", path, body, key=(self.photo, name))
        for number, state in answer["states"].items():
            self.proposals[int(number)] |= state
        if mask is not None:
            self.ledger.tell(self.photo, name, self.masks.pop(name)["revision"] + 1, None)
        for accepted in answer["accepted"]:
            assert accepted["uuid"] == name
            self.ledger.tell_mask(self.photo, accepted)
            self.masks[name] = accepted

    async def leave(self) -> None:
        way = self.draw.choices(["skip", "done", "away"], [0.7, 0.1, 0.2])[0]
        if way == "away":
            await asyncio.sleep(AWAY_SECONDS)
            return
        self.earlier.append(self.photo)
        self.ledger.holders.pop(self.photo, None)  # nobody knows who has it until an answer comes
        await self.ask("POST", f"photos/{self.photo}/{way}", {"lease": self.lease})

    async def ask(self, method: str, path: str, body=None, *, key: Key | None = None):
        """Send a request until there is an answer; return when it was sent last, and the answer.

        Args:
          key: what it changes.
        """
        is_repeated = False
        while True:
            sent = time.monotonic()
            try:
                waiting = self.client.request(method, f"/api/{path}", json=body)
                patience = self.draw.uniform(0, 0.03) if self.draw.random() < _LOST else None
                answer = await asyncio.wait_for(waiting, patience)
                break
            except (TimeoutError, httpx2.TransportError):
                self.ledger.counts["answers lost"] += 1
                is_repeated = True
                if self.draw.random() < _TAB_CLOSES:
                    self.ledger.unsure |= {key} if key else set()
                    raise TabClosedError from None
                await asyncio.sleep(self.draw.uniform(0.01, 0.1))
        if answer.status_code < 400:
            return sent, self._content(answer)
        assert answer.status_code < 500, answer.text
        error = RefusedError(answer.status_code, answer.json(), is_repeated=is_repeated)
        if key is not None and is_repeated and not error.content.get("stored"):
            self.ledger.unsure.add(key)  # the first may have been done
        raise error

    def _content(self, answer):
        if answer.status_code == 204:
            return None
        is_json = answer.headers["content-type"].startswith("application/json")
        return answer.json() if is_json else answer.content
