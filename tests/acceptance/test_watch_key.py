"""A share link's watch key lets one watch, and nothing that it brings lets one write."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from tests.acceptance.api import SESSIONS, Api, Upload
from tests.acceptance.content import Content
from tests.acceptance.gateway import running
from tests.acceptance.sizes import MIB
from tests.acceptance.watcher import Watcher, check_facts, connected
from tests.running import PATIENCE_S

pytestmark = pytest.mark.acceptance

CONTENT = Content(2 * MIB)
EVENTS = {
    "upload-started",
    "upload-progress",
    "upload-failed",
    "upload-cancelled",
    "upload-completed",
    "session-completed",
}


class Recorder(trio.abc.Stream):
    """A stream that keeps every byte that came in."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self.received = bytearray()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        data = bytes(await self._stream.receive_some(max_bytes))
        self.received += data
        return data

    async def aclose(self) -> None:
        await self._stream.aclose()


async def raw_answer(api: Api, method: str, path: str, body: bytes = b"") -> bytes:
    """Every byte of an answer, heads included."""
    with trio.fail_after(PATIENCE_S):
        async with await api.connect() as stream:
            head = f"{method} {path} HTTP/1.1\r\nHost: {api.host}\r\nConnection: close\r\n"
            await stream.send_all(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            return b"".join([bytes(data) async for data in stream])


async def test_no_byte_that_a_guest_gets_holds_the_session_id(tmp_path: Path) -> None:
    async with running(tmp_path) as gateway:
        api = Api(gateway)
        created = await api.create(
            *({"fileName": f"{name}.bin", "fileId": name, "fileSize": CONTENT.size} for name in ("a", "b")),
            metadata={"note": "for the uploader alone"},
        )
        session_id, key = created["sessionId"], created["watchKey"]
        recorders: list[Recorder] = []

        def record(stream: trio.SocketStream) -> Recorder:
            recorders.append(Recorder(stream))
            return recorders[-1]

        answers: list[bytes] = []
        async with connected(api, record) as guest:
            await guest.subscribe(key)
            await drive_everything(api, created, guest)
            await guest.until_last_word()
            refused = await guest.send("upload-pause", {"sessionId": key})
            assert (refused["type"], refused["data"]["code"]) == ("error", 3001)
            answers = [await raw_answer(api, *request) for request in requests_of_a_guest(key)]
        assert {event.name for event in guest.events} >= EVENTS
        assert {event.payload["sessionId"] for event in guest.events} == {key}
        check_facts(guest)
    received = [bytes(recorders[0].received), *answers]
    assert all(len(data) > 100 for data in received)
    for secret in (session_id, f"{SESSIONS}/", "/files/", "uploadUrl", "tusUrl", "for the uploader alone"):
        for data in received:
            assert secret.encode() not in data, f"{secret} in {data[:2000]!r}"


async def drive_everything(api: Api, created: dict[str, str], guest: Watcher) -> None:
    """Every event a session can have."""
    session_id, key = created["sessionId"], created["watchKey"]
    first, second = (Upload(api, session_id, name, key) for name in ("a", "b"))
    async with first.putting(CONTENT) as putting:
        await putting.send(MIB)
        await guest.until_event("upload-progress")
    failed = await guest.until_event("upload-failed")  # the client has gone in mid-body
    assert failed.payload["canRetry"] is True
    await first.pause()
    await first.resume()
    await api.command(session_id, "upload-pause")
    await api.command(session_id, "upload-resume")
    assert (await first.put(CONTENT, (await first.head()).offset)).status == 200
    assert (await second.cancel()).status == 200


def requests_of_a_guest(key: str) -> list[tuple[str, str, bytes]]:
    """What a holder of the key may ask for, and what is refused."""
    session = f"{SESSIONS}/{key}"
    return [
        ("GET", session, b""),
        ("GET", f"/api/upload/progress/{key}", b""),
        ("GET", f"{session}/files/a", b""),
        ("HEAD", f"{session}/files/a", b""),
        ("POST", f"{session}/commands", b'{"type": "upload-pause"}'),
        ("PUT", f"{session}/files/a", b"12345"),
        ("DELETE", session, b""),
        ("POST", f"{session}/files", b'{"files": [{"fileName": "x"}]}'),
    ]


async def test_a_guest_changes_nothing(tmp_path: Path) -> None:
    async with running(tmp_path) as gateway:
        api = Api(gateway)
        upload = await api.create_one(CONTENT.size)
        before = gateway.rows()
        for method, path, body in requests_of_a_guest(upload.watch_key)[4:]:
            answer = await api.call(method, path, body=body)
            assert (answer.status, answer.json()["code"]) == (403, "INSUFFICIENT_PERMISSIONS"), path
        assert gateway.rows() == before
