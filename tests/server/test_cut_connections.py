"""A connection of the whole server, cut at every step: by the server, by its peer, by a drain."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import Any, ClassVar

import msgspec
import pytest
import trio
import trio.testing
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, CloseConnection, Event, Request, TextMessage

from penstock.protocol.errors import GatewayError
from penstock.server.uploads import assembly
from tests.acceptance.sizes import full_or
from tests.server.edge.h2_client import H2Client
from tests.server.edge.harness import Raw
from tests.server.http.clients import created, rendered
from tests.server.http.draft_client import DraftClient
from tests.server.http.forms import FORM, file, form
from tests.server.http.tus_client import OCTET, TUS
from tests.server.uploads.cutting import AtStep, assert_at_rest, at_every_step, no_task_left
from tests.server.uploads.rig import FedBody, whole_body
from tests.server.wires import Wires, said, wired

WHOLE = b"x" * 70_000 + b"y" * 70_000
CLOSE = {"Connection": "close"}


class Talk:
    """What is there before, what is said on the connection that is cut, and what its client does then."""

    settings: ClassVar[Mapping[str, Any]] = MappingProxyType({})
    contents: ClassVar[Mapping[str, bytes]] = MappingProxyType({"f1": WHOLE})
    at_least = 30  # steps

    def __init__(self, wires: Wires) -> None:
        self.wires = wires
        self.rig = wires.rig
        self.session_id = ""
        self.urls: dict[str, str] = {}

    async def prepare(self) -> None:
        specs = [{"fileName": name, "fileId": name, "fileSize": len(c)} for name, c in self.contents.items()]
        made = await created(self.wires, *specs)
        self.session_id = made["sessionId"]
        self.urls = {one["fileId"]: one["uploadUrl"] for one in made["files"]}

    async def talk(self, raw: Raw) -> bytes:
        """All that was answered. Whatever is cut, it ends."""
        raise NotImplementedError

    def check(self, answered: bytes) -> None:
        """Of a connection that nobody cut."""
        assert answered.startswith(b"HTTP/1.1 200 ")

    async def finish(self) -> None:
        """Go on as a client would, until it has what it wanted."""
        await self.order("upload-resume")
        for file_id, content in self.contents.items():
            await self.complete(file_id, content)

    async def complete(self, file_id: str, content: bytes) -> None:
        report = await self.rig.offset(self.session_id, file_id=file_id)
        if report.status != "completed":
            await self.send_rest(file_id, content, report.offset)
        assert await self.rig.finished_bytes(self.session_id, file_id) == content

    async def send_rest(self, file_id: str, content: bytes, offset: int) -> None:
        row = self.rig.file(self.session_id, file_id).row
        kept = self.rig.blobs.incoming_blobs.get(row.blob_key)
        assert bytes(kept.data if kept else b"") == content[:offset]
        headers = {"Content-Range": f"bytes {offset}-{len(content) - 1}/{len(content)}"} if content else {}
        answer = await self.wires.ask("PUT", self.urls[file_id], content[offset:], headers)
        assert answer.status == 200, answer

    async def order(self, name: str) -> None:
        """Somebody else commands, whose connection is not cut."""
        with suppress(GatewayError):
            await self.rig.command(name, self.session_id)


class Put(Talk):
    async def talk(self, raw: Raw) -> bytes:
        head, body, _ = rendered("PUT", self.urls["f1"], WHOLE, CLOSE)
        return await said(raw, head, body[:50_000], body[50_000:])


class PutThroughTheParser(Put):
    settings = MappingProxyType({"fast_path": False})


class Form(Talk):
    """Small files are gathered, a big one is an append of its own."""

    contents = MappingProxyType({"f1": b"one", "f2": b"", "f3": WHOLE, "f4": b"four"})

    async def talk(self, raw: Raw) -> bytes:
        body = form(*(file(file_id, content) for file_id, content in self.contents.items()))
        path = f"/api/upload/sessions/{self.session_id}/files"
        head, content, _ = rendered("POST", path, body, {**FORM, **CLOSE})
        return await said(raw, head, content[:60_000], content[60_000:])


class Tus(Talk):
    """Creation and append on one connection. Whose creation was not answered creates again."""

    creation: ClassVar[Mapping[str, str]] = MappingProxyType({"Upload-Length": "140000"})
    append: ClassVar[Mapping[str, str]] = MappingProxyType({})

    async def prepare(self) -> None:
        self.url = ""

    async def talk(self, raw: Raw) -> bytes:
        with suppress(trio.BrokenResourceError):
            await raw.send(b"".join(rendered("POST", "/files/", None, {**TUS, **self.creation})))
            if b"\r\n\r\n" not in (created := await head_of(raw)):
                return created
            self.url = header(created, b"location")
            lines = {**OCTET, **CLOSE, **self.append, "Upload-Offset": "0"}
            return await said(raw, *rendered("PATCH", self.url, WHOLE, lines))
        return b""

    def check(self, answered: bytes) -> None:
        assert answered.startswith(b"HTTP/1.1 204 ")

    async def finish(self) -> None:
        if not self.url:
            created = await self.wires.ask("POST", "/files/", None, {**TUS, **self.creation})
            self.url = created.headers["location"]
        head = await self.wires.ask("HEAD", self.url, None, TUS)
        assert head.status == 200, head
        offset = int(head.headers["upload-offset"])
        if offset < len(WHOLE):
            lines = {**OCTET, **self.append, "Upload-Offset": str(offset)}
            assert (await self.wires.ask("PATCH", self.url, WHOLE[offset:], lines)).status == 204
        assert list(published(self.wires)) == [WHOLE]


class TusLateLength(Tus):
    """How long the file is comes with its bytes."""

    creation = MappingProxyType({"Upload-Defer-Length": "1"})
    append = MappingProxyType({"Upload-Length": "140000"})


class Concatenation(Talk):
    """Two partials with their bytes, and the final: all on one connection."""

    async def prepare(self) -> None:
        self.partials: list[str] = []
        self.final = ""

    async def talk(self, raw: Raw) -> bytes:
        with suppress(trio.BrokenResourceError):
            for piece in (b"abc", b"def"):
                await raw.send(b"".join(rendered("POST", "/files/", piece, partial_of(piece))))
                if b"\r\n\r\n" not in (created := await head_of(raw)):
                    return created
                self.partials.append(header(created, b"location"))
            return await said(raw, *rendered("POST", "/files/", None, {**self.final_of(), **CLOSE}))
        return b""

    def final_of(self) -> dict[str, str]:
        return {**TUS, "Upload-Concat": f"final;{' '.join(self.partials)}"}

    def check(self, answered: bytes) -> None:
        assert answered.startswith(b"HTTP/1.1 201 ")

    async def finish(self) -> None:
        for piece in (b"abc", b"def")[len(self.partials) :]:
            created = await self.wires.ask("POST", "/files/", piece, partial_of(piece))
            self.partials.append(created.headers["location"])
        final = await self.wires.ask("POST", "/files/", None, self.final_of())
        assert final.status == 201, final
        assert list(published(self.wires)) == [b"abcdef"]


class Draft(Talk):
    """An append of the draft that is told its offsets while it goes on."""

    settings = MappingProxyType({"sync_every_bytes": 1})

    async def prepare(self) -> None:
        self.draft = DraftClient(self.wires)
        self.url = await self.draft.started(upload_length=str(len(WHOLE)))

    async def talk(self, raw: Raw) -> bytes:
        lines = {**self.draft.appending(0, complete=True), **CLOSE}
        head, body, _ = rendered("PATCH", self.url, WHOLE, lines)
        with suppress(trio.BrokenResourceError):
            for piece in (head, body[:30_000], body[30_000:100_000]):
                await raw.send(piece)
                await trio.sleep(2.5)
        return await said(raw, body[100_000:])

    def check(self, answered: bytes) -> None:
        assert answered.count(b"HTTP/1.1 104 ") >= 2
        assert b"\r\n\r\nHTTP/1.1 201 " in answered

    async def finish(self) -> None:
        head = await self.draft.head(self.url)
        assert head.status == 204, head
        if head.headers["upload-complete"] == "?0":
            offset = int(head.headers["upload-offset"])
            answer = await self.draft.append(self.url, offset, WHOLE[offset:], complete=True)
            assert answer.status == 201, answer
        assert list(published(self.wires)) == [WHOLE]


class Held(Talk):
    """A request that is paused under way and held, then resumed."""

    async def talk(self, raw: Raw) -> bytes:
        head, body, _ = rendered("PUT", self.urls["f1"], WHOLE, CLOSE)
        with suppress(trio.BrokenResourceError):
            await raw.send(head + body[:70_000])
            await trio.testing.wait_all_tasks_blocked()
            await self.order("upload-pause")
            await raw.send(body[70_000:])
            await trio.sleep(3)
            await self.order("upload-resume")
        return await said(raw)


class LongPoll(Talk):
    """Waits for progress that comes from another connection."""

    async def prepare(self) -> None:
        await super().prepare()
        self.path = f"/api/upload/progress/{self.session_id}"
        self.tag = (await self.wires.ask("GET", self.path)).headers["etag"]

    async def talk(self, raw: Raw) -> bytes:
        lines = {"Prefer": "wait=5", "If-None-Match": self.tag, **CLOSE}
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.put_half)
            return await said(raw, *rendered("GET", self.path, None, lines))
        raise AssertionError("a nursery swallows nothing")

    async def put_half(self) -> None:
        await trio.sleep(3)
        with suppress(GatewayError):
            await self.rig.put(self.session_id, whole_body(WHOLE[:70_000]), offset=0)


class Download(Talk):
    contents = MappingProxyType({"f1": WHOLE * 8})  # more than the sockets hold

    async def prepare(self) -> None:
        await super().prepare()
        await self.send_rest("f1", self.contents["f1"], 0)
        report = await self.rig.offset(self.session_id)
        self.path = report.upload_path or ""

    async def talk(self, raw: Raw) -> bytes:
        return await said(raw, *rendered("GET", self.path, None, CLOSE))

    def check(self, answered: bytes) -> None:
        super().check(answered)
        assert answered.endswith(self.contents["f1"])

    async def finish(self) -> None:
        again = await self.wires.ask("GET", self.path)
        assert (again.status, again.body) == (200, self.contents["f1"])


class WebSocket(Talk):
    """A watcher that pauses and resumes what another one sends."""

    at_least = 100

    async def talk(self, raw: Raw) -> bytes:
        self.frames: list[dict[str, Any]] = []
        body = FedBody(WHOLE[:70_000], length=len(WHOLE))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.append, body)
            await trio.testing.wait_all_tasks_blocked()
            with suppress(trio.BrokenResourceError):
                await self.watch(raw)
            body.feed(WHOLE[70_000:])
        return b""

    async def append(self, body: FedBody) -> None:
        with suppress(GatewayError):
            await self.rig.put(self.session_id, body, offset=0)

    async def watch(self, raw: Raw) -> None:
        """Until the server has closed."""
        socket = WSConnection(ConnectionType.CLIENT)
        await raw.send(socket.send(Request(host="localhost", target="/api/v1/ws?protocol=1.0")))
        while data := bytes(await raw.stream.receive_some()):
            socket.receive_data(data)
            for event in list(socket.events()):
                await raw.send(self.reaction(socket, event))

    def reaction(self, socket: WSConnection, event: Event) -> bytes:
        if isinstance(event, AcceptConnection):
            return b"".join(socket.send(TextMessage(text)) for text in self.wishes())
        if isinstance(event, TextMessage):
            self.frames.append(msgspec.json.decode(event.data))
            if self.frames[-1]["type"] == "ack" and acks(self.frames) == len(self.wishes()):
                return socket.send(CloseConnection(1000))
        return b""

    def wishes(self) -> list[str]:
        mine = {"sessionId": self.session_id}
        watched = {"topic": f"session:{self.session_id}"}
        commands = ("upload-pause", "upload-resume", "upload-pause")
        wanted = [("subscribe", watched), *((name, mine) for name in commands), ("unsubscribe", watched)]
        said = [{"type": kind, "data": data, "timestamp": 0} for kind, data in wanted]
        return [msgspec.json.encode({**one, "messageId": f"c{n}"}).decode() for n, one in enumerate(said)]

    def check(self, answered: bytes) -> None:
        assert acks(self.frames) == 5
        told = [frame["data"]["payload"]["overallStatus"] for frame in self.frames if is_progress(frame)]
        assert {"paused", "uploading"} <= set(told)


class Http2(Talk):
    """Two files on two streams at once; of each half its window."""

    settings = MappingProxyType({"h2c": True})
    contents = MappingProxyType({"f1": b"x" * 30_000, "f2": b"y" * 30_000})

    async def talk(self, raw: Raw) -> bytes:
        client = H2Client(raw.stream)  # type: ignore[arg-type]  # no TLS here
        with suppress(trio.BrokenResourceError):
            await client.start()
            streams = [
                client.request("PUT", self.urls[name], [(b"content-length", b"30000")], end=False)
                for name in self.contents
            ]
            for start in (0, 15_000):
                for stream, content in zip(streams, self.contents.values(), strict=True):
                    client.machine.send_data(stream, content[start : start + 15_000], end_stream=start > 0)
                    await client.flush()
            while not client.eof and not all(answer.ended for answer in client.answers.values()):
                await client.pump()
        return b" ".join(b"%d" % answer.status for answer in client.answers.values())

    def check(self, answered: bytes) -> None:
        assert answered == b"200 200"


async def head_of(raw: Raw) -> bytes:
    """The next answer's head, of one without a body; what came of it if the server closed."""
    while b"\r\n\r\n" not in raw.buffer:
        data = bytes(await raw.stream.receive_some())
        if not data:
            return raw.buffer
        raw.buffer += data
    return await raw.until(b"\r\n\r\n")


