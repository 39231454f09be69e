"""Forms on their way in while somebody pauses, cancels, watches or leaves."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
import trio

from penstock.server.uploads.actor import ANYBODY
from penstock.server.uploads.watch import Wakeup
from tests.server.edge.harness import PATIENCE_S, Raw, until
from tests.server.http.clients import SocketClient, created, over_sockets, rendered
from tests.server.http.forms import FORM, field, file, form
from tests.server.uploads.rig import Watcher

BIG = bytes(range(256)) * 4096  # 1 MiB


@pytest.fixture(params=[True, False], ids=["direct", "sockets"])
async def served(request: pytest.FixtureRequest) -> AsyncIterator[SocketClient]:
    async with over_sockets(fast_path=request.param, pause_hold_s=0.2, takeover_probe_s=0.05) as made:
        yield made


@pytest.fixture(params=[True, False], ids=["direct", "sockets"])
async def patient(request: pytest.FixtureRequest) -> AsyncIterator[SocketClient]:
    """Holds what is paused for long."""
    async with over_sockets(fast_path=request.param) as made:
        yield made


class Sending:
    """A form for a session, of which the test has sent the first bytes."""

    def __init__(self, client: SocketClient, raw: Raw, made: dict[str, Any], rest: bytes) -> None:
        self.client = client
        self.raw = raw
        self.sid: str = made["sessionId"]
        self.made = made
        self._rest = rest

    @property
    def session(self) -> Any:
        return self.client.gateway._registry.sessions[self.sid]

    async def finish(self) -> None:
        await self.raw.send(self._rest)

    async def answer(self) -> tuple[int, dict[bytes, bytes], Any]:
        status, lines, body = await self.raw.answer()
        return status, lines, msgspec.json.decode(body)

    async def command(self, name: str, **fields: Any) -> Any:
        body = msgspec.json.encode({"type": name, **fields})
        answer = await self.client.ask("POST", f"/api/upload/sessions/{self.sid}/commands", body)
        assert answer.status == 200, answer
        return answer.json

    async def wait_received(self, file_id: str, count: int) -> None:
        await until(lambda: file_id in self.session.files and self.session.files[file_id].received >= count)


@asynccontextmanager
async def sending(
    client: SocketClient, *parts: bytes, until_bytes: bytes, specs: tuple[dict[str, Any], ...] = ()
) -> AsyncIterator[Sending]:
    """The request is sent up to and including the first `until_bytes` of its body."""
    made = await created(client, *specs)
    body = form(*parts)
    cut = body.index(until_bytes) + len(until_bytes)
    head, *_ = rendered("POST", f"/api/upload/sessions/{made['sessionId']}/files", body, FORM)
    async with client.connect() as raw:
        await raw.send(head + body[:cut])
        yield Sending(client, raw, made, body[cut:])


A = {"fileName": "a", "fileId": "a", "fileSize": len(BIG)}


async def test_a_short_pause_costs_nothing(patient: SocketClient) -> None:
    parts = (file("x", b"first"), file("a", BIG), file("y", b"last"))
    async with sending(patient, *parts, until_bytes=BIG[:500_000], specs=(A,)) as upload:
        await upload.wait_received("a", 400_000)
        assert (await upload.command("upload-pause", fileId="a"))["status"] == "paused"
        taken = upload.session.files["a"].received
        async with trio.open_nursery() as nursery:
            nursery.start_soon(upload.finish)
            await trio.sleep(0.02)
            assert upload.session.files["a"].received == taken
            await upload.command("upload-resume", fileId="a")
            status, _, body = await upload.answer()
    assert status == 200
    assert [result["ok"] for result in body["results"]] == [True, True, True]
    assert body["overallStatus"] == "completed"


async def test_after_the_hold_the_request_ends_and_put_goes_on(served: SocketClient) -> None:
    parts = (file("x", b"first"), file("a", BIG), file("y", b"never"))
    async with sending(served, *parts, until_bytes=BIG[:500_000], specs=(A,)) as upload:
        await upload.wait_received("a", 400_000)
        await upload.command("upload-pause", fileId="a")
        status, lines, problem = await upload.answer()
    offset = upload.session.files["a"].durable
    assert (status, problem["code"], lines[b"connection"]) == (423, "UPLOAD_LOCKED", b"close")
    assert int(lines[b"upload-offset"]) == problem["details"]["offset"] == offset >= 400_000
    results = problem["details"]["results"]
    assert [(result["fieldName"], result["ok"]) for result in results] == [("x", True), ("a", False)]
    assert (results[1]["status"], results[1]["error"]["code"]) == ("paused", "UPLOAD_LOCKED")
    await upload.command("upload-resume", fileId="a")
    url = upload.made["files"][0]["uploadUrl"]
    headers = {"Content-Range": f"bytes {offset}-{len(BIG) - 1}/{len(BIG)}"}
    assert (await served.ask("PUT", url, BIG[offset:], headers)).status == 200
    assert BIG in [bytes(blob.data) for blob in served.blobs.published_blobs.values()]


@pytest.mark.parametrize("content", [b"small", BIG], ids=["small", "big"])
async def test_parts_of_a_paused_session_are_held(patient: SocketClient, content: bytes) -> None:
    async with sending(patient, file("f", content, "new"), until_bytes=b"new", specs=(A,)) as upload:
        await upload.command("upload-pause")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(upload.finish)
            await until(lambda: any(file.held for file in upload.session.files.values()))
            await upload.command("upload-resume")
            status, _, body = await upload.answer()
    assert status == 200
    assert body["results"][0]["ok"]


async def test_and_end_after_the_hold(served: SocketClient) -> None:
    parts = (file("a", b"abc"), file("y", b"never"))
    async with sending(served, *parts, until_bytes=b"form-data", specs=({**A, "fileSize": 3},)) as upload:
        await upload.command("upload-pause", fileId="a")
        await upload.finish()
        status, _, problem = await upload.answer()
    assert (status, problem["code"]) == (423, "UPLOAD_LOCKED")
    (result,) = problem["details"]["results"]
    assert (result["fileId"], result["status"]) == ("a", "paused")
    assert served.gateway.statistics().buffer_bytes == 0


async def test_cancel_of_the_part_in_flight_lets_the_next_go_on(served: SocketClient) -> None:
    parts = (file("x", b"first"), file("a", BIG), file("y", b"last"))
    async with sending(served, *parts, until_bytes=BIG[:500_000], specs=(A,)) as upload:
        await upload.wait_received("a", 400_000)
        await upload.command("upload-cancel", fileId="a")
        await upload.finish()
        status, _, body = await upload.answer()
    assert status == 200
    assert [(result["ok"], result["status"]) for result in body["results"]] == [
        (True, "completed"),
        (False, "cancelled"),
        (True, "completed"),
    ]
    assert body["overallStatus"] == "partial"
    assert not served.blobs.incoming_blobs


async def test_cancel_of_much_ends_the_request(served: SocketClient) -> None:
    huge = {"fileName": "a", "fileId": "a", "fileSize": 65 * 1024 * 1024}
    parts = (file("x", b"first"), file("a", BIG), file("y", b"never"))
    async with sending(served, *parts, until_bytes=BIG[:500_000], specs=(huge,)) as upload:
        await upload.wait_received("a", 400_000)
        await upload.command("upload-cancel", fileId="a")
        status, lines, problem = await upload.answer()
    assert (status, problem["code"], lines[b"connection"]) == (410, "UPLOAD_CANCELLED", b"close")
    results = problem["details"]["results"]
    assert [(result["fieldName"], result["ok"]) for result in results] == [("x", True), ("a", False)]


async def test_cancel_of_nobody_knows_how_much_ends_the_request(served: SocketClient) -> None:
    made = await created(served, {"fileName": "a", "fileId": "a"})
    body = form(file("a", BIG), file("y", b"never"))
    path = f"/api/upload/sessions/{made['sessionId']}/files"
    pieces = rendered("POST", path, [body[:500_000], body[500_000:]], FORM)  # chunked: no Content-Length
    async with served.connect() as raw:
        upload = Sending(served, raw, made, b"")
        await raw.send(pieces[0] + pieces[1])
        await upload.wait_received("a", 400_000)
        await upload.command("upload-cancel", fileId="a")
        status, _, problem = await upload.answer()
    assert (status, problem["code"]) == (410, "UPLOAD_CANCELLED")


async def test_who_leaves_breaks_off_the_part_in_flight(served: SocketClient) -> None:
    parts = (file("x", b"first"), file("a", BIG))
    async with sending(served, *parts, until_bytes=BIG[:500_000], specs=(A,)) as upload:
        await upload.wait_received("a", 400_000)
    await until(lambda: upload.session.adding == 0)
    left = upload.session.files["a"]
    assert (left.row.state.value, left.row.error_code) == ("retrying", "NETWORK_ERROR")
    assert left.durable >= 400_000
    assert sum(file.row.state.value == "completed" for file in upload.session.files.values()) == 1
    statistics = served.gateway.statistics()
    assert (statistics.appends, statistics.buffer_bytes) == (0, 0)


async def test_small_ones_do_not_wait_for_a_slow_sender(served: SocketClient) -> None:
    parts = (file("x", b"first"), file("y", b"last"))
    async with sending(served, *parts, until_bytes=b"first\r\n", specs=()) as upload:
        await upload.raw.send(upload._rest[:60])
        await until(lambda: served.blobs.published_blobs)  # while the request is still running
        await upload.raw.send(upload._rest[60:])
        status, _, body = await upload.answer()
    assert (status, len(body["results"])) == (200, 2)


async def test_watchers_see_it_all_in_order_and_one_completion(served: SocketClient) -> None:
    parts = (file("x", b"first"), file("a", BIG), *(file("s", b"s", f"{n}") for n in range(300)))
    async with sending(served, *parts, until_bytes=b"first", specs=(A,)) as upload:
        wakeup = Wakeup()
        async with served.gateway.watch(ANYBODY, upload.sid, wakeup) as joined:
            watcher = Watcher(joined.watch, joined.recovered)
            await upload.finish()
            assert (await upload.answer())[0] == 200
            events = await watcher.drain()
    names = [event.NAME for event in events]
    assert names.count("upload-started") == names.count("upload-completed") == 302
    assert names[-2:] == ["session-completed", "upload-progress"]
    assert names.count("session-completed") == 1
    by_file: dict[str, list[Any]] = {}
    for event in events[:-2]:
        by_file.setdefault(event.file_id, []).append(event)  # type: ignore[attr-defined]  # all have one
    for told in by_file.values():
        kinds = [event.NAME for event in told]
        assert (kinds[0], kinds[-1]) == ("upload-started", "upload-completed")
        assert told[-2].NAME == "upload-progress"
        assert told[-2].progress == 100
        assert told[-2].overall_status != "completed"
    summary = events[-2]
    assert summary.summary.completed_files == 302  # type: ignore[attr-defined]  # it is a SessionCompleted


async def test_the_session_waits_for_the_end_of_the_request(served: SocketClient) -> None:
    async with sending(served, file("a", BIG), field("x", "y"), until_bytes=BIG, specs=(A,)) as upload:
        await upload.raw.send(upload._rest[:20])  # so far that the file is whole
        await upload.raw.send(upload._rest[20:60])
        await until(lambda: upload.session.files["a"].row.state.value == "completed")
        assert upload.session.row.ended_at is None
        await upload.raw.send(upload._rest[60:])
        status, _, body = await upload.answer()
    assert (status, body["overallStatus"]) == (200, "completed")
    assert upload.session.row.ended_at is not None


async def test_unregistered_ones_have_a_percentage(served: SocketClient) -> None:
    async with sending(served, file("f", BIG, "new"), until_bytes=BIG[:524_288]) as upload:
        await until(lambda: any(file.received >= 500_000 for file in upload.session.files.values()))
        (moving,) = upload.session.files.values()
        assert moving.row.file_size is None
        assert 45 < moving.percent() < 51
        await upload.finish()
        assert (await upload.answer())[0] == 200
        assert moving.percent() == 100


async def test_another_writer_keeps_its_file_and_the_others_go_on(served: SocketClient) -> None:
    made = await created(served, A)
    url = made["files"][0]["uploadUrl"]
    async with served.connect() as raw:
        head, *_ = rendered("PUT", url, BIG)
        await raw.send(head + BIG[:1000])
        upload = Sending(served, raw, made, BIG[1000:])
        await upload.wait_received("a", 1000)
        body = form(file("a", b"mine"), file("b", b"other"))
        answer = await served.ask("POST", url.removesuffix("/a"), body, FORM)
        assert answer.status == 200
        locked, stored = answer.json["results"]
        assert (locked["error"]["code"], locked["status"], stored["ok"]) == (
            "UPLOAD_LOCKED",
            "uploading",
            True,
        )
        await upload.finish()
        assert (await upload.answer())[0] == 200


async def test_draining_ends_the_request_with_what_it_has(served: SocketClient) -> None:
    parts = (file("x", b"first"), file("a", BIG))
    async with sending(served, *parts, until_bytes=BIG[:500_000], specs=(A,)) as upload:
        await upload.wait_received("a", 400_000)
        with trio.fail_after(PATIENCE_S):
            await served.gateway.drain()
        status, _, problem = await upload.answer()
    assert (status, problem["code"]) == (503, "SERVER_BUSY")
    assert [result["ok"] for result in problem["details"]["results"]] == [True, False]
    body = form(file("f", b"late"))
    assert (await served.ask("POST", "/api/upload", body, FORM)).status == 503


async def test_nothing_is_asked_for_where_nobody_may_add(served: SocketClient) -> None:
    made = await created(served)
    body = form(file("f", BIG))
    path = f"/api/upload/sessions/{made['watchKey']}/files"
    async with served.connect() as raw:
        head, *_ = rendered("POST", path, body, {**FORM, "Expect": "100-continue"})
        await raw.send(head)
        assert (await raw.until(b"\r\n")).startswith(b"HTTP/1.1 403 ")


async def test_silence_is_answered(request: pytest.FixtureRequest) -> None:
    async with over_sockets(body_idle_timeout_s=0.1) as served:
        async with sending(served, file("x", b"first"), file("a", BIG), until_bytes=BIG[:300_000]) as upload:
            status, _, problem = await upload.answer()
        assert (status, problem["code"]) == (408, "CONNECTION_TIMEOUT")
        assert [result["ok"] for result in problem["details"]["results"]] == [True, False]
