"""Socket.IO's own clients: the newest, an early one and Python's, on every transport, with a real upload."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.acceptance.api import Api, Upload
from tests.acceptance.content import Content, file_sha256
from tests.acceptance.gateway import Gateway, running
from tests.acceptance.sizes import MIB
from tests.interop.socket_watcher import COMMANDS, TRANSPORTS, SocketWatcher, watching

pytestmark = [pytest.mark.acceptance, pytest.mark.usefixtures("socketio_clients")]

CONTENT = Content(3 * MIB + 17)
HALF = MIB
FACTS = [
    "upload-started",
    "upload-progress",  # paused
    "upload-progress",  # resumed
    "upload-completed",
    "session-completed",
]


@asynccontextmanager
async def uploads(
    gateway: Gateway, client: str, transport: str
) -> AsyncIterator[tuple[Upload, SocketWatcher]]:
    """A new upload, and a client that watches it by its address."""
    upload = await Api(gateway).create_one(CONTENT.size)
    wanted: dict[str, Any] = {"options": {"query": {"sessionId": upload.session_id, "clientType": "web"}}}
    url = upload.api.url("")
    if client == "python":  # its address is the only place for parameters
        url += f"?sessionId={upload.session_id}&clientType=web"
    async with watching(url, client, transport, **wanted) as watcher:
        await watcher.until("connect")
        await watcher.until_said("connection-status")
        yield upload, watcher


def check_stored(upload: Upload, view: Any) -> None:
    stored = upload.api.gateway.published(view["uploadPath"])
    assert file_sha256(stored) == CONTENT.sha256()


def check_numbers(watcher: SocketWatcher) -> None:
    """Facts in order, without gap or double; progress of the file never goes down, nor from before a fact."""
    numbers = [seq for seq, _ in watcher.facts]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    if not watcher.is_in_order:
        return
    seqs = [payload["seq"] for _, payload in watcher.events]
    assert seqs == sorted(seqs)
    percents = [payload["progress"] for name, payload in watcher.events if name == "upload-progress"]
    assert percents == sorted(percents)


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("client", COMMANDS)
async def test_it_watches_pauses_and_resumes_a_real_upload(
    gateway: Gateway, client: str, transport: str
) -> None:
    async with uploads(gateway, client, transport) as (upload, watcher):
        await watcher.ask("join-session", upload.session_id)
        async with upload.putting(CONTENT) as putting:
            await putting.send(HALF)
            await upload.until_received(HALF)
            order = {"sessionId": upload.session_id, "fileId": "f1"}
            paused = await watcher.ask("upload-pause", {**order, "reason": "a train"})
            assert (paused["ok"], paused["status"], paused["uploadedBytes"]) == (True, "paused", HALF)
            kept_bytes = gateway.incoming_bytes()
            await watcher.until_said("upload-progress", lambda told: told.get("fact"))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(putting.send_all)
                await watcher.ask("upload-progress", {**order, "requestUpdate": True})
                assert gateway.incoming_bytes() == kept_bytes, "not a byte after the ack"
                assert (await watcher.ask("upload-resume", order))["ok"]
            assert (await putting.answer()).status == 200
        last = await watcher.until_last_word()
        assert (last["overallStatus"], last["totalProgress"]) == ("completed", 100)
        assert [name for _, name in watcher.facts] == FACTS
        check_numbers(watcher)
        check_stored(upload, await upload.show())
        await watcher.disconnect()
    if client != "python":
        names = [told["transport"] for told in watcher.named("upgrade")]
        assert names == (["websocket"] if transport == "upgrade" else [])


@pytest.mark.parametrize("transport", ["websocket", "polling"])
@pytest.mark.parametrize("client", COMMANDS)
async def test_it_cancels(gateway: Gateway, client: str, transport: str) -> None:
    async with uploads(gateway, client, transport) as (upload, watcher):
        async with upload.putting(CONTENT) as putting:
            await putting.send(HALF)
            await upload.until_received(HALF)
            order = {"sessionId": upload.session_id, "fileId": "f1"}
            assert (await watcher.ask("upload-cancel", order))["ok"]
            assert (await putting.answer()).status == 410
        told = await watcher.until_said("upload-cancelled")
        assert (told["fileId"], told["reason"]) == ("f1", "cancelled")
        await watcher.until_said("session-completed")
        again = await watcher.ask("upload-pause", order)
        assert (again["ok"], again["error"]["code"]) == (False, "UPLOAD_CANCELLED")


@pytest.mark.parametrize("transport", ["websocket", "polling"])
async def test_a_polling_client_gets_what_a_websocket_client_gets(gateway: Gateway, transport: str) -> None:
    async with uploads(gateway, "newest", "websocket") as (upload, one):
        async with watching(upload.api.url(""), "newest", transport, join=upload.watch_key) as other:
            joined = (await other.until("joined"))["answer"]
            assert (joined["ok"], joined["sessionId"]) == (True, upload.watch_key)
            await upload.put(CONTENT)
            await one.until_last_word()
            await other.until_last_word()
            assert one.facts == other.facts
            assert {payload["sessionId"] for _, payload in other.events} == {upload.watch_key}


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("client", COMMANDS)
async def test_it_comes_back_after_a_restart_and_misses_nothing(
    tmp_path: Path, client: str, transport: str
) -> None:
    async with running(tmp_path) as gateway:
        port = gateway.port
        upload = await Api(gateway).create_one(CONTENT.size)
        url = upload.api.url("")
        async with watching(url, client, transport, join=upload.session_id) as watcher:
            await watcher.until("joined")
            await upload.put(CONTENT, 0, HALF)
            await watcher.until_said("upload-started")
            await gateway.kill()
            await watcher.until("disconnect")
            async with running(tmp_path, "--port", str(port)) as upload.api.gateway:
                await upload.put(CONTENT, HALF)
                joined = await watcher.until("joined", 2)
                assert joined["answer"]["recovered"] is True
                await watcher.until_said("session-completed")
                assert [name for _, name in watcher.facts] == [
                    "upload-started",
                    "upload-completed",
                    "session-completed",
                ]
                check_numbers(watcher)
                check_stored(upload, await upload.show())
                await watcher.disconnect()


async def test_a_drain_ends_transports_never_namespaces(tmp_path: Path) -> None:
    """A client that is told DISCONNECT does not come back by itself."""
    async with running(tmp_path) as gateway:
        upload = await Api(gateway).create_one(CONTENT.size)
        async with watching(upload.api.url(""), "newest", "websocket", join=upload.session_id) as socket:
            async with watching(upload.api.url(""), "newest", "polling", join=upload.session_id) as poller:
                for watcher in (socket, poller):
                    await watcher.until("joined")
                assert await gateway.terminate() == 0
                for watcher in (socket, poller):
                    gone = await watcher.until("disconnect")
                    assert gone["reason"] in ("transport close", "transport error")
                    statuses = [told["status"] for told in watcher.payloads("connection-status")]
                    assert statuses[-1] == "reconnecting"


async def test_the_upload_page_of_old_sees_the_session_completed_first(gateway: Gateway) -> None:
    """It leaves as soon as `overallStatus` is completed; what it needs has come by then."""
    upload = await Api(gateway).create_one(CONTENT.size)
    url = upload.api.url("")
    options = {"transports": ["websocket", "polling"], "timeout": 5000, "reconnectionAttempts": 3}
    async with watching(url, "newest", "upgrade", composable=upload.session_id, options=options) as watcher:
        await watcher.until("said", 2)  # connected, joined
        await upload.put(CONTENT)
        assert (await watcher.until("disconnect"))["reason"] == "io client disconnect"
        names = [name for name, _ in watcher.events]
        assert names[-2:] == ["session-completed", "upload-progress"]


async def test_an_address_with_the_path_in_it_is_explained(gateway: Gateway) -> None:
    """`io('ws://host/socket.io')`: to the client that is a namespace."""
    url = f"ws://{gateway.host}:{gateway.port}/socket.io"
    async with watching(url, "newest", "websocket") as watcher:
        told = await watcher.until("connect_error")
    assert "Invalid namespace" in told["message"]
    assert "io('http://host:port')" in told["message"]


async def test_an_unknown_session_is_an_error_and_the_connection_stays(gateway: Gateway) -> None:
    url = f"http://{gateway.host}:{gateway.port}"
    async with watching(url, "newest", "websocket", options={"query": {"sessionId": "w_none"}}) as watcher:
        told = await watcher.until_said("error")
        assert (told["event"], told["code"]) == ("join-session", "INVALID_SESSION")
        assert told["error"] == {"code": told["code"], "message": told["message"]}
        answer = await watcher.ask("join-session", "00000000-0000-4000-8000-000000000000")
        assert answer["error"]["code"] == "SESSION_NOT_FOUND"
        assert json.dumps(watcher.named("disconnect")) == "[]"