def header(head: bytes, name: bytes) -> str:
    return head.partition(name + b": ")[2].partition(b"\r\n")[0].decode()


def partial_of(piece: bytes) -> dict[str, str]:
    return {**OCTET, "Upload-Concat": "partial", "Upload-Length": str(len(piece))}


def published(wires: Wires) -> list[bytes]:
    return [bytes(blob.data) for blob in wires.blobs.published_blobs.values()]


def acks(frames: list[dict[str, Any]]) -> int:
    return sum(frame["type"] == "ack" for frame in frames)


def is_progress(frame: dict[str, Any]) -> bool:
    return bool(frame["data"].get("event") == "upload-progress")


TALKS = {
    "put": Put,
    "put-parsed": PutThroughTheParser,
    "form": Form,
    "tus": Tus,
    "tus-late-length": TusLateLength,
    "tus-concatenation": Concatenation,
    "draft-with-104": Draft,
    "held": Held,
    "long-poll": LongPoll,
    "download": Download,
    "websocket": WebSocket,
    "http2": Http2,
}


class Cutter:
    """The ways to end a connection that nobody on it has asked for."""

    def __init__(self, wires: Wires) -> None:
        self.wires = wires
        self.peer = trio.CancelScope()
        self.draining = trio.Event()
        self.patience = trio.CancelScope()

    def acts(self, how: str) -> list[Callable[[], object]]:
        acts: dict[str, list[Callable[[], object]]] = {
            "server": [self.wires.hang_up],
            "peer": [self.peer.cancel],
            "drain": [self.draining.set],
            "drain-out-of-time": [self.draining.set, self.patience.cancel],
        }
        return acts[how]

    async def drain(self) -> None:
        """As the server does at a signal."""
        await self.draining.wait()
        with self.patience:
            await self.wires.gateway.drain()
            await self.wires.edge.close_connections()
        self.wires.hang_up()


