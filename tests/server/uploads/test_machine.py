"""Any mix of what clients, watchers, disks, time and power can do, against a model of what must hold then."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from contextlib import suppress
from copy import deepcopy
from functools import partial
from random import Random
from typing import Any, Literal

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from trio.testing import MockClock

from penstock.protocol.commands import FileSpec, Since
from penstock.protocol.errors import GatewayError, SessionNotFound
from penstock.protocol.events import SessionCompleted, UploadProgress
from penstock.protocol.lifecycle import State
from penstock.server.uploads.actor import ANYBODY
from penstock.server.uploads.digests import Digest
from penstock.server.uploads.file import LiveFile
from penstock.server.uploads.offsets import Manner
from penstock.server.uploads.ring import Entry
from penstock.server.uploads.watch import Wakeup, Watch
from penstock.storage.errors import StoreError
from tests.server.uploads.rig import FedBody, Rig, make_rig
from tests.server.uploads.sums import assert_nothing_held, assert_sums

pytestmark = pytest.mark.usefixtures("both_ways")

KIB = 1024
SIZES = {"f1": 200 * KIB, "f2": 90 * KIB, "f3": 0}  # f2's is not registered
FILES = st.sampled_from(["f1", "f1", "f1", "f2", "f3"])
WHICH = st.integers(0, 3)  # of the bodies that are still being sent
CLAIMS = st.sampled_from(["whole", "whole", "exact", "exact", "received", "off", "digest", "wrong-digest"])

STEPS = st.one_of(
    st.tuples(st.just("append"), FILES, CLAIMS),
    st.tuples(st.just("append"), FILES, CLAIMS),
    st.tuples(st.just("feed"), WHICH, st.sampled_from([1, 1000, 64 * KIB, 150 * KIB])),
    st.tuples(st.just("feed"), WHICH, st.sampled_from([1, 1000, 64 * KIB, 150 * KIB])),
    st.tuples(st.just("feed_all"), WHICH),
    st.tuples(st.sampled_from(["end", "break_off", "cut"]), WHICH),
    st.tuples(st.sampled_from(["pause", "resume"]), st.none() | FILES),
    st.tuples(st.just("cancel"), FILES),
    st.tuples(st.just("cancel"), st.none()),
    st.tuples(st.just("start"), FILES),
    st.tuples(st.just("head"), FILES, st.sampled_from(Manner)),
    st.tuples(st.just("head"), FILES, st.sampled_from(Manner)),
    st.tuples(st.just("register")),
    st.tuples(st.sampled_from(["kill", "power"])),
    st.tuples(st.sampled_from(["full", "slow", "fault"]), st.booleans()),
    st.tuples(st.sampled_from(["full", "slow", "fault"]), st.just(False)),
    st.tuples(st.just("wait"), st.sampled_from([0.2, 3.0, 20.0, 70.0, 700.0, 2000.0])),
)
# After a step: let everything come to rest, or only so many turns of the scheduler.
REST = st.none() | st.integers(0, 6)


class Sender:
    """A client's request: the bytes it was asked to send, and how it went."""

    def __init__(self, file_id: str, content: bytes, start: int | None, body: FedBody) -> None:
        self.file_id = file_id
        self.content = content  # of the whole file, as this client has it
        self.start = start
        self.body = body
        self.position = start or 0
        self.scope = trio.CancelScope()
        self.seen = False  # the server has taken a byte
        self.over = False
        self.error: GatewayError | None = None

    def feed(self, count: int) -> None:
        piece = self.content[self.position : self.position + count]
        self.position += len(piece)
        if piece:
            self.body.feed(piece)

    def end(self) -> None:
        if self.position == len(self.content) or self.body.length is None:
            self.body.end()
        else:
            self.body.break_off()


