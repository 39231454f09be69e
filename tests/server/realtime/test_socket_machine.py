"""Watchers come, stall, leave, break off and return with `since`: each sees every fact once and in order."""

from __future__ import annotations

import trio
from hypothesis import example, given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from penstock.protocol.events import UploadProgress, unpack
from tests.server.realtime.socket_driver import TRANSPORTS, Client
from tests.server.realtime.socket_running import Running, joined, running, settle
from tests.server.uploads.rig import FedBody

WATCHERS = 4
SIZE = 1000

Fact = tuple[int, str]  # its seq and the name of an event: one fact may be told in several
Step = tuple[str, int]

watchers = st.integers(0, WATCHERS - 1)
steps = st.one_of(
    st.tuples(st.sampled_from(["come", "come", "leave", "break off", "stall", "read"]), watchers),
    st.tuples(st.just("facts"), st.integers(1, 20)),
    st.tuples(st.just("bytes"), st.integers(1, 50)),
    st.tuples(st.just("wait"), st.integers(0, 1)),
)


class Watcher:
    """Somebody with one connection at a time, now on this transport, now on that."""

    def __init__(self) -> None:
        self.facts: list[Fact] = []
        self.client: Client | None = None
        self.first: int | None = None  # the fact it has begun with
        self._taken = 0  # of the client's events
        self._connections = 0

    async def come(self, both: Running, nursery: trio.Nursery, session_id: str) -> None:
        """Watch, on a new connection if there is none; everything that was missed must come."""
        if self.client is None or self.client.ended.is_set():
            self._connections += 1
            self.client = await both.open(nursery, TRANSPORTS[self._connections % 2])
            self._taken = 0
            await self.client.connect()
        self.client.reading.set()
        await settle()
        self.take()
        if self.first is None:
            self.first = (await joined(self.client, session_id))["seq"]
        else:
            since = {"epoch": both.rig.store.epoch, "seq": self.facts[-1][0] if self.facts else self.first}
            assert (await joined(self.client, session_id, since=since))["recovered"] is True

    async def leave(self, session_id: str) -> None:
        if self.is_here:
            assert self.client is not None
            self.client.reading.set()
            await self.client.ask("leave-session", session_id)
            self.take()

    async def break_off(self) -> None:
        if self.is_here:
            assert self.client is not None
            self.client.hang_up()
            self.client.reading.set()
            await self.client.closed()
            self.take()

    @property
    def is_here(self) -> bool:
        return self.client is not None and not self.client.ended.is_set()

    def take(self) -> None:
        """Note what the client was told since."""
        if self.client is not None:
            events = self.client.events()
            self.facts += [
                (payload["seq"], name)
                for name, payload in events[self._taken :]
                if name != "upload-progress" or payload.get("fact")
            ]
            self._taken = len(events)


def all_facts(both: Running, session_id: str) -> list[Fact]:
    """As they lie in the database."""
    stored = both.rig.store._tables.facts.get(session_id, {})
    return [
        (seq, event.NAME)
        for seq in sorted(stored)
        for event in unpack(stored[seq])
        if not isinstance(event, UploadProgress) or event.fact is True
    ]


async def play(plan: list[Step], ring_facts: int, fans_out: bool) -> None:
    everybody = [Watcher() for _ in range(WATCHERS)]
    body = FedBody(length=SIZE)
    async with running(fans_out=fans_out, ring_facts=ring_facts, messages_burst=10_000) as both:
        session_id = await both.rig.one_file(SIZE)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(both.rig.put, session_id, body)
            for kind, number in plan:
                await take_step(kind, number, everybody, both, nursery, session_id, body)
            body.feed(bytes(SIZE - body.taken - body.unread_bytes))
            body.end()
            await both.rig.command("upload-resume", session_id)
            for watcher in everybody:
                await watcher.come(both, nursery, session_id)
            await settle()
            expected = all_facts(both, session_id)
            assert expected[-1][1] == "session-completed"
            for watcher in everybody:
                watcher.take()
                assert watcher.facts == [fact for fact in expected if fact[0] > (watcher.first or 0)]
                await watcher.break_off()
            await trio.sleep(both.rig.settings.ping_interval_s + both.rig.settings.ping_timeout_s + 1)
            assert both.watches == 0  # also of those that have just not polled again
            assert both.server.statistics()["sessions"] == 0


async def take_step(
    kind: str,
    number: int,
    everybody: list[Watcher],
    both: Running,
    nursery: trio.Nursery,
    session_id: str,
    body: FedBody,
) -> None:
    watcher = everybody[number % WATCHERS]
    match kind:
        case "come":
            await watcher.come(both, nursery, session_id)
        case "leave":
            await watcher.leave(session_id)
        case "break off":
            await watcher.break_off()
        case "stall" if watcher.is_here and watcher.client is not None:
            watcher.client.stall()
        case "read" if watcher.is_here and watcher.client is not None:
            watcher.client.reading.set()
        case "facts":
            for _ in range(number):
                await both.rig.command("upload-pause", session_id)
                await both.rig.command("upload-resume", session_id)
        case "bytes":
            body.feed(bytes(min(number, SIZE - 1 - body.taken - body.unread_bytes)))
            await trio.sleep(0.6)
        case "wait" if number:
            await settle()


def run(plan: list[Step], ring_facts: int, fans_out: bool) -> None:
    trio.run(play, plan, ring_facts, fans_out, clock=MockClock(autojump_threshold=0))


@settings(max_examples=60, deadline=None)
@given(st.lists(steps, max_size=25), st.sampled_from([2, 10, 1024]), st.booleans())
@example([("come", 0), ("facts", 5), ("break off", 0), ("facts", 5), ("come", 0), ("leave", 0)], 2, True)
@example([("come", 1), ("stall", 1), ("facts", 20), ("break off", 1), ("bytes", 9), ("come", 1)], 2, True)
def test_each_watcher_sees_every_fact_once_and_in_order(
    plan: list[Step], ring_facts: int, fans_out: bool
) -> None:
    run(plan, ring_facts, fans_out)
