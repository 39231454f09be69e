"""What a server offers to be watched: sessions to join, and a way to make it emit."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from http.client import HTTPConnection
from typing import Any, Self
from uuid import uuid4

from bench.contestants import Contestant, Elsewhere, Penstock
from bench.live.payload import FILE_BYTES, FILE_ID, FILE_NAME, LIKE_OURS
from bench.live.wire import watch_target
from bench.processes import Running
from bench.workload import Entry, Failed

JSON = {"Content-Type": "application/json"}
ANSWER_S = 60.0
SESSIONS = "/api/upload/sessions"


class Stage(ABC):
    """One server, over one HTTP connection that is kept. Raises: Failed, whenever it refuses."""

    greetings: int  # events a watcher is told when it has joined

    def __init__(self, server: Running) -> None:
        self.host, self.port = server.host, server.port
        self._http = HTTPConnection(server.host, server.port, timeout=ANSWER_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def target(self, session: str) -> str:
        """What a watcher asks for that joins it."""
        return watch_target(session)

    @abstractmethod
    def session(self) -> str:
        """A new one."""

    @abstractmethod
    def emit(self, session: str, count: int) -> None:
        """So many events to all who watch it, one after the other, as fast as the server can."""

    def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        return dict(json.loads(self._say("POST", path, json.dumps(body))))

    def _say(self, method: str, path: str, body: str | None = None) -> bytes:
        self._http.request(method, path, body, JSON)
        answer = self._http.getresponse()
        text = answer.read()
        if answer.status >= 300:
            raise Failed(f"{method} {path}: {answer.status} {text[:300].decode(errors='replace')}")
        return text


class PenstockStage(Stage):
    """Real events: pause and resume in turn are a fact each, committed and told to every watcher."""

    greetings = 2  # connected; joined

    def session(self) -> str:
        wanted = {"files": [{"fileName": FILE_NAME, "fileId": FILE_ID, "fileSize": FILE_BYTES}]}
        return str(self.post(SESSIONS, wanted)["sessionId"])

    def emit(self, session: str, count: int) -> None:
        if count % 2:
            raise ValueError("a pause for each resume: an even number")
        for _ in range(count // 2):
            for command in ("upload-pause", "upload-resume"):
                self.post(f"{SESSIONS}/{session}/commands", {"type": command, "fileId": FILE_ID})

    def uploads(self, count: int, size: int | None = None) -> tuple[str, list[str]]:
        """A session with so many files (`f0`, `f1`, …), and where their bytes go."""
        declared = {} if size is None else {"fileSize": size}
        files = [{"fileName": f"{index}.bin", "fileId": f"f{index}", **declared} for index in range(count)]
        made = self.post(SESSIONS, {"files": files})
        return made["sessionId"], [file["uploadUrl"] for file in made["files"]]

    def cancel(self, session: str) -> None:
        """What is stored of it is gone when this returns."""
        self._say("DELETE", f"{SESSIONS}/{session}")


class PeerStage(Stage):
    """Emits what it is told to: an event as one of ours, to a room."""

    greetings = 1

    def session(self) -> str:
        return uuid4().hex

    def emit(self, session: str, count: int) -> None:
        self.emit_to([session], count, 0)

    def emit_to(self, sessions: Sequence[str], count: int, every_s: float) -> None:
        """With `every_s` at that pace, the sessions spread over it; the answer does not wait for the end."""
        wanted = {"rooms": list(sessions), "count": count, "every": every_s, "payload": LIKE_OURS}
        self.post("/emit", wanted)


class ForeignStage(Stage):
    """A server that runs already: who connects to it joins nothing and need not be greeted."""

    greetings = 0

    def session(self) -> str:
        return ""

    def emit(self, session: str, count: int) -> None:
        raise Failed("nobody but its owner can make it emit")


def stage_of(entry: Entry) -> Stage:
    return stage_for(entry.contestant, entry.server)


def stage_for(contestant: Contestant, server: Running) -> Stage:
    if isinstance(contestant, Elsewhere):
        return ForeignStage(server)
    return PenstockStage(server) if isinstance(contestant, Penstock) else PeerStage(server)