class Listener:
    """A watcher that comes back with `since` whenever it was cut off."""

    def __init__(self) -> None:
        self.watch: Watch | None = None
        self.facts: list[Entry] = []
        self.seq = 0
        self.epoch = ""

    async def join(self, rig: Rig, session_id: str) -> None:
        since = Since(epoch=self.epoch, seq=self.seq) if self.epoch else None
        joined = await rig.gateway.join(ANYBODY, session_id, Wakeup(), since=since)
        self.watch = joined.watch
        if not joined.recovered:
            assert since is None or since.epoch != joined.snapshot.epoch, "it missed facts that are kept"
            self.seq, self.facts = joined.watch.cursor, []
        self.epoch = joined.snapshot.epoch

    async def drain(self) -> list[Entry]:
        fresh: list[Entry] = []
        assert self.watch is not None
        while (entry := await self.watch.pull()) is not None:
            if not is_fact(entry) or entry is self.watch.session.farewell:
                assert entry.seq == self.seq, "a sample is older or newer than the facts around it"
                continue
            assert entry.seq == self.seq + 1, "a gap or a double"
            self.seq = entry.seq
            fresh.append(entry)
        self.facts += fresh
        return fresh


def is_fact(entry: Entry) -> bool:
    first = entry.events[0]
    return not isinstance(first, UploadProgress) or first.fact is True


