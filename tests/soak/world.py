"""What all clients of a run share: the way to the server, the ledger, and whether they may go on."""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from enum import StrEnum
from typing import Any, NamedTuple

import trio

from tests.acceptance.api import SESSIONS, Api
from tests.conformance.wire import Answer
from tests.soak import exchange
from tests.soak.bodies import ENDS, HONEST, NOTHING, Body, Manner, Sin
from tests.soak.exchange import Fields, Hear
from tests.soak.ledger import Entry, Excuses, Ledger
from tests.soak.machine import Machine

SILENCE_S = {"direct": 20.0, "http/2": 20.0, "rough": 4.0}
"""How long no byte may move: several times what the server may hold us. Less where connections die unseen:
far below `ended_retention_s`, or a client comes back to an upload that was completed and forgotten."""

PATIENCE_S = 90.0
"""A client that has not come one step further by then gives up, which is a problem of the run."""

PASSING = (409, 423, 429, 500, 503, 507)  # come back later; whether a 5xx was right is judged by `ask`


class Route(StrEnum):
    DIRECT = "direct"
    HTTP2 = "http/2"
    ROUGH = "rough"  # by way of a proxy that breaks connections


class Gone(Exception):
    """404 or 410: there is nothing to go on with."""


class GaveUp(Exception):
    """The server refused what it should take, or did not answer for too long."""


class Shown(NamedTuple):
    """A session that others may look at."""

    session_id: str
    watch_key: str


class World:
    def __init__(self, machine: Machine, ledger: Ledger, seed: int) -> None:
        self.machine = machine
        self.ledger = ledger
        self.excuses = Excuses()
        self.seed = seed
        self.rough_port = 0
        self.steady_url = ""  # of a proxy that stays while servers come and go
        self.shown: dict[str, Shown] = {}
        self.statuses: Counter[int] = Counter()
        self.uploads_of_life = 0
        self.began_at = trio.current_time()
        self._may_work = trio.Event()
        self._may_work.set()
        self._at_work = 0
        self._idle = trio.Event()

    def now_s(self) -> float:
        return trio.current_time() - self.began_at

    # Work and rest

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """One piece of work, begun only while work is wanted."""
        while not self._may_work.is_set():
            await self._may_work.wait()
        self._at_work += 1
        try:
            yield
        finally:
            self._at_work -= 1
            if not self._at_work:
                self._idle.set()

    async def rest(self) -> None:
        """Let nobody begin anything, and wait until all have finished."""
        self._may_work = trio.Event()
        while self._at_work:
            self._idle = trio.Event()
            await self._idle.wait()

    def go_on(self) -> None:
        self._may_work.set()

    @property
    def is_resting(self) -> bool:
        return not self._may_work.is_set()

    # Requests

    @property
    def api(self) -> Api:
        return Api(self.machine.gateway)

    @contextmanager
    def excuse(self, what: str) -> Iterator[None]:
        self.ledger.counts[what] += 1
        with self.excuses.during(what, time.time):
            yield

    async def ask(
        self,
        method: str,
        path: str,
        fields: Fields | None = None,
        body: Body = NOTHING,
        manner: Manner = HONEST,
        hear: Hear = lambda answer: None,
        route: Route = Route.DIRECT,
    ) -> Answer | None:
        """The answer, or None where the connection broke. What nothing explains is noted as a problem."""
        began = time.time()
        answer = await self._ask(route, method, path, fields or [], body, manner, hear)
        excuse = self.excuses.between(began, time.time())
        if manner.sin is not Sin.NONE:
            self.ledger.counts[f"sent with {manner.sin}"] += 1
        what = f"{method} {path} ({route}, {manner.sin}, {time.time() - began:.1f} s)"
        if answer is None:
            if excuse is None and route is not Route.ROUGH and manner.sin not in ENDS:
                self.ledger.problem("silence", what)
            return None
        self.statuses[answer.status] += 1
        if answer.status >= 500 and excuse is None and not _is_for_a_stall(answer, manner):
            self.ledger.problem("refusal", f"{answer.status} to {what}: {answer.body[:300]!r}")
        return answer

    async def _ask(self, route: Route, method: str, path: str, *rest: Any) -> Answer | None:
        gateway = self.machine.gateway
        port = self.rough_port if route is Route.ROUGH else gateway.port
        with suppress(OSError):
            stream = await trio.open_tcp_stream(gateway.host, port)
            authority = f"{gateway.host}:{gateway.port}"
            return await exchange.ask(
                stream,
                authority,
                method,
                path,
                *rest,
                silence_s=SILENCE_S[route],
                http2=route is Route.HTTP2,
            )
        return None

    async def insist(self, request: Callable[[], Awaitable[Answer | None]], who: str) -> Answer:
        """Ask again until it is done. Raises: Gone, GaveUp."""
        answer = None
        with trio.move_on_after(PATIENCE_S):
            while True:
                answer = await request()
                if answer is not None:
                    if answer.ok:
                        return answer
                    if answer.status in (404, 410):
                        raise Gone(str(answer))
                    if answer.status not in PASSING:
                        break
                await trio.sleep(0.1 + random.random() * 0.2)
        raise GaveUp(f"{who}: {answer}")

    async def get_json(self, path: str) -> Any:
        """Raises: Gone, GaveUp."""
        answer = await self.insist(lambda: self.ask("GET", path), f"GET {path}")
        return json.loads(answer.body)

    async def create_session(self, files: list[dict[str, Any]], key: str) -> dict[str, Any]:
        """A session that others may see from now on. Raises: GaveUp."""
        data = json.dumps({"files": files}).encode()
        fields = [("Idempotency-Key", key)]
        answer = await self.insist(
            lambda: self.ask("POST", SESSIONS, fields, Body(len(data), (data,))), "POST sessions"
        )
        created: dict[str, Any] = json.loads(answer.body)
        self.shown[created["sessionId"]] = Shown(created["sessionId"], created["watchKey"])
        return created

    async def command(self, session_id: str, name: str, **fields: Any) -> Answer | None:
        data = json.dumps({"type": name, **fields}).encode()
        return await self.ask("POST", f"{SESSIONS}/{session_id}/commands", [], Body(len(data), (data,)))

    def enter(self, dialect: str, size: int) -> Entry:
        return self.ledger.enter(dialect, size)


def _is_for_a_stall(answer: Answer, manner: Manner) -> bool:
    """What a client gets that let the server wait for too long: in tus 503, since its clients know no 408."""
    return manner.sin is Sin.STALL and b"CONNECTION_TIMEOUT" in answer.body
