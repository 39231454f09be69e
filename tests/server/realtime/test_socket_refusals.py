"""What Socket.IO's default namespace refuses, how it says so, and what ends a connection."""

from __future__ import annotations

import re

import pytest
import trio
from trio.testing import MockClock

from tests.server.realtime.socket_driver import TRANSPORTS
from tests.server.realtime.socket_running import running, settle

UNKNOWN = "00000000-0000-4000-8000-000000000000"

transports = pytest.mark.parametrize("transport", TRANSPORTS)

# Refusals


def session_of(**fields: object) -> dict[str, object]:
    return {"sessionId": UNKNOWN, **fields}


REFUSALS: list[tuple[str, tuple[object, ...], str, str]] = [
    ("upload-paus", (session_of(),), "INVALID_MESSAGE", "upload-paus"),
    ("message", (), "INVALID_MESSAGE", "is not a command; there are join-session"),
    ("upload-pause", (), "INVALID_MESSAGE", "send one argument, an object with sessionId"),
    ("upload-pause", (session_of(), 1), "INVALID_MESSAGE", "send one argument"),
    ("join-session", (), "INVALID_MESSAGE", "or the session id"),
    ("upload-pause", (UNKNOWN,), "INVALID_MESSAGE", "expected `object`"),
    ("upload-pause", (None,), "INVALID_MESSAGE", "expected `object`"),
    ("upload-pause", ({},), "INVALID_MESSAGE", "sessionId"),
    ("upload-pause", (session_of(fileid="f1"),), "INVALID_MESSAGE", "fileid"),
    ("upload-pause", (session_of(fileId=7),), "INVALID_MESSAGE", "fileId"),
    ("upload-pause", (session_of(reason="x" * 501),), "INVALID_MESSAGE", "reason"),
    ("upload-start", (session_of(),), "INVALID_MESSAGE", "fileIds"),
    ("upload-start", (session_of(fileIds=[], category="personal"),), "INVALID_MESSAGE", "fileIds"),
    ("upload-progress", (session_of(fileId="f1"),), "INVALID_MESSAGE", "requestUpdate"),
    ("upload-progress", (session_of(fileId="f1", progress=101),), "INVALID_MESSAGE", "progress"),
    ("join-session", (session_of(since=3),), "INVALID_MESSAGE", "since"),
    ("join-session", ("nope",), "INVALID_SESSION", "sessionId"),
    ("leave-session", ({"sessionId": "w_nope"},), "INVALID_SESSION", "sessionId"),
    ("join-session", (UNKNOWN,), "SESSION_NOT_FOUND", ""),
    ("upload-pause", (session_of(),), "SESSION_NOT_FOUND", ""),
    ("upload-start", (session_of(fileIds=["f1"], category="personal"),), "SESSION_NOT_FOUND", ""),
]


@pytest.mark.parametrize(("name", "args", "code", "told"), REFUSALS)
async def test_a_refusal_is_an_ack_or_an_error_event(
    autojump_clock: MockClock, name: str, args: tuple[object, ...], code: str, told: str
) -> None:
    async with running() as both, both.connected() as client:
        ack = await client.ask(name, *args)
        assert ack == {"ok": False, "error": {"code": code, "message": ack["error"]["message"]}}
        assert told in ack["error"]["message"]
        assert client.errors() == [], "one answer is enough"
        client.say_nowait(name, *args, wants_ack=False)
        event = await client.next("error")
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", event.pop("timestamp"))
        assert event == {
            "event": name,
            "code": code,
            "message": ack["error"]["message"],
            "error": ack["error"],
        }


@pytest.mark.parametrize(
    ("name", "fields", "code"),
    [
        ("upload-start", {"fileIds": ["f1", "f2"], "category": "personal"}, "FILE_NOT_FOUND"),
        ("upload-start", {"fileIds": ["f1"], "category": "scenic"}, "INVALID_MESSAGE"),
        ("upload-pause", {"fileId": "f2"}, "FILE_NOT_FOUND"),
        ("upload-progress", {"fileId": "f1", "progress": 1}, "UPLOAD_NOT_STARTED"),
    ],
)
async def test_a_refused_command_changes_nothing(
    autojump_clock: MockClock, name: str, fields: dict[str, object], code: str
) -> None:
    async with running() as both, both.connected() as client:
        session_id = await both.rig.one_file(10)
        ack = await client.ask(name, {"sessionId": session_id, **fields})
        assert ack["error"]["code"] == code
        assert both.rig.file(session_id).row.state.value == "pending"
        assert both.rig.live(session_id).ring.seq == 0