class World:
    """A gateway, its clients and watchers; steps are its methods."""

    def __init__(self, rig: Rig, nursery: trio.Nursery) -> None:
        self.rig = rig
        self.nursery = nursery
        self.process: trio.Nursery  # everything that a kill ends
        self.senders: list[Sender] = []
        self.listeners = [Listener(), Listener()]
        self.contents: dict[tuple[str, int], bytes] = {}  # by file and attempt
        self.announced: dict[tuple[str, int], int] = {}
        self.session_id = ""
        self.variants = 0
        self.registered = 0
        self.refused = False  # the command or the append of the present step
        self.commanding = False
        self.promises = rig.settings.fsync == "append"
        self.completion_allowed = True
        self.troubled = False  # the state store has failed at least once

    async def begin(self) -> None:
        await self.start_process()
        files: list[dict[str, Any]] = [
            {"fileName": "a", "fileId": "f1", "fileSize": SIZES["f1"]},
            {"fileName": "b", "fileId": "f2"},
            {"fileName": "c", "fileId": "f3", "fileSize": 0},
        ]
        self.session_id = (await self.rig.session(*files))["sessionId"]
        for listener in self.listeners:
            await listener.join(self.rig, self.session_id)

    async def start_process(self) -> None:
        self.process = await self.nursery.start(lived)
        self.spawn(self.rig.gateway.janitor.run)

    def spawn(self, call: Callable[[], Awaitable[object]]) -> None:
        self.process.start_soon(call)

    async def file(self, file_id: str) -> LiveFile:
        session = await self.rig.gateway._registry.get(self.session_id)
        return session.files[file_id]

    # Steps

    async def append(self, file_id: str, kind: str) -> None:
        file = await self.file(file_id)
        start = {"whole": None, "received": file.received, "off": file.durable + 7}.get(kind, file.durable)
        content = self.contents.get((file_id, file.row.attempt))
        if content is None or not start:
            self.variants += 1
            content = Random(self.variants).randbytes(file.row.file_size or SIZES[file_id])
        sent = content[start or 0 :]
        digest = None
        if kind.endswith("digest"):
            digest = Digest("sha256", hashlib.sha256(sent + b"!" * (kind != "digest")).digest())
        chunked = self.variants % 2 == 0
        body = FedBody(length=None if chunked else len(sent))
        sender = Sender(file_id, content, start, body)
        self.senders.append(sender)
        length = len(content) if start is not None else None
        self.spawn(partial(self.send, sender, digest, length))

    async def send(self, sender: Sender, digest: Digest | None, length: int | None) -> None:
        claim: dict[str, Any] = {"offset": sender.start, "file_id": sender.file_id, "digest": digest}
        if sender.start is not None:
            claim["length"] = length
        try:
            with sender.scope:
                await self.rig.put(self.session_id, sender.body, **claim)
        except GatewayError as error:
            sender.error = error
            self.refused |= not self.commanding and sender is self.senders[-1] and not sender.body.taken
        except StoreError:
            assert self.troubled
        sender.over = True

    def sender(self, which: int) -> Sender | None:
        self.senders = [sender for sender in self.senders if not sender.over]
        return self.senders[which % len(self.senders)] if self.senders else None

    async def feed(self, which: int, count: int) -> None:
        if sender := self.sender(which):
            sender.feed(count)

    async def feed_all(self, which: int) -> None:
        if sender := self.sender(which):
            sender.feed(len(sender.content))
            sender.end()

    async def end(self, which: int) -> None:
        if sender := self.sender(which):
            sender.end()

    async def break_off(self, which: int) -> None:
        if sender := self.sender(which):
            sender.body.break_off()

    async def cut(self, which: int) -> None:
        if sender := self.sender(which):
            sender.scope.cancel()

    async def pause(self, file_id: str | None) -> None:
        self.spawn(partial(self.command, "upload-pause", file_id))

    async def resume(self, file_id: str | None) -> None:
        self.spawn(partial(self.command, "upload-resume", file_id))

    async def cancel(self, file_id: str | None) -> None:
        self.spawn(partial(self.command, "upload-cancel", file_id))

    async def start(self, file_id: str) -> None:
        self.spawn(partial(self.run_command, "upload-start", fileIds=[file_id], category="personal"))

    async def command(self, name: str, file_id: str | None) -> None:
        await self.run_command(name, **({"fileId": file_id} if file_id else {}))

    async def run_command(self, name: str, **fields: Any) -> None:
        rig, file_id = self.rig, fields.get("fileId")
        try:
            answer = await rig.command(name, self.session_id, **fields)
            session = rig.gateway._registry.sessions.get(self.session_id)
            if rig is not self.rig or file_id is None or session is None:
                return
            file = session.files[file_id]
            if name == "upload-cancel":
                assert file.row.blob_key not in rig.blobs.incoming_blobs
                assert file.reserved_bytes == 0
            else:
                self.announce(file_id, file.row.attempt, answer["status"], answer["durableBytes"])
        except GatewayError:
            self.refused = True
        except StoreError:
            assert self.troubled

    async def head(self, file_id: str, manner: Manner) -> None:
        self.spawn(partial(self.ask, file_id, manner))

    async def ask(self, file_id: str, manner: Manner) -> None:
        rig = self.rig
        with suppress(GatewayError, StoreError):
            report = await rig.offset(self.session_id, manner, file_id)
            if rig is self.rig:
                self.announce(file_id, report.attempt, report.status, report.offset)

    async def register(self) -> None:
        self.completion_allowed = True
        self.registered += 1
        spec = FileSpec(file_name="more", file_id=f"more{self.registered}", file_size=10)
        self.spawn(partial(self.run_register, spec))

    async def run_register(self, spec: FileSpec) -> None:
        with suppress(GatewayError, StoreError):
            await self.rig.gateway.register(ANYBODY, self.session_id, [spec])

    async def full(self, on: bool) -> None:
        self.rig.blobs.full_at_bytes = self.rig.blobs.used_bytes() + 1000 if on else 1 << 62

    async def slow(self, on: bool) -> None:
        """While the disk is slow nothing that is asked of it is done."""
        rig, gate = self.rig, self.rig.blobs.gate
        if on and gate is None:
            rig.blobs.gate = rig.store.gate = trio.Event()
        if not on and gate is not None:
            rig.blobs.gate = rig.store.gate = None
            gate.set()

    async def fault(self, on: bool) -> None:
        self.troubled |= on
        self.rig.store.fault = StoreError("the database is locked") if on else None

    async def wait(self, seconds: float) -> None:
        await trio.sleep(seconds)

    async def kill(self, *, power: bool = False) -> None:
        """The process dies; what it had written is there, or what was durable."""
        await self.slow(False)
        old = self.rig
        self.rig = Rig(old.settings, deepcopy(old.blobs), old.store)
        self.rig.store = copied_store(old)
        if power:
            self.rig.blobs.power_cut()
            self.rig.store.power_cut(f"boot-{Random().random()}")
        self.rig.blobs.open_writers = 0
        self.process.cancel_scope.cancel(reason="killed")
        self.senders.clear()
        await trio.testing.wait_all_tasks_blocked()  # the old one is gone
        await self.rig.open()
        await self.start_process()
        for listener in self.listeners:
            await listener.join(self.rig, self.session_id)

    async def power(self) -> None:
        await self.kill(power=True)

    # What must hold

    def refusable(self, name: str, arguments: list[Any]) -> bool:
        """Whether its refusal must leave everything alone. A take-over may be refused afterwards."""
        session = self.rig.gateway._registry.sessions.get(self.session_id)
        if name == "append":
            return session is not None and not session.files[arguments[0]].visitors
        return name in ("pause", "resume", "cancel", "start")

    def picture(self) -> object:
        """All that a refused input must leave as it is."""
        session = self.rig.gateway._registry.sessions.get(self.session_id)
        if session is None or not all(file.recovered for file in session.files.values()):
            return None  # the first touch after a restart changes things
        files = [
            (replace(file.row, fence=0), file.received, file.durable, file.append and file.append.paused)
            for file in session.files.values()
        ]
        row = replace(session.row, active_at=0.0)
        blobs = {key: bytes(blob.data) for key, blob in self.rig.blobs.incoming_blobs.items() if blob.data}
        return row, files, blobs, sum(sender.body.taken for sender in self.senders)

    def announce(self, file_id: str, attempt: int, status: str, offset: int) -> None:
        """An offset was told: it never goes down within an attempt, unless the bytes were removed."""
        if status in ("cancelled", "failed") and not offset:
            return
        key = file_id, attempt
        assert offset >= self.announced.get(key, 0), f"{key} was told {self.announced[key]}, now {offset}"
        self.announced[key] = offset

    async def check(self) -> None:
        session = self.rig.gateway._registry.sessions.get(self.session_id)
        if session is not None:
            self.note_contents()
            for file in session.files.values():
                self.check_file(file)
        assert_sums(self.rig)
        await self.check_facts()

    def note_contents(self) -> None:
        for sender in self.senders:
            if sender.body.taken and not sender.seen:
                sender.seen = True
                if not sender.start:
                    attempt = self.rig.file(self.session_id, sender.file_id).row.attempt
                    self.contents[sender.file_id, attempt] = sender.content

    def check_file(self, file: LiveFile) -> None:
        row, blobs = file.row, self.rig.blobs
        assert row.file_size is None or file.durable <= file.received <= row.file_size
        if row.promise != "append" and not file.recovered:
            return  # lists may show what the row says
        if row.state is State.CANCELLED or (row.state is State.FAILED and not row.resumable_after_failure):
            return  # nobody may go on from there
        content = self.contents.get((row.file_id, row.attempt), b"")
        if row.state is State.COMPLETED:
            assert row.stored_name is not None
            assert blobs.published_bytes("personal", row.stored_name) == content
        elif row.state is not State.FINISHING:
            blob = blobs.incoming_blobs.get(row.blob_key)
            stored = bytes(blob.data[: file.durable]) if blob else b""
            assert stored == content[: file.durable]
            assert blob is None or row.promise != "append" or blob.durable >= row.synced

    async def check_facts(self) -> None:
        for listener in self.listeners:
            if self.gone(listener):
                await listener.drain()
                await listener.join(self.rig, self.session_id)
        fresh = [await listener.drain() for listener in self.listeners]
        for entry in fresh[0]:
            self.check_fact(entry)
            for event in entry.events:
                if isinstance(event, UploadProgress) and event.current_file and self.promises:
                    status = event.current_file.status
                    seen_as = f"{event.file_id} watched"  # compared with its like: it comes later
                    self.announce(seen_as, event.attempt, status, event.durable_bytes)
        one, other = ({entry.seq: entry.packed for entry in each.facts} for each in self.listeners)
        assert all(one[seq] == other[seq] for seq in one.keys() & other.keys())

    def gone(self, listener: Listener) -> bool:
        return listener.watch is not None and listener.watch.session.gone

    def check_fact(self, entry: Entry) -> None:
        first = entry.events[0]
        if isinstance(first, SessionCompleted):
            assert self.completion_allowed, "told twice"
            summary = first.summary
            ended = summary.completed_files + summary.failed_files + summary.cancelled_files
            assert ended == summary.total_files
        self.completion_allowed = not isinstance(first, SessionCompleted)


