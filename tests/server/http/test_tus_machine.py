"""Any mix of what tus clients, watchers and time do on /files/: what is answered, and what is stored then."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from random import Random
from typing import Any

import msgspec
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from penstock.protocol.lifecycle import State
from penstock.server.uploads.file import LiveFile
from tests.server.http.clients import Answer, BareClient, Body, bare
from tests.server.http.tus_client import OCTET, TUS, checksum
from tests.server.http.tus_uploads import SlowPatch, Upload

EXAMPLES = int(os.environ.get("MACHINE_EXAMPLES", "60"))  # more of them by hand
Step = tuple[Any, ...]

SIZES = st.sampled_from([0, 1, 1000, 40_000])
SENT = st.sampled_from(["nothing", "some", "all"])
WHICH = st.integers(0, 5)
SUMS = st.sampled_from(["", "", "right", "wrong"])
FROM = st.sampled_from([0, 0, 0, -1, 1])  # that far from the offset that was told
LOOKS = st.sampled_from(["HEAD", "HEAD", "bare HEAD", "GET"])
COMMANDS = st.sampled_from(["upload-pause", "upload-resume", "upload-resume", "upload-cancel"])

STEPS = st.one_of(
    st.tuples(st.just("create"), SIZES, st.booleans(), st.booleans(), SENT),
    st.tuples(st.just("create"), SIZES, st.just(False), st.just(True), st.just("all")),
    st.tuples(st.just("patch"), WHICH, FROM, SUMS, st.booleans()),
    st.tuples(st.just("patch"), WHICH, FROM, SUMS, st.booleans()),
    st.tuples(st.just("begin_patch"), WHICH, FROM, st.booleans()),
    st.tuples(st.just("feed"), WHICH, st.sampled_from([1, 500, 20_000])),
    st.tuples(st.just("feed"), WHICH, st.sampled_from([500, 40_000])),
    st.tuples(st.sampled_from(["finish", "leave"]), WHICH),
    st.tuples(st.just("look"), WHICH, LOOKS),
    st.tuples(st.just("look"), WHICH, LOOKS),
    st.tuples(st.just("delete"), WHICH),
    st.tuples(st.just("concatenate"), st.lists(st.integers(0, 3), min_size=1, max_size=3)),
    st.tuples(st.just("command"), WHICH, COMMANDS),
    st.tuples(st.just("wait"), st.sampled_from([0.2, 3.0, 70.0, 4000.0])),
)
# After a step: let everything come to rest, or only so many turns of the scheduler.
REST = st.none() | st.integers(0, 30)
MIXES = st.lists(st.tuples(STEPS, REST), max_size=25)

ALLOWED = {
    "POST": {201, 400, 413},
    "PATCH": {204, 403, 404, 409, 410, 413, 423, 460, 503},
    "HEAD": {200, 404, 410, 423},
    "GET": {200, 204, 404, 410, 423},
    "DELETE": {204, 404, 409, 410, 423},
}


LIMITS: dict[str, Any] = {"retention_s": 3000, "janitor_every_s": 500, "pause_hold_s": 3}


class World:
    """The application and its clients. Steps return at once; answers are judged when they come."""

    def __init__(self, client: BareClient, nursery: trio.Nursery) -> None:
        self.client = client
        self.nursery = nursery
        self.uploads: list[Upload] = []
        self.slow: list[SlowPatch] = []
        self.seed = 0
        self.aged = False  # what nobody touched may have expired

    def pick(self, which: int, *, partials: bool = False) -> Upload | None:
        there = [one for one in self.uploads if one.partial or not partials]
        return there[which % len(there)] if there else None

    def spawn(self, call: Callable[[], Awaitable[object]]) -> None:
        self.nursery.start_soon(call)

    async def ask(
        self, method: str, upload: Upload | None, headers: dict[str, str], body: Body = None
    ) -> Answer:
        gone = upload is not None and upload.gone
        answer = await self.client.ask(method, upload.url if upload else "/files/", body, headers)
        self.judge(method, upload, answer)
        assert not (gone and answer.status < 400), "it was gone"
        return answer

    def judge(self, method: str, upload: Upload | None, answer: Answer) -> None:
        assert answer.status in ALLOWED[method], (method, answer)
        assert answer.headers["tus-resumable"] == "1.0.0"
        if upload is None:
            return
        assert answer.status not in (404, 410) or upload.ending or self.aged, answer
        if answer.status < 300:
            upload.tell(answer)

    def file(self, upload: Upload) -> LiveFile | None:
        upload_id = upload.url.rpartition("/")[2]
        sessions = self.client.gateway._registry.sessions.values()
        files = (file for session in sessions for file in session.all_files)
        return next((file for file in files if file.row.upload_id == upload_id), None)

    # Steps

    async def create(self, size: int, deferred: bool, is_partial: bool, sent: str) -> None:
        self.seed += 1
        data = Random(self.seed).randbytes(size)
        body = {"nothing": b"", "some": data[: size // 2], "all": data}[sent]
        headers = {"Upload-Defer-Length": "1"} if deferred else {"Upload-Length": str(size)}
        if is_partial:
            headers["Upload-Concat"] = "partial"
        self.spawn(partial(self.post, data, body, headers, is_partial=is_partial))

    async def post(self, data: bytes, body: bytes, headers: dict[str, str], *, is_partial: bool) -> None:
        answer = await self.ask("POST", None, {**(OCTET if body else TUS), **headers}, body)
        assert answer.status == 201, answer
        upload = Upload(answer.headers["location"], data, partial=is_partial, sent=len(body))
        upload.tell(answer)
        assert upload.told == len(body)
        self.uploads.append(upload)

    async def concatenate(self, which: Sequence[int]) -> None:
        pieces = [one for one in (self.pick(index, partials=True) for index in which) if one is not None]
        if pieces:
            self.spawn(partial(self.put_together, pieces))

    async def put_together(self, pieces: list[Upload]) -> None:
        concat = "final;" + " ".join(piece.url for piece in pieces)
        whole = all(piece.sent == len(piece.data) for piece in pieces)
        answer = await self.ask("POST", None, {**TUS, "Upload-Concat": concat})
        if answer.status == 201:
            assert whole, "put together from a torso"
            data = b"".join(piece.data for piece in pieces)
            assert int(answer.headers["upload-offset"]) == len(data)
            url = answer.headers["location"]
            if url not in (one.url for one in self.uploads):  # the same list is the same file
                self.uploads.append(Upload(url, data, sent=len(data)))

    def appending(self, upload: Upload, distance: int, sums: str) -> tuple[int, dict[str, str]]:
        start = max(upload.told + distance, 0)
        headers = {**OCTET, "Upload-Offset": str(start)}
        if sums:
            headers["Upload-Checksum"] = checksum("sha1", upload.data[start:])
        file = self.file(upload)
        if file is not None and file.row.file_size is None:
            headers["Upload-Length"] = str(len(upload.data))
        return start, headers

    async def patch(self, which: int, distance: int, sums: str, chunked: bool) -> None:
        """All the rest at once; with a checksum that it has, or has not."""
        if upload := self.pick(which):
            start, headers = self.appending(upload, distance, sums)
            rest = upload.data[start:]
            body = bytes(len(rest)) if sums == "wrong" else rest
            self.spawn(partial(self.send, upload, start, headers, body, chunked=chunked))

    async def send(
        self, upload: Upload, start: int, headers: dict[str, str], body: bytes, *, chunked: bool
    ) -> None:
        true = body == upload.data[start:]
        if true and start <= upload.sent:
            upload.sent = len(upload.data)
        answer = await self.ask("PATCH", upload, headers, [body] if chunked else body)
        assert answer.status != 460 or not true
        if answer.status == 204:
            assert upload.told == len(upload.data)

    async def begin_patch(self, which: int, distance: int, summed: bool) -> None:
        if upload := self.pick(which):
            start, headers = self.appending(upload, distance, "right" if summed else "")
            slow = SlowPatch(self.client, upload, start, headers, rubbish=summed)
            self.slow.append(slow)
            self.spawn(partial(self.run_slow, slow))

    async def run_slow(self, slow: SlowPatch) -> None:
        await slow.run()
        if not slow.ended or slow.answered:
            self.judge("PATCH", slow.upload, slow.answer)
        self.slow.remove(slow)

    async def feed(self, which: int, count: int) -> None:
        if self.slow:
            self.slow[which % len(self.slow)].feed_some(count)

    async def finish(self, which: int) -> None:
        if self.slow:
            self.slow[which % len(self.slow)].end(well=True)

    async def leave(self, which: int) -> None:
        if self.slow:
            self.slow[which % len(self.slow)].end(well=False)

    async def look(self, which: int, how: str) -> None:
        if upload := self.pick(which):
            self.spawn(partial(self.see, upload, how))

    async def see(self, upload: Upload, how: str) -> None:
        method = how.rpartition(" ")[2]
        answer = await self.ask(method, upload, TUS if how == "HEAD" else {})
        if answer.status != 200:
            return
        if method == "GET":
            assert answer.body == upload.data
        told, length = answer.headers.get("upload-offset"), answer.headers.get("upload-length")
        if how == "HEAD" and told == length and not upload.partial:
            file = self.file(upload)
            assert file is None or file.row.state is State.COMPLETED, "its client would take it for complete"

    async def delete(self, which: int) -> None:
        if upload := self.pick(which):
            upload.ending = True
            self.spawn(partial(self.terminate, upload))

    async def terminate(self, upload: Upload) -> None:
        answer = await self.ask("DELETE", upload, TUS)
        upload.gone |= answer.status == 204

    async def command(self, which: int, name: str) -> None:
        upload = self.pick(which)
        file = self.file(upload) if upload is not None else None
        if upload is not None and file is not None and not upload.partial:
            upload.ending |= name == "upload-cancel"
            self.spawn(partial(self.run_command, file.row.session_id, name))

    async def run_command(self, session_id: str, name: str) -> None:
        path = f"/api/upload/sessions/{session_id}/commands"
        answer = await self.client.ask("POST", path, msgspec.json.encode({"type": name}))
        assert answer.status in (200, 404, 409, 410, 423), answer

    async def wait(self, seconds: float) -> None:
        self.aged |= seconds > 3000
        await trio.sleep(seconds)


async def live(steps: list[tuple[Step, int | None]]) -> None:
    async with bare(**LIMITS) as client, trio.open_nursery() as nursery:
        nursery.start_soon(client.gateway.janitor.run)
        world = World(client, nursery)
        for (name, *arguments), turns in steps:
            await getattr(world, name)(*arguments)
            if turns is None:
                await trio.testing.wait_all_tasks_blocked()
            for _ in range(turns or 0):
                await trio.lowlevel.checkpoint()
        await the_end(world)
        nursery.cancel_scope.cancel()


async def the_end(world: World) -> None:
    """Everybody leaves; then each client comes back, and goes on from the offset that it is told."""
    for slow in list(world.slow):
        slow.end(well=False)
    for session_id in list(world.client.gateway._registry.sessions):
        await world.run_command(session_id, "upload-resume")
    await trio.sleep(60)
    for upload in world.uploads:
        answer = await world.ask("HEAD", upload, TUS)
        if answer.status == 200 and upload.told < len(upload.data):
            start, headers = world.appending(upload, 0, "")
            await world.send(upload, start, headers, upload.data[start:], chunked=False)
        if answer.status == 200:
            assert upload.told == len(upload.data)
            await world.see(upload, "HEAD")
            await world.see(upload, "GET")
    statistics = world.client.gateway.statistics()
    assert (statistics.appends, statistics.buffer_bytes, world.client.blobs.open_writers) == (0, 0, 0)


@settings(max_examples=EXAMPLES)
@given(MIXES)
def test_any_mix(steps: list[tuple[Step, int | None]]) -> None:
    trio.run(live, steps, clock=MockClock(autojump_threshold=0))