@transports
@pytest.mark.parametrize("packet", ['50["x"]', '2["connect"]', "2[]", "2/chat,[]", "0", "9", '2["x",NaN]'])
async def test_what_is_no_socketio_ends_that_connection_only(
    autojump_clock: MockClock, transport: str, packet: str
) -> None:
    async with running() as both, both.connected(transport) as hostile, both.connected(transport) as other:
        hostile.packet_nowait(packet)
        await hostile.closed()
        assert (await other.ask("leave-session", UNKNOWN))["ok"] is True
        assert both.ended == {"parse error": 1}


async def test_bytes_in_a_command_are_refused(autojump_clock: MockClock) -> None:
    async with running() as both, both.connected("polling") as client:
        client.packet_nowait('51-9["join-session",{"_placeholder":true,"num":0}]')
        client._outgoing.send_nowait("bAAAA")
        await client.until(lambda: 9 in client.acks)
        assert client.acks[9]["error"]["code"] == "INVALID_MESSAGE"


# Too many


@transports
async def test_ten_invalid_ones_in_a_row_end_the_connection(
    autojump_clock: MockClock, transport: str
) -> None:
    async with running() as both, both.connected(transport) as client, both.connected() as bystander:
        for good in ("leave-session", "join-session"):  # one that is refused is no invalid one
            for _ in range(9):
                client.say_nowait("nonsense", wants_ack=False)
            client.say_nowait(good, UNKNOWN)
        await settle()
        assert len(client.errors()) == 18
        assert not client.ended.is_set()
        for number in range(10):
            client.say_nowait("nonsense" if number % 2 else "join-session", "x", wants_ack=number % 3 == 0)
        await client.closed()
        assert both.ended == {"forced close": 1}
        assert (await bystander.ask("join-session", UNKNOWN))["error"]["code"] == "SESSION_NOT_FOUND"


@transports
@pytest.mark.parametrize("wants_ack", [True, False])
async def test_too_many_are_refused_and_the_connection_stays(
    autojump_clock: MockClock, transport: str, wants_ack: bool
) -> None:
    async with running(messages_per_s=10, messages_burst=20) as both, both.connected(transport) as client:
        session_id = await both.rig.one_file(4)
        numbers = [client.say_nowait("leave-session", UNKNOWN) for _ in range(20)]
        beyond = client.say_nowait("upload-cancel", {"sessionId": session_id}, wants_ack=wants_ack)
        await client.until(lambda: beyond in client.acks or client.errors())
        await settle()
        assert all(client.acks[number]["ok"] for number in numbers)
        error = (client.acks[beyond] if wants_ack else client.errors()[0])["error"]
        assert (error["code"], error["details"]) == ("RATE_LIMIT_EXCEEDED", {"retryAfter": 0.1})
        assert both.rig.file(session_id).row.state.value == "pending"
        await trio.sleep(5)
        assert (await client.ask("upload-cancel", {"sessionId": session_id}))["ok"] is True


@transports
async def test_a_flood_is_slowed_to_the_rate(autojump_clock: MockClock, transport: str) -> None:
    async with running(messages_per_s=10, messages_burst=20) as both, both.connected(transport) as client:
        for _ in range(2000):
            client.say_nowait("leave-session", UNKNOWN)
        await trio.sleep(10)
        assert 100 <= len(client.acks) <= 20 + 2 * 10 * 10 + 2
        assert not client.ended.is_set()
        client.hang_up()


@transports
async def test_connecting_again_and_again_is_slowed_to_the_rate(
    autojump_clock: MockClock, transport: str, capsys: pytest.CaptureFixture[str]
) -> None:
    async with running(messages_per_s=10, messages_burst=20) as both, both.connected(transport) as client:
        start = trio.current_time()
        for count in range(2, 102):
            client.packet_nowait("1")
            client.packet_nowait("0")
            await client.until(lambda count=count: len(client.told) == count)  # type: ignore[misc]
        assert trio.current_time() - start >= 5
        assert (await client.ask("leave-session", UNKNOWN))["ok"] is True
    assert capsys.readouterr().out.count("watcher-ended") == 101