async def lived(task_status: trio.TaskStatus[trio.Nursery]) -> None:
    async with trio.open_nursery() as nursery:
        task_status.started(nursery)
        await trio.sleep_forever()


def copied_store(old: Rig) -> Any:
    store = type(old.store)(boot_id=old.store.boot_id)
    store.epoch = old.store.epoch
    store._tables = old.store._tables.copy()
    store._durable = old.store._durable.copy() if old.store._durable else None
    return store


async def live(steps: list[tuple[tuple[Any, ...], int | None]], fsync: Literal["append", "complete"]) -> None:
    rig = await make_rig(buffer_pool_bytes=256 * KIB, fsync=fsync, sync_every_bytes=100 * KIB)
    async with trio.open_nursery() as nursery:
        world = World(rig, nursery)
        await world.begin()
        at_rest = True
        for (name, *arguments), turns in steps:
            before = world.picture() if at_rest and world.refusable(name, arguments) else None
            world.refused, world.commanding = False, name != "append"
            with suppress(GatewayError, StoreError):
                await getattr(world, name)(*arguments)
            if turns is None:
                await trio.testing.wait_all_tasks_blocked()
            for _ in range(turns or 0):
                await trio.lowlevel.checkpoint()
            await world.check()
            at_rest = turns is None and world.rig.blobs.gate is None and world.rig.store.fault is None
            if before and at_rest and world.refused:
                assert world.picture() == before
        await the_end(world)
        nursery.cancel_scope.cancel()


