"""The commands on Socket.IO's default namespace: acks, order and languages."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from penstock.storage.errors import StoreError, StoreFull
from tests.server.realtime.socket_driver import TRANSPORTS
from tests.server.realtime.socket_running import facts_of, joined, many_facts, running, settle
from tests.server.uploads.rig import FedBody, whole_body

UNKNOWN = "00000000-0000-4000-8000-000000000000"

transports = pytest.mark.parametrize("transport", TRANSPORTS)

# Connecting


@transports
async def test_connecting_says_so(autojump_clock: MockClock, transport: str) -> None:
    async with running() as both, both.connected(transport) as client:
        assert client.told == [("connection-status", {"status": "connected"})]
        await settle()
        assert both.server.statistics()["sessions"] == 1
        assert both.watches == 0


@transports
async def test_the_address_may_name_a_session(autojump_clock: MockClock, transport: str) -> None:
    async with running() as both:
        session_id = await both.rig.one_file(4)
        async with both.connected(transport, sessionId=session_id, clientType="web") as client:
            await settle()
            assert client.told == [("connection-status", {"status": "connected"})] * 2
            await both.rig.put(session_id, whole_body(b"abcd"))
            assert (await client.next("session-completed"))["sessionId"] == session_id


@pytest.mark.parametrize(
    ("reference", "code"), [(UNKNOWN, "SESSION_NOT_FOUND"), ("session_123", "INVALID_SESSION")]
)
async def test_an_address_that_names_none_is_told_and_the_connection_stays(
    autojump_clock: MockClock, reference: str, code: str
) -> None:
    async with running() as both, both.connected(sessionId=reference) as client:
        error = await client.next("error")
        assert (error["event"], error["code"]) == ("join-session", code)
        assert (await client.ask("leave-session", UNKNOWN))["ok"] is True


async def test_the_mistaken_address_is_explained(autojump_clock: MockClock) -> None:
    async with running() as both, both.opened() as client:
        client.packet_nowait("0/socket.io,")
        client.packet_nowait("0/chat,")
        await client.until(lambda: len(client.packets) == 2)
    assert client.packets[0].startswith('4/socket.io,{"message":"Invalid namespace')
    assert "io('http://host:port')" in client.packets[0]
    assert client.packets[1] == '4/chat,{"message":"Invalid namespace"}'


# Acks


@transports
async def test_every_command_is_acknowledged(autojump_clock: MockClock, transport: str) -> None:
    async with running() as both, both.connected(transport) as client:
        session_id = await both.rig.one_file(10)
        one = {"sessionId": session_id, "fileId": "f1"}
        join = await client.ask("join-session", {"sessionId": session_id})
        start = await client.ask(
            "upload-start", {"sessionId": session_id, "fileIds": ["f1"], "category": "personal"}
        )
        own = await client.ask("upload-progress", {**one, "progress": 12.5})
        asked = await client.ask("upload-progress", {**one, "requestUpdate": True})
        pause = await client.ask("upload-pause", {**one, "reason": "lunch"})
        resume = await client.ask("upload-resume", {"sessionId": session_id})
        cancel = await client.ask("upload-cancel", one)
        leave = await client.ask("leave-session", {"sessionId": session_id})
    assert join["ok"] is True
    assert {"sessionId", "epoch", "seq", "recovered", "snapshot"} < set(join)
    assert start == {"ok": True, "fileIds": ["f1"], "status": "uploading"}
    assert own == {"ok": True, "fileId": "f1", "clientProgress": 12.5}
    assert (asked["ok"], asked["progress"]["fileId"]) == (True, "f1")
    assert (pause["ok"], pause["status"], pause["uploadedBytes"]) == (True, "paused", 0)
    assert (resume["ok"], resume["overallStatus"]) == (True, "uploading")
    assert (cancel["ok"], cancel["status"]) == (True, "cancelled")
    assert leave == {"ok": True, "sessionId": session_id}
    assert client.errors() == []


async def test_without_an_ack_success_is_silent_and_done(autojump_clock: MockClock) -> None:
    async with running() as both, both.connected() as client:
        session_id = await both.rig.one_file(10)
        for name in ("upload-pause", "upload-resume", "upload-pause"):
            client.say_nowait(name, {"sessionId": session_id}, wants_ack=False)
        await settle()
        assert both.rig.file(session_id).row.state.value == "paused"
        assert len(client.packets) == 2  # of connecting


@pytest.mark.parametrize("name", ["join-session", "leave-session"])
async def test_a_bare_id_is_enough(autojump_clock: MockClock, name: str) -> None:
    async with running() as both, both.connected() as client:
        session_id = await both.rig.one_file(10)
        assert (await client.ask(name, session_id))["sessionId"] == session_id


async def test_another_client_commands(autojump_clock: MockClock) -> None:
    async with running() as both, both.connected() as watcher, both.connected("polling") as phone:
        session_id = await both.rig.one_file(10)
        await joined(watcher, session_id)
        body = FedBody(length=10)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(both.rig.put, session_id, body)
            body.feed(b"abcd")
            await watcher.next("upload-progress")
            paused = await phone.ask("upload-pause", {"sessionId": session_id, "fileId": "f1"})
            assert (paused["status"], paused["uploadedBytes"]) == ("paused", 4)
            fact = await watcher.next("upload-progress")
            assert (fact["fact"], fact["currentFile"]["status"]) == (True, "paused")
            await phone.ask("upload-resume", {"sessionId": session_id, "fileId": "f1"})
            assert (await watcher.next("upload-progress"))["currentFile"]["status"] == "uploading"
            body.feed(b"efghij")
            body.end()
            assert (await watcher.next("upload-completed"))["fileId"] == "f1"
        refused = await phone.ask("upload-pause", {"sessionId": session_id, "fileId": "f1"})
        assert refused["error"]["code"] == "UPLOAD_ALREADY_COMPLETED"
        assert phone.events() == [], "commands do not join"


# Languages


@pytest.mark.parametrize(
    ("lang", "accepted", "message"),
    [
        ("zh", None, "所有文件上传完成"),
        (None, b"zh-CN,zh;q=0.9", "所有文件上传完成"),
        ("en", b"zh-CN", "All files uploaded"),
        (None, None, "All files uploaded"),
    ],
)
async def test_the_client_chooses_the_language(
    autojump_clock: MockClock, lang: str | None, accepted: bytes | None, message: str
) -> None:
    query = {} if lang is None else {"lang": lang}
    headers = [] if accepted is None else [(b"accept-language", accepted)]
    async with running() as both, both.connected(headers=headers, **query) as client:
        session_id = await both.rig.one_file(4)
        await joined(client, session_id)
        await both.rig.put(session_id, whole_body(b"abcd"))
        await settle()
        asked = {"sessionId": session_id, "fileId": "f1", "requestUpdate": True}
        await client.ask("upload-progress", asked)
        await settle()
        told = [payload["message"] for name, payload in client.events() if name == "upload-progress"]
        assert told[-2:] == [message] * 2


# Progress


async def test_requested_progress_goes_to_the_asker_alone(autojump_clock: MockClock) -> None:
    async with running() as both, both.connected() as asker, both.connected() as other:
        session_id = await both.rig.one_file(10)
        await joined(other, session_id)
        asked = {"sessionId": session_id, "fileId": "f1", "requestUpdate": True}
        ack = await asker.ask("upload-progress", asked)
        event = await asker.next("upload-progress")
        await settle()
        assert event == ack["progress"]
        assert event["totalBytes"] == 10
        assert (other.events(), len(asker.events())) == ([], 1)


@transports
async def test_requested_progress_does_not_overtake_the_facts_that_wait(
    autojump_clock: MockClock, transport: str
) -> None:
    async with running() as both, both.connected(transport) as client:
        session_id = await both.rig.one_file(10)
        await joined(client, session_id)
        client.stall()
        await settle()
        await many_facts(both.rig, session_id, 1000)
        number = client.say_nowait(
            "upload-progress", {"sessionId": session_id, "fileId": "f1", "requestUpdate": True}
        )
        await settle()
        client.reading.set()
        await client.until(lambda: len(facts_of(client)) == 1000)
        sequences = [payload["seq"] for _, payload in client.events()]
        assert sequences == sorted(sequences), "who breaks off here comes back with one of them"
        assert client.acks[number]["progress"]["seq"] < 1000


async def test_a_clients_own_progress_is_kept_and_told_nobody(autojump_clock: MockClock) -> None:
    async with running() as both, both.connected() as client:
        session_id = await both.rig.one_file(10)
        await both.rig.command("upload-start", session_id, fileIds=["f1"], category="personal")
        await joined(client, session_id)
        own = {"sessionId": session_id, "fileId": "f1", "progress": 40}
        assert (await client.ask("upload-progress", own))["clientProgress"] == 40
        await settle()
        assert client.events() == []
        again = await joined(client, session_id)
        assert again["snapshot"]["files"][0]["clientProgress"] == 40


# Order and trouble


@transports
async def test_commands_run_in_the_order_they_came(autojump_clock: MockClock, transport: str) -> None:
    async with running() as both, both.connected(transport) as client:
        session_id = await both.rig.one_file(10)
        await joined(client, session_id)
        kinds = ["upload-pause", "upload-resume"] * 20
        numbers = [client.say_nowait(kind, {"sessionId": session_id}) for kind in kinds]
        await settle()
        assert list(client.acks)[1:] == numbers
        statuses = [payload["currentFile"]["status"] for _, payload in client.events()]
        assert statuses == ["paused", "uploading"] * 20


@transports
async def test_a_command_that_takes_long_holds_up_no_pong_and_no_other_connection(
    autojump_clock: MockClock, transport: str
) -> None:
    async with running() as both, both.connected(transport) as client, both.connected(transport) as other:
        session_id, another = await both.rig.one_file(10), await both.rig.one_file(10)
        both.rig.store.gate = trio.Event()
        number = client.say_nowait("upload-pause", {"sessionId": session_id})
        await trio.sleep(200)
        assert not client.ended.is_set()
        await joined(other, another)
        assert number not in client.acks
        both.rig.store.gate.set()
        await client.until(lambda: number in client.acks)


@transports
@pytest.mark.parametrize("packet", ["41", "1", ""], ids=["namespace", "transport", "cut"])
async def test_what_was_asked_before_leaving_is_done(
    autojump_clock: MockClock, transport: str, packet: str, capsys: pytest.CaptureFixture[str]
) -> None:
    async with running() as both, both.connected(transport) as client:
        session_id = await both.rig.one_file(10)
        await joined(client, session_id)
        both.rig.store.gate = trio.Event()
        for name in ("upload-pause", "upload-resume", "upload-cancel"):
            client.say_nowait(name, {"sessionId": session_id, "fileId": "f1"})
        client.say_nowait("nonsense")
        if packet:
            client._outgoing.send_nowait(packet)
        await settle()
        if not packet:
            client.hang_up()
        await settle()
        assert both.watches == (0 if packet == "41" else 1)
        both.rig.store.gate.set()
        await settle()
        assert both.rig.file(session_id).row.state.value == "cancelled"
        assert both.watches == 0
    assert "failed" not in capsys.readouterr().out


async def test_who_leaves_while_joining_watches_nothing(autojump_clock: MockClock) -> None:
    async with running() as both, both.connected() as client:
        session_id = await both.rig.one_file(10)
        both.rig.store.gate = trio.Event()
        client.say_nowait("upload-pause", {"sessionId": session_id})
        client.say_nowait("join-session", session_id)
        client.packet_nowait("1")
        await settle()
        both.rig.store.gate.set()
        await settle()
        assert both.watches == 0
        client.packet_nowait("0")
        await client.until(lambda: sum(text.startswith("0{") for text in client.packets) == 2)
        await both.rig.command("upload-resume", session_id)
        await settle()
        assert client.events() == []


async def test_trouble_with_the_store_is_answered_and_the_connection_lives(autojump_clock: MockClock) -> None:
    async with running() as both, both.connected() as client:
        session_id = await both.rig.one_file(10)
        both.rig.store.fault = StoreError("disk on fire")
        error = (await client.ask("upload-pause", {"sessionId": session_id}))["error"]
        assert error["code"] == "SERVER_ERROR"
        assert "fire" not in error["message"]
        both.rig.store.fault = None
        assert (await client.ask("upload-pause", {"sessionId": session_id}))["ok"] is True


async def test_foreseen_trouble_is_told_as_on_the_other_wires_and_fills_no_log(
    autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    async with running() as both, both.connected() as client:
        session_id = await both.rig.one_file(10)

        async def fail(session_id: str) -> int | None:
            await trio.lowlevel.checkpoint()
            raise StoreFull("disk on fire")

        both.rig.store.oldest_fact = fail  # type: ignore[method-assign]  # the disk, not our code
        since = {"epoch": both.rig.store.epoch, "seq": 0}
        error = (await client.ask("join-session", {"sessionId": session_id, "since": since}))["error"]
        assert error["code"] == "INSUFFICIENT_STORAGE"
        assert "fire" not in error["message"]
    logged = capsys.readouterr().out
    assert "store-trouble" in logged
    assert "request-failed" not in logged