@pytest.fixture(autouse=True)
def _small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assembly, "STEP_BYTES", 2)


@pytest.mark.parametrize("how", ["server", "peer", "drain", "drain-out-of-time"])
@pytest.mark.parametrize("name", TALKS)
def test_a_connection_is_cut_at_any_step(name: str, how: str) -> None:
    async def run(cut: AtStep) -> None:
        settings = {"buffer_pool_bytes": 128 * 1024, **TALKS[name].settings}
        async with wired(**settings) as wires:
            talk = TALKS[name](wires)
            await talk.prepare()
            with no_task_left():
                await cut_once(wires, talk, cut, how)
            assert_at_rest(wires.rig)
            assert wires.edge.statistics()["connections"] == 0
            if how.startswith("drain"):
                await wires.restart()
            await talk.finish()
            assert_at_rest(wires.rig)

    at_every_step(run, at_least=TALKS[name].at_least, most=full_or(5, None), lags=(0, 3))


async def cut_once(wires: Wires, talk: Talk, cut: AtStep, how: str) -> None:
    cutter, answered = Cutter(wires), b""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(cutter.drain)
        async with wires.connect() as raw:
            cut.arm(*cutter.acts(how))
            with cutter.peer:
                answered = await talk.talk(raw)
        cut.disarm()
        if not cutter.draining.is_set():
            nursery.cancel_scope.cancel(reason="nothing to drain")
    if not cut.happened:
        talk.check(answered)