async def the_end(world: World) -> None:
    """Everybody goes home: nothing is held any more, and whatever has not ended can be completed."""
    for sender in world.senders:
        sender.body.break_off()
    await world.full(False)
    await world.slow(False)
    await world.fault(False)
    await trio.testing.wait_all_tasks_blocked()
    await world.command("upload-resume", None)
    await trio.sleep(1)
    await world.check()
    assert_nothing_held(world.rig)
    try:
        session = await world.rig.gateway._registry.get(world.session_id)
    except SessionNotFound:
        return
    for file_id in SIZES:
        await complete(world, session.files[file_id])
    await world.check()
    assert_nothing_held(world.rig)


async def complete(world: World, file: LiveFile) -> None:
    await world.ask(file.file_id, Manner.PEEK)
    if state_of(file) in (State.COMPLETED, State.CANCELLED):
        return
    await world.append(file.file_id, "whole" if state_of(file) is State.FAILED else "exact")
    sender = world.senders[-1]
    await trio.testing.wait_all_tasks_blocked()
    await world.check()
    sender.feed(len(sender.content))
    sender.end()
    await trio.testing.wait_all_tasks_blocked()
    assert sender.over
    assert sender.error is None, sender.error
    assert state_of(file) is State.COMPLETED


def state_of(file: LiveFile) -> State:
    return file.row.state


MIXES = st.lists(st.tuples(STEPS, REST), max_size=30)


@settings(max_examples=200)
@given(MIXES)
def test_any_mix(steps: list[tuple[tuple[Any, ...], int | None]]) -> None:
    trio.run(live, steps, "append", clock=MockClock(autojump_threshold=0))


@settings(max_examples=100)
@given(MIXES)
def test_any_mix_without_syncs(steps: list[tuple[tuple[Any, ...], int | None]]) -> None:
    trio.run(live, steps, "complete", clock=MockClock(autojump_threshold=0))
