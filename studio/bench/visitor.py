"""A visitor of `bench load`: sends files, runs, cancels, reloads, and looks at what comes back."""

from __future__ import annotations

import json
import random
import re
import secrets
import threading
import time
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

import httpx
from PIL import Image

from studio.bench.echo import ENGINE as ECHO

PICTURE = "superres.classical"
_OTHERS = re.compile(r"visitor-(\d+)-")
_SIDE = 24  # pixels of a picture


class Refused(Exception):
    """An endpoint answered with an error; (code, sentence)."""


@dataclass
class Seen:
    """What a visitor found, together with all others."""

    errors: list[str] = field(default_factory=list)
    mixed: list[str] = field(default_factory=list)
    reloads: int = 0
    submitted: int = 0
    fetched: int = 0
    asked_to_stop: int = 0
    jobs: dict[str, int] = field(default_factory=dict)  # id -> whose
    lock: threading.Lock = field(default_factory=threading.Lock)


class Visitor(threading.Thread):
    """One of them, until `until` (by time.monotonic); then waits for what it has asked for."""

    def __init__(self, number: int, address: str, until: float, seen: Seen) -> None:
        super().__init__(name=f"visitor {number}", daemon=True)
        self._number = number
        self._until = until
        self._seen = seen
        self._random = random.Random(number)  # noqa: S311 - not for secrets
        self._sent = 0
        self._http = httpx.Client(
            base_url=address, headers={"X-Studio-Key": secrets.token_hex(16)}, timeout=120
        )
        self._opens: dict[str, Any] = {}
        self._memory: Any = {}

    def run(self) -> None:
        """Visit."""
        with self._http:
            while time.monotonic() < self._until:
                try:
                    self._visit()
                except Exception as error:
                    self._wrong(f"{type(error).__name__}: {error}")
                    time.sleep(1.0)

    def _visit(self) -> None:
        if self._random.random() < 0.5:
            self._reload()
        self._guess()
        left = {job: name for _ in range(self._random.randint(1, 3)) for job, name in self._ask()}
        if self._random.random() < 0.4:
            job = self._random.choice(list(left))
            with self._seen.lock:
                self._seen.asked_to_stop += 1
            self._call("cancel", job)
        while left:
            time.sleep(self._random.uniform(0.3, 0.8))
            for job in list(left):
                state = self._call("status", job)
                if state["state"] in ("done", "failed", "cancelled"):
                    self._ended(job, left.pop(job), state)

    def _ask(self) -> list[tuple[str, str]]:
        """Send one file and have it done; (job, name of the file)."""
        self._sent += 1
        name = f"visitor-{self._number}-{self._sent}"
        if self._random.random() < 0.3:
            engine, file = PICTURE, (f"{name}.png", _picture(self._colour()))
            params: dict[str, Any] = {"scale": 2}
        else:
            engine, file = ECHO, (f"{name}.txt", name.encode())
            params = {"seconds": self._random.choice((0.0, 0.1, 0.5))}
        sent = self._http.post("/gradio_api/upload", files={"files": file})
        sent.raise_for_status()
        queued = self._call("submit", engine, sent.json(), params, 1)
        with self._seen.lock:
            self._seen.submitted += 1
            self._seen.jobs |= dict.fromkeys(queued["jobs"], self._number)
        return [(job, name) for job in queued["jobs"]]

    def _ended(self, job: str, name: str, state: dict[str, Any]) -> None:
        if state["state"] == "failed":
            self._wrong(f"{name} failed: {state['error']}")
        if state["state"] != "done":
            return
        result = self._call("result", job)
        [output] = result["outputs"]
        content = self._http.get(output["url"])
        content.raise_for_status()
        if result["engine"] == ECHO:
            mine = content.text == name
        else:
            with Image.open(BytesIO(content.content)) as picture:
                middle = picture.convert("RGB").getpixel((_SIDE, _SIDE))
                assert isinstance(middle, tuple)
                near = max(abs(a - b) for a, b in zip(middle, self._colour(), strict=True)) <= 3
                mine = picture.size == (2 * _SIDE, 2 * _SIDE) and near
        if not mine or not result["inputs"][0].startswith(name):
            self._mixed(f"{name} got what is not its own")
        with self._seen.lock:
            self._seen.fetched += 1

    def _reload(self) -> None:
        """Open the page anew, and look at what it shows."""
        self._http.get("/").raise_for_status()
        if not self._opens:
            config = self._http.get("/config")
            config.raise_for_status()
            self._opens = next(
                one for one in config.json()["dependencies"]
                if one["backend_fn"] and any(event == "load" for _, event in one["targets"])
            )  # fmt: skip
        answer = self._http.post(
            "/gradio_api/run/predict",
            json={"data": [self._memory, None, {}], "fn_index": self._opens["id"],
                  "session_hash": secrets.token_hex(5)},
        )  # fmt: skip
        answer.raise_for_status()
        if {int(number) for number in _OTHERS.findall(answer.text)} - {self._number}:
            self._mixed("a page showed another visitor's file")
        with self._seen.lock:
            self._seen.reloads += 1

    def _guess(self) -> None:
        """Ask for somebody else's job, as if its id had been guessed."""
        with self._seen.lock:
            others = [job for job, whose in self._seen.jobs.items() if whose != self._number]
        if not others:
            return
        try:
            self._call("result", self._random.choice(others))
            self._mixed("another visitor's job was told")
        except Refused as refused:
            if refused.args[0] != "not_found":
                raise

    def _call(self, endpoint: str, *values: Any) -> Any:
        asked = self._http.post(f"/gradio_api/call/{endpoint}", json={"data": list(values)})
        asked.raise_for_status()
        answer = self._http.get(f"/gradio_api/call/{endpoint}/{asked.json()['event_id']}")
        answer.raise_for_status()
        event, data = "", ""
        for line in answer.text.splitlines():
            kind, _, rest = line.partition(": ")
            event, data = (rest, data) if kind == "event" else (event, rest or data)
        found = json.loads(data)
        if event == "error":
            raise Refused(found["title"], found["error"])
        return found[0]

    def _colour(self) -> tuple[int, int, int]:
        return 10 + 11 * self._number % 240, 10 + 37 * self._number % 240, 128

    def _wrong(self, sentence: str) -> None:
        with self._seen.lock:
            self._seen.errors.append(f"visitor {self._number}: {sentence}")

    def _mixed(self, sentence: str) -> None:
        with self._seen.lock:
            self._seen.mixed.append(f"visitor {self._number}: {sentence}")


def _picture(colour: tuple[int, int, int]) -> bytes:
    made = BytesIO()
    Image.new("RGB", (_SIDE, _SIDE), colour).save(made, "PNG")
    return made.getvalue()
