"""The plain WebSocket against the gateway on fakes: what clients see, message by message."""

from __future__ import annotations

import re
from contextlib import AsyncExitStack
from itertools import pairwise
from typing import Any

import msgspec
import pytest
import trio
import trio.testing
from trio.testing import MockClock

from penstock.server.realtime.connection import MAX_REQUESTS
from penstock.server.realtime.envelope_endpoint import EnvelopeEndpoint
from penstock.server.realtime.subscriptions import MAX_TOPICS
from penstock.storage.errors import StoreError
from tests.server.realtime.driver import Client, Handle, connected, opened, scope_for
from tests.server.uploads.rig import FedBody, Rig, make_rig, whole_body

UNKNOWN = "00000000-0000-4000-8000-000000000000"


async def make(**settings: Any) -> tuple[Rig, EnvelopeEndpoint]:
    rig = await make_rig(**settings)
    return rig, EnvelopeEndpoint(rig.gateway, rig.settings)


async def subscribed(client: Client, topic: str, **params: object) -> dict[str, Any]:
    ack = await client.ask("subscribe", {"topic": topic, "params": params})
    assert ack["type"] == "ack", ack
    return ack


async def settle() -> None:
    await trio.testing.wait_all_tasks_blocked()


# Connecting


async def test_connect_says_who_and_how(autojump_clock: MockClock) -> None:
    _, endpoint = await make()
    async with opened(endpoint, scope_for("token=t&clientId=client_123&protocol=1.0")) as client:
        hello = await client.next()
        status = await client.next()
        assert endpoint.statistics() == {"connections": 1, "ended": {}}
    assert hello["type"] == "connect"
    assert hello["data"] == {
        "clientId": "client_123",
        "serverTime": hello["timestamp"],
        "protocol": "1.0",
        "heartbeatInterval": 30.0,
        "heartbeatTimeout": 5.0,
    }
    assert status["type"] == "status"
    assert status["data"]["entityType"] == "connection"
    assert status["data"]["entityId"] == "client_123"
    assert status["data"]["event"] == "connection-status"
    assert status["data"]["payload"] == {"status": "connected"}
    assert endpoint.statistics() == {"connections": 0, "ended": {"peer_closed": 1}}


async def test_a_client_without_an_id_gets_one(autojump_clock: MockClock) -> None:
    _, endpoint = await make()
    async with opened(endpoint) as one, opened(endpoint) as other:
        first = (await one.next())["data"]["clientId"]
        assert re.fullmatch(r"c_[0-9a-f]{16}", first)
        assert first != (await other.next())["data"]["clientId"]


@pytest.mark.parametrize(
    ("query", "number", "name"),
    [
        ("protocol=2.0", 1002, "UNSUPPORTED_PROTOCOL"),
        ("clientId=a%20b", 2000, "INVALID_MESSAGE"),
        ("&".join(f"a{number}=1" for number in range(21)), 2000, "INVALID_MESSAGE"),
    ],
)
async def test_bad_parameters_are_told_then_the_socket_is_closed(
    autojump_clock: MockClock, query: str, number: int, name: str
) -> None:
    _, endpoint = await make()
    async with opened(endpoint, scope_for(query)) as client:
        error = await client.next("error")
        assert await client.closed() == 4501
    assert (error["data"]["code"], error["data"]["name"]) == (number, name)
    assert endpoint.ended == {"protocol": 1}


@pytest.mark.parametrize(
    ("offered", "selected"),
    [((), None), (("bearer.secret",), None), (("bearer.secret", "penstock"), "penstock"), (("x",), None)],
)
async def test_a_token_is_never_echoed(
    autojump_clock: MockClock, offered: tuple[str, ...], selected: str | None
) -> None:
    _, endpoint = await make()
    async with connected(endpoint, scope_for(subprotocols=offered)) as client:
        assert client.accepted == {"type": "websocket.accept", "subprotocol": selected}
        assert not any("secret" in frame for frame in client.frames)


async def test_a_connect_message_is_answered_and_can_name_the_client(autojump_clock: MockClock) -> None:
    _, endpoint = await make()
    async with connected(endpoint) as client:
        client.say_nowait("connect", {"token": "t", "clientId": "late", "protocol": "1.0"})
        assert (await client.next("connect"))["data"]["clientId"] == "late"
        client.say_nowait("connect", {"protocol": "0.9"})
        assert (await client.next("error"))["data"]["code"] == 1002
        assert await client.closed() == 4501


async def test_disconnect_message_closes_normally(autojump_clock: MockClock) -> None:
    _, endpoint = await make()
    async with connected(endpoint) as client:
        client.say_nowait("disconnect")
        assert (await client.next("disconnect"))["data"] == {
            "code": 1000,
            "reason": "client disconnect",
            "reconnect": False,
        }
        assert await client.closed() == 1000
    assert endpoint.ended == {"client_disconnect": 1}


# Heartbeats


async def test_heartbeat_without_data_is_answered_in_kind(autojump_clock: MockClock) -> None:
    _, endpoint = await make()
    async with connected(endpoint) as client:
        client.raw_nowait('{"type":"heartbeat","timestamp":1643673600000}')
        assert (await client.next())["type"] == "heartbeat"


async def test_a_silent_peer_is_pinged_and_given_up(autojump_clock: MockClock) -> None:
    _, endpoint = await make()
    handle = Handle(answers=False)
    async with connected(endpoint, handle=handle) as client:
        start = trio.current_time()
        assert await client.closed() == 4003
        assert handle.pings == [start + 30]
        assert trio.current_time() == start + 35
    assert endpoint.ended == {"heartbeat": 1}


async def test_pongs_keep_a_connection_alive(autojump_clock: MockClock) -> None:
    _, endpoint = await make()
    handle = Handle()
    async with connected(endpoint, handle=handle) as client:
        start = trio.current_time()
        await trio.sleep(100)
        assert handle.pings == [start + 30, start + 60, start + 90]
        assert not client.ended.is_set()


async def test_any_message_is_a_sign_of_life(autojump_clock: MockClock) -> None:
    _, endpoint = await make()
    async with connected(endpoint) as client:  # no handle: the server asks with a heartbeat message
        for _ in range(5):
            await trio.sleep(29)
            client.raw_nowait("nonsense")
            assert (await client.next())["type"] == "error"
        assert [said["type"] for _, said in client.arrived].count("heartbeat") == 0
        last = trio.current_time()
        assert (await client.next())["type"] == "heartbeat"
        assert trio.current_time() == last + 30
        assert await client.closed() == 4003
        assert trio.current_time() == last + 35


# Messages that are wrong


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", "JSON"),
        ("{", "JSON"),
        ("[]", "message"),
        ("3", "message"),
        ("{}", "type"),
        ('{"type": 3}', "type"),
        ('{"type":"upload-paus"}', "type"),
        ('{"type":"notification","data":{}}', "type"),
        ('{"type":"heartbeat","timestamp":"now"}', "timestamp"),
        ('{"type":"heartbeat","messageId":7}', "messageId"),
        ('{"type":"subscribe"}', "data"),
        ('{"type":"subscribe","data":{"topic":7}}', "topic"),
        ('{"type":"subscribe","data":{"topic":"session:x"}}', "topic"),
        (f'{{"type":"subscribe","data":{{"topic":"file:{UNKNOWN}"}}}}', "topic"),
        (f'{{"type":"subscribe","data":{{"topic":"session:{UNKNOWN}","params":{{"since":3}}}}}}', "since"),
        ('{"type":"upload-pause","data":{}}', "sessionId"),
        (f'{{"type":"upload-pause","data":{{"sessionId":"{UNKNOWN}","file":"f"}}}}', "file"),
        ('{"type":"join-session","data":"nope"}', "sessionId"),
    ],
)
async def test_invalid_messages_name_the_field(autojump_clock: MockClock, text: str, names: str) -> None:
    _, endpoint = await make()
    async with connected(endpoint) as client:
        client.raw_nowait(text)
        error = (await client.next())["data"]
        assert error["code"] == 2000
        assert names in error["message"]
        assert not client.ended.is_set()


async def test_a_binary_frame_is_invalid(autojump_clock: MockClock) -> None:
    _, endpoint = await make()
    async with connected(endpoint) as client:
        client.raw_nowait(data=b'{"type":"heartbeat"}')
        assert "binary" in (await client.next("error"))["data"]["message"]


async def test_ten_invalid_messages_in_a_row_end_the_connection(autojump_clock: MockClock) -> None:
    _, endpoint = await make()
    async with connected(endpoint) as client, connected(endpoint) as bystander:
        for _ in range(9):
            client.raw_nowait("nonsense")
        client.say_nowait("heartbeat")  # a good one in between starts the count over
        for _ in range(11):
            client.raw_nowait("nonsense")
        assert await client.closed() == 4502
        assert [said["type"] for _, said in client.arrived].count("error") == 19
        assert (await bystander.ask("join-session", UNKNOWN))["name"] == "SESSION_NOT_FOUND"
    assert endpoint.ended == {"invalid_messages": 1, "peer_closed": 1}


async def test_a_refusal_names_the_message_it_refuses(autojump_clock: MockClock) -> None:
    _, endpoint = await make()
    async with connected(endpoint) as client:
        error = await client.ask("upload-pause", {"sessionId": UNKNOWN})
        assert error["type"] == "error"
        assert (error["code"], error["name"]) == (3000, "SESSION_NOT_FOUND")
        error = await client.ask("subscribe", {"topic": "app:orders"})
        assert (error["code"], error["name"]) == (3000, "TOPIC_NOT_FOUND")
        assert "not available yet" in error["message"]
        error = await client.ask("subscribe", {"topic": "order_updates"})
        assert error["name"] == "TOPIC_NOT_FOUND"


async def test_too_many_messages_are_refused_and_the_socket_stays(autojump_clock: MockClock) -> None:
    rig, endpoint = await make(messages_per_s=10, messages_burst=20)
    session_id = await rig.one_file(4)
    async with connected(endpoint) as client:
        start = trio.current_time()
        for _ in range(30):
            client.say_nowait("heartbeat")
        client.say_nowait("upload-cancel", {"sessionId": session_id})
        await settle()
        kinds = [said["type"] for _, said in client.arrived[2:]]
        assert kinds == ["heartbeat"] * 20 + ["error"]
        error = await client.next("error")
        assert error["data"]["code"] == 2002
        assert error["data"]["details"] == {"retryAfter": 0.1}
        assert error["data"]["messageId"] == "c21"
        await trio.sleep(5)
        assert (
            await client.ask("upload-progress", {"sessionId": session_id, "fileId": "f1", "progress": 1})
        )["name"] == "UPLOAD_NOT_STARTED"
        assert trio.current_time() >= start + 5


async def test_a_flood_is_slowed_to_the_rate(autojump_clock: MockClock) -> None:
    _, endpoint = await make(messages_per_s=10, messages_burst=20)
    async with connected(endpoint) as client:
        for _ in range(2000):
            client.say_nowait("heartbeat")
        await trio.sleep(10)
        answers = len(client.arrived) - 2
        assert 100 <= answers <= 20 + 2 * 10 * 10 + 2


# Subscriptions


async def test_subscribe_then_events_in_order(autojump_clock: MockClock) -> None:
    rig, endpoint = await make()
    session_id = await rig.one_file(4)
    async with connected(endpoint) as client:
        ack = await subscribed(client, f"session:{session_id}")
        assert ack["ok"] is True
        assert ack["topic"] == f"session:{session_id}"
        assert (ack["epoch"], ack["sequence"], ack["recovered"]) == (rig.store.epoch, 0, False)
        assert ack["snapshot"]["files"][0]["fileId"] == "f1"
        status = await client.next("status")
        assert status["data"]["event"] == "connection-status"
        assert status["data"]["topic"] == f"session:{session_id}"
        await rig.put(session_id, whole_body(b"abcd"))
        await settle()
        names = client.names()
    assert names[0] == "upload-started"
    assert names[-3:] == ["upload-completed", "session-completed", "upload-progress"]
    started, last = client.events()[0], client.events()[-1]
    assert started["type"] == "status"
    assert started["data"]["entityId"] == "f1"
    assert started["data"]["status"] == "uploading"
    assert started["data"]["payload"]["fileName"] == "a.bin"
    assert started["messageId"].endswith(f"{rig.store.epoch}:1")
    assert last["type"] == "data"
    assert last["data"]["payload"]["overallStatus"] == "completed"
    assert last["data"]["payload"]["totalProgress"] == 100


async def test_subscribing_twice_changes_nothing(autojump_clock: MockClock) -> None:
    rig, endpoint = await make()
    session_id = await rig.one_file(4)
    async with connected(endpoint) as client:
        await subscribed(client, f"session:{session_id}")
        again = await subscribed(client, f"session:{session_id.upper()}")
        joined = await client.ask("join-session", {"sessionId": session_id})
        assert again["recovered"] is True
        assert joined["snapshot"]["sessionId"] == session_id
        assert rig.gateway.statistics().watches == 1
        await rig.command("upload-pause", session_id, fileId="f1")
        await settle()
        assert client.names() == ["upload-progress"]
    assert rig.gateway.statistics().watches == 0


async def test_unsubscribe_stops_the_pushes(autojump_clock: MockClock) -> None:
    rig, endpoint = await make()
    session_id = await rig.one_file(4)
    async with connected(endpoint) as client:
        await subscribed(client, f"session:{session_id}")
        ack = await client.ask("unsubscribe", {"topic": f"session:{session_id}"})
        assert ack["topic"] == f"session:{session_id}"
        assert rig.gateway.statistics().watches == 0
        await rig.put(session_id, whole_body(b"abcd"))
        await settle()
        assert client.names() == []
        assert (await client.ask("leave-session", session_id))["ok"] is True  # once more is fine
        await client.ask("join-session", session_id)
        await client.ask("leave-session", {"sessionId": session_id})
        assert rig.gateway.statistics().watches == 0


async def test_a_file_topic_tells_of_that_file_and_the_session(autojump_clock: MockClock) -> None:
    rig, endpoint = await make()
    files = [{"fileName": name, "fileId": name, "fileSize": 2} for name in ("one", "two")]
    session_id = (await rig.session(*files))["sessionId"]
    async with connected(endpoint) as client, connected(endpoint) as other:
        topic = f"file:{session_id}/two"
        ack = await subscribed(client, topic)
        assert [file["fileId"] for file in ack["snapshot"]["files"]] == ["two"]
        await subscribed(other, f"file:{session_id}/one")
        missing = await client.ask("subscribe", {"topic": f"file:{session_id}/three"})
        assert missing["name"] == "FILE_NOT_FOUND"
        await rig.put(session_id, whole_body(b"ab"), file_id="one")
        await rig.put(session_id, whole_body(b"ab"), file_id="two")
        await settle()
    assert {said["data"]["topic"] for said in client.events()} == {topic}
    assert {said["data"]["topic"] for said in other.events()} == {f"file:{session_id}/one"}
    about = [said["data"]["payload"].get("fileId") for said in client.events()]
    assert set(about) == {"two", None}
    assert client.names()[-2:] == other.names()[-2:] == ["session-completed", "upload-progress"]
    sequences = [said["sequence"] for said in client.events()]
    assert sequences == sorted(sequences)


async def test_many_topics_on_one_connection_up_to_a_bound(autojump_clock: MockClock) -> None:
    rig, endpoint = await make(messages_burst=1000)
    sessions = [await rig.one_file(4) for _ in range(MAX_TOPICS + 1)]
    async with connected(endpoint) as client:
        for session_id in sessions[:-1]:
            await subscribed(client, f"session:{session_id}")
        refused = await client.ask("subscribe", {"topic": f"session:{sessions[-1]}"})
        assert refused["name"] == "SERVER_BUSY"
        assert refused["details"] == {"maxTopics": MAX_TOPICS}
        await client.ask("unsubscribe", {"topic": f"session:{sessions[0]}"})
        await subscribed(client, f"session:{sessions[-1]}")
        assert rig.gateway.statistics().watches == MAX_TOPICS
        await rig.put(sessions[5], whole_body(b"abcd"))
        await rig.put(sessions[6], whole_body(b"abcd"))
        await settle()
    ids = [said["messageId"] for said in client.events()]
    assert len(ids) == len(set(ids)), "facts of two sessions must not look like one"
    assert {said["data"]["topic"] for said in client.events()} == {f"session:{sessions[i]}" for i in (5, 6)}
    assert rig.gateway.statistics().watches == 0


async def test_since_brings_what_was_missed_with_the_same_ids(autojump_clock: MockClock) -> None:
    rig, endpoint = await make()
    session_id = await rig.one_file(4)
    async with connected(endpoint) as client:
        ack = await subscribed(client, f"session:{session_id}")
        await rig.put(session_id, whole_body(b"abcd"))
        await settle()
    facts = [said for said in client.events() if said["type"] != "data"]
    last = client.events()[-1]
    since = {"epoch": ack["epoch"], "seq": facts[0]["sequence"]}
    async with connected(endpoint) as returning:
        again = await subscribed(returning, f"session:{session_id}", since=since)
        assert again["recovered"] is True
        await settle()
    assert returning.events() == [*facts[1:], last]
    async with connected(endpoint) as stranger:
        lost = await subscribed(stranger, f"session:{session_id}", since={**since, "epoch": "other"})
        assert lost["recovered"] is False
        assert lost["sequence"] == facts[-1]["sequence"]
        await settle()
        assert stranger.events() == []


@pytest.mark.parametrize("kind", ["session:{}", "file:{}/f1"])
async def test_nothing_is_pushed_before_the_ack(autojump_clock: MockClock, kind: str) -> None:
    rig, endpoint = await make()
    session_id = await rig.one_file(4)
    await rig.put(session_id, whole_body(b"abcd"))
    async with connected(endpoint) as client:
        client.say_nowait(
            "subscribe",
            {"topic": kind.format(session_id), "params": {"since": {"epoch": rig.store.epoch, "seq": 0}}},
        )
        await settle()
    kinds = [said["data"].get("event", said["type"]) for _, said in client.arrived[2:]]
    assert kinds[:3] == ["ack", "connection-status", "upload-started"]
    assert kinds[-2:] == ["session-completed", "upload-progress"]


async def test_two_watchers_see_every_fact_once_and_in_order(autojump_clock: MockClock) -> None:
    rig, endpoint = await make()
    session_id = await rig.one_file(1000)
    body = FedBody(length=1000)
    async with connected(endpoint) as one, connected(endpoint) as other, trio.open_nursery() as nursery:
        await subscribed(one, f"session:{session_id}")
        nursery.start_soon(rig.put, session_id, body)
        await subscribed(other, f"session:{session_id}")
        for _ in range(5):
            body.feed(bytes(100))
            await trio.sleep(0.3)
            assert (await one.ask("upload-pause", {"sessionId": session_id}))["ok"]
            assert (await other.ask("upload-resume", {"sessionId": session_id}))["ok"]
        body.feed(bytes(500))
        body.end()
        await one.next_event("session-completed")
        await other.next_event("session-completed")
        await settle()
    for client in (one, other):
        facts = [said["sequence"] for said in client.events() if said["type"] != "data"]
        assert facts == list(range(facts[0], facts[-1] + 1))
        assert facts[-1] == rig.live(session_id).ring.seq
        sequences = [said["sequence"] for said in client.events()]
        assert sequences == sorted(sequences), "progress never overtakes a fact"
        assert client.names().count("session-completed") == 1
        assert client.names()[-2:] == ["session-completed", "upload-progress"]
        ids = [said["messageId"] for said in client.events()]
        assert len(ids) == len(set(ids))
    assert one.frames[-1] == other.frames[-1]


async def test_events_are_encoded_once_for_all_watchers(autojump_clock: MockClock) -> None:
    rig, endpoint = await make()
    session_id = await rig.one_file(4)
    async with AsyncExitStack() as stack:
        for _ in range(5):
            client = await stack.enter_async_context(connected(endpoint))
            await subscribed(client, f"session:{session_id}")
            await subscribed(client, f"file:{session_id}/f1")
        await rig.put(session_id, whole_body(b"abcd"))
        await settle()
        entry = rig.live(session_id).ring.get(1)
        assert entry is not None
        assert len(entry._frames) == 2  # one for the session's topic, one for the file's


async def test_progress_is_throttled_but_the_last_one_is_not_swallowed(autojump_clock: MockClock) -> None:
    rig, endpoint = await make()
    session_id = await rig.one_file(100_000)
    body = FedBody(length=100_000)
    async with connected(endpoint) as client, trio.open_nursery() as nursery:
        await subscribed(client, f"session:{session_id}")
        nursery.start_soon(rig.put, session_id, body)
        for _ in range(100):
            body.feed(bytes(1000))
            await trio.sleep(0.1)
        body.end()
        await client.next_event("session-completed")
        await settle()
    pushes = [(at, said) for at, said in client.arrived if said["type"] == "data"]
    moving = [at for at, said in pushes if 0 < said["data"]["payload"]["progress"] < 100]
    assert len(moving) >= 10
    assert all(later - earlier > 0.5 for earlier, later in pairwise(moving))
    terminal = [
        said for said in client.events() if said["data"]["payload"].get("overallStatus") == "completed"
    ]
    assert len(terminal) == 1
    assert client.events()[-1] == terminal[0]


async def test_important_messages_are_sent_again_until_they_are_acknowledged(
    autojump_clock: MockClock,
) -> None:
    rig, endpoint = await make()
    session_id = await rig.one_file(4)
    async with connected(endpoint, handle=Handle()) as client, connected(endpoint, handle=Handle()) as plain:
        await subscribed(client, f"session:{session_id}", ack=True)
        await subscribed(plain, f"session:{session_id}")
        start = trio.current_time()
        await rig.put(session_id, whole_body(b"abcd"))
        done = await client.next("notification")
        assert done["data"]["event"] == "upload-completed"
        client.say_nowait("ack", {"messageId": done["messageId"]})
        await trio.sleep(100)
    heard = [(at - start, said["messageId"]) for at, said in client.arrived if said["type"] == "notification"]
    acknowledged = [at for at, message_id in heard if message_id == done["messageId"]]
    ended = [at for at, message_id in heard if message_id != done["messageId"]]
    assert acknowledged == [0]
    assert ended == pytest.approx([0, 5, 10, 15])
    assert plain.names().count("session-completed") == 1
    assert client.names().count("upload-started") == 1


async def test_who_has_unsubscribed_gets_nothing_again(autojump_clock: MockClock) -> None:
    rig, endpoint = await make()
    session_id = await rig.one_file(4)
    async with connected(endpoint, handle=Handle()) as client:
        await subscribed(client, f"session:{session_id}", ack=True)
        await rig.command("upload-cancel", session_id)
        await client.next_event("session-completed")
        await client.ask("unsubscribe", {"topic": f"session:{session_id}"})
        await trio.sleep(100)
        assert client.names() == ["upload-cancelled", "session-completed", "upload-progress"]


# Commands


async def test_another_connection_commands(autojump_clock: MockClock) -> None:
    rig, endpoint = await make()
    session_id = await rig.one_file(10)
    body = FedBody(length=10)
    async with connected(endpoint) as watcher, connected(endpoint) as phone, trio.open_nursery() as nursery:
        await subscribed(watcher, f"session:{session_id}")
        started = await phone.ask(
            "upload-start", {"sessionId": session_id, "fileIds": ["f1"], "category": "personal"}
        )
        assert started["ok"] is True
        nursery.start_soon(rig.put, session_id, body)
        body.feed(b"abcd")
        await watcher.next_event("upload-progress")
        paused = await phone.ask("upload-pause", {"sessionId": session_id, "fileId": "f1"})
        assert (paused["type"], paused["status"], paused["uploadedBytes"]) == ("ack", "paused", 4)
        fact = await watcher.next_event("upload-progress")
        assert (fact["type"], fact["status"], fact["entityType"]) == ("status", "paused", "file")
        assert fact["payload"]["fact"] is True
        await phone.ask("upload-resume", {"sessionId": session_id, "fileId": "f1"})
        assert (await watcher.next_event("upload-progress"))["status"] == "uploading"
        body.feed(b"efghij")
        body.end()
        done = await watcher.next_event("upload-completed")
        assert (done["type"], done["level"]) == ("notification", "success")
        refused = await phone.ask("upload-pause", {"sessionId": session_id, "fileId": "f1"})
        assert (refused["code"], refused["name"]) == (3002, "UPLOAD_ALREADY_COMPLETED")
        assert phone.events() == [], "commands do not subscribe"


async def test_cancel_is_a_status(autojump_clock: MockClock) -> None:
    rig, endpoint = await make()
    session_id = await rig.one_file(10)
    async with connected(endpoint) as client:
        await subscribed(client, f"session:{session_id}")
        await client.ask("upload-cancel", {"sessionId": session_id, "reason": "never mind"})
        push = client.events()[0] if client.events() else await client.next("status")
        await settle()
        cancelled = client.events()[0]
    assert push["type"] == "status"
    assert cancelled["data"]["status"] == "cancelled"
    assert cancelled["data"]["payload"]["reason"] == "never mind"


async def test_requested_progress_goes_to_the_asker_alone(autojump_clock: MockClock) -> None:
    rig, endpoint = await make()
    session_id = await rig.one_file(10)
    async with connected(endpoint) as asker, connected(endpoint) as other:
        await subscribed(other, f"session:{session_id}")
        ack = await asker.ask(
            "upload-progress", {"sessionId": session_id, "fileId": "f1", "requestUpdate": True}
        )
        push = await asker.next("data")
        await settle()
        assert other.events() == []
    assert ack["progress"]["totalBytes"] == 10
    assert push["data"]["topic"] == f"session:{session_id}"
    assert push["data"]["payload"] == ack["progress"]


async def test_requested_progress_does_not_overtake_the_facts_that_wait(autojump_clock: MockClock) -> None:
    """Who breaks off comes back with the greatest sequence it has seen."""
    rig, endpoint = await make()
    session_id = await rig.one_file(10)
    async with connected(endpoint, handle=Handle()) as slow:
        await subscribed(slow, f"session:{session_id}")
        await settle()
        slow.reading = trio.Event()
        for _ in range(10):
            await rig.command("upload-pause", session_id)
            await rig.command("upload-resume", session_id)
        asked = {"sessionId": session_id, "fileId": "f1", "requestUpdate": True}
        slow.say_nowait("upload-progress", asked)
        await settle()
        slow.reading.set()
        push = await slow.next("data")
        assert push["sequence"] == push["data"]["payload"]["seq"]
        facts = [event["sequence"] for event in slow.events() if event is not push]
        assert push["sequence"] <= max(facts, default=0) < 20


async def test_a_repeated_command_is_answered_again_and_not_run_again(autojump_clock: MockClock) -> None:
    rig, endpoint = await make()
    session_id = await rig.one_file(10)
    pause = {"type": "upload-pause", "data": {"sessionId": session_id, "fileId": "f1"}, "messageId": "once"}
    text = msgspec.json.encode(pause).decode()
    answers = []
    for query in ("clientId=phone", "clientId=phone", "clientId=desktop"):
        async with connected(endpoint, scope_for(query)) as client:
            client.raw_nowait(text)
            answers.append((await client.next("ack"))["data"])
            status = rig.file(session_id).row.state.value
            assert status == ("pending" if len(answers) == 2 else "paused")
            await rig.command("upload-resume", session_id)
    assert answers[0] == answers[1]
    assert answers[0]["status"] == "paused"


async def test_commands_run_in_the_order_they_came(autojump_clock: MockClock) -> None:
    rig, endpoint = await make()
    session_id = await rig.one_file(10)
    async with connected(endpoint) as client:
        await subscribed(client, f"session:{session_id}")
        kinds = ["upload-pause", "upload-resume"] * 20
        ids = [client.say_nowait(kind, {"sessionId": session_id}) for kind in kinds]
        await settle()
    acks = [said["data"]["messageId"] for _, said in client.arrived if said["type"] == "ack"][1:]
    assert acks == ids
    statuses = [said["data"]["status"] for said in client.events()]
    assert statuses == ["paused", "uploading"] * 20


async def test_a_command_that_takes_long_holds_up_neither_heartbeats_nor_other_connections(
    autojump_clock: MockClock,
) -> None:
    rig, endpoint = await make()
    session_id = await rig.one_file(10)
    other_session = await rig.one_file(10)
    async with connected(endpoint) as client, connected(endpoint) as other:
        rig.store.gate = trio.Event()
        client.say_nowait("upload-pause", {"sessionId": session_id})
        client.say_nowait("heartbeat")
        assert (await client.next())["type"] == "heartbeat"
        assert (await other.ask("join-session", other_session))["ok"] is True
        rig.store.gate.set()
        assert (await client.next())["type"] == "ack"


async def test_requests_that_wait_for_the_disk_are_bounded_and_cost_no_heartbeat(
    autojump_clock: MockClock,
) -> None:
    rig, endpoint = await make()
    session_id = await rig.one_file(10)
    handle = Handle(answers=False)
    async with connected(endpoint, handle=handle) as client:
        rig.store.gate = trio.Event()
        ids = [client.say_nowait("upload-pause", {"sessionId": session_id}) for _ in range(30)]
        await trio.sleep(100)  # a disk this slow is no fault of the client, whom nobody reads
        assert client.unread == 30 - MAX_REQUESTS - 1
        assert not client.ended.is_set()
        rig.store.gate.set()
        await settle()
        assert [said["data"]["messageId"] for _, said in client.arrived if said["type"] == "ack"] == ids


async def test_what_was_asked_before_hanging_up_is_done(autojump_clock: MockClock) -> None:
    rig, endpoint = await make()
    session_id = await rig.one_file(10)
    async with connected(endpoint) as client:
        client.say_nowait("upload-pause", {"sessionId": session_id, "fileId": "f1"})
        client.say_nowait("upload-cancel", {"sessionId": session_id, "fileId": "f1"})
    assert rig.file(session_id).row.state.value == "cancelled"
    assert endpoint.ended == {"peer_closed": 1}


async def test_trouble_with_the_store_is_answered_and_the_connection_lives(autojump_clock: MockClock) -> None:
    rig, endpoint = await make()
    session_id = await rig.one_file(10)
    async with connected(endpoint) as client:
        rig.store.fault = StoreError("disk on fire")
        error = await client.ask("upload-pause", {"sessionId": session_id})
        assert (error["code"], error["name"]) == (3002, "SERVER_ERROR")
        assert "fire" not in error["message"]
        rig.store.fault = None
        assert (await client.ask("upload-pause", {"sessionId": session_id}))["ok"] is True


# Watch keys


async def test_a_watch_key_shows_all_but_the_session_id(autojump_clock: MockClock) -> None:
    rig, endpoint = await make()
    created = await rig.session(
        {"fileName": "a.bin", "fileId": "f1", "fileSize": 10}, metadata={"secret": "plans"}
    )
    session_id, key = created["sessionId"], created["watchKey"]
    body = FedBody(length=10)
    async with connected(endpoint) as watcher, connected(endpoint) as writer, trio.open_nursery() as nursery:
        ack = await subscribed(watcher, f"session:{key}")
        await subscribed(watcher, f"file:{key}/f1")
        await watcher.ask("join-session", key)
        await subscribed(writer, f"session:{session_id}")
        for name in ("upload-pause", "upload-resume", "upload-cancel"):
            refused = await watcher.ask(name, {"sessionId": key})
            assert (refused["code"], refused["name"]) == (3001, "INSUFFICIENT_PERMISSIONS")
        refused = await watcher.ask(
            "upload-progress", {"sessionId": key, "fileId": "f1", "requestUpdate": True}
        )
        assert refused["name"] == "INSUFFICIENT_PERMISSIONS"
        nursery.start_soon(rig.put, session_id, body)
        body.feed(b"abcd")
        await watcher.next_event("upload-progress")
        await writer.ask("upload-pause", {"sessionId": session_id})
        await writer.ask("upload-resume", {"sessionId": session_id})
        body.feed(b"efghij")
        body.end()
        await watcher.next_event("session-completed")
        await settle()
        await watcher.ask("unsubscribe", {"topic": f"session:{key}"})
        await subscribed(watcher, f"session:{key}", since={"epoch": ack["epoch"], "seq": 0})
        await settle()
    assert ack["snapshot"]["sessionId"] == key
    everything = "".join(watcher.frames)
    for secret in (session_id, session_id[:8], "uploadUrl", "tusUrl", "plans", "metadata"):
        assert secret not in everything
    assert all(said["data"]["payload"]["sessionId"] == key for said in watcher.events())
    assert all(key in said["data"]["topic"] for said in watcher.events())
    assert session_id in "".join(writer.frames)
    assert len([n for n in watcher.names() if n == "session-completed"]) == 3  # two topics, one of them twice


# Languages


@pytest.mark.parametrize("scope", [scope_for("lang=zh"), scope_for(language="zh-CN,zh;q=0.9")])
async def test_chinese(autojump_clock: MockClock, scope: Any) -> None:
    rig, endpoint = await make()
    session_id = await rig.one_file(4)
    async with connected(endpoint, scope) as client, connected(endpoint) as english:
        await subscribed(client, f"session:{session_id}")
        await subscribed(english, f"session:{session_id}")
        await rig.put(session_id, whole_body(b"abcd"))
        await settle()
    assert client.events()[-1]["data"]["payload"]["message"] == "所有文件上传完成"
    assert client.events()[-2]["data"]["content"] == "成功上传 1/1 个文件"
    assert english.events()[-2]["data"]["content"] == "1 of 1 files uploaded"


# Endings


async def test_drain_tells_everybody_and_closes(autojump_clock: MockClock) -> None:
    rig, endpoint = await make()
    session_id = await rig.one_file(4)
    async with connected(endpoint) as watcher, connected(endpoint) as idle:
        await subscribed(watcher, f"session:{session_id}")
        await watcher.next("status")
        await rig.gateway.drain()
        for client in (watcher, idle):
            status = await client.next("status")
            assert status["data"]["payload"]["status"] == "reconnecting"
            assert (await client.next("disconnect"))["data"]["reconnect"] is True
            assert await client.closed() == 4001
    assert endpoint.ended == {"draining": 2}
    assert rig.gateway.drain_wakeups == set()
    async with opened(endpoint) as late:
        assert await late.closed() == 4001


async def test_a_session_that_times_out_ends_the_connection_that_has_nothing_else(
    autojump_clock: MockClock,
) -> None:
    rig, endpoint = await make()
    session_id = await rig.one_file(4)
    async with (
        connected(endpoint, handle=Handle()) as client,
        connected(endpoint, handle=Handle()) as other,
    ):
        await subscribed(client, f"session:{session_id}")
        await subscribed(other, f"session:{session_id}")
        await trio.sleep(rig.settings.session_timeout_s + 1)
        second = await rig.one_file(4)
        await subscribed(other, f"session:{second}")
        await rig.gateway.janitor.round()
        last = await client.next_event()
        assert (last["type"], last["event"]) == ("notification", "session-error")
        assert last["payload"]["error"]["code"] == "SESSION_TIMEOUT"
        assert last["title"] == "Session timed out"
        assert await client.closed() == 4004
        assert (await other.next_event())["event"] == "session-error"
        await settle()
        assert not other.ended.is_set()
        await rig.put(second, whole_body(b"abcd"))
        assert (await other.next_event())["topic"] == f"session:{second}"
        back = await subscribed(other, f"session:{session_id}", since={"epoch": rig.store.epoch, "seq": 0})
        assert back["recovered"] is True
    assert endpoint.ended == {"session_timeout": 1, "peer_closed": 1}


async def test_a_watcher_that_does_not_read_is_gone(autojump_clock: MockClock) -> None:
    rig, endpoint = await make()
    session_id = await rig.one_file(4)
    async with connected(endpoint) as slow, connected(endpoint, handle=Handle()) as control:
        await subscribed(slow, f"session:{session_id}")
        await subscribed(control, f"session:{session_id}")
        await settle()
        slow.reading = trio.Event()
        start = trio.current_time()
        await rig.put(session_id, whole_body(b"abcd"))
        assert trio.current_time() == start, "the upload does not wait for it"
        await control.next_event("session-completed")
        with trio.fail_after(100):
            await slow.ended.wait()
        assert trio.current_time() == start + rig.settings.send_timeout_s
        assert slow.close_code is None
        assert rig.gateway.statistics().watches == 1
    assert endpoint.ended["slow_consumer"] == 1


async def test_a_watcher_behind_all_that_is_kept_is_closed_with_4002(autojump_clock: MockClock) -> None:
    rig, endpoint = await make(ring_facts=2)
    rig.store._kept_facts = 5
    session_id = await rig.one_file(4)
    async with connected(endpoint, handle=Handle()) as slow:
        await subscribed(slow, f"session:{session_id}")
        await settle()
        slow.reading = trio.Event()
        for _ in range(10):
            await rig.command("upload-pause", session_id)
            await rig.command("upload-resume", session_id)
        slow.reading.set()
        assert await slow.closed() == 4002
        assert (await slow.next("disconnect"))["data"]["reconnect"] is True
    assert endpoint.ended == {"slow_consumer": 1}


async def test_an_exception_of_ours_ends_one_socket_with_1011(autojump_clock: MockClock) -> None:
    rig, endpoint = await make()
    session_id = await rig.one_file(4)
    async with connected(endpoint) as broken, connected(endpoint) as control:
        await subscribed(broken, f"session:{session_id}")
        await subscribed(control, f"session:{session_id}")
        await settle()

        async def pull() -> None:
            raise ZeroDivisionError

        (watch,) = [w for w in rig.live(session_id).watches if w._wakeup in rig.gateway.drain_wakeups][:1]
        watch.pull = pull  # type: ignore[method-assign]  # a bug, made to order
        await rig.command("upload-pause", session_id)
        await settle()
        ended = [client for client in (broken, control) if client.ended.is_set()]
        assert [client.close_code for client in ended] == [1011]
        (living,) = [client for client in (broken, control) if client not in ended]
        assert (await living.ask("leave-session", session_id))["ok"] is True
    assert endpoint.ended == {"failed": 1, "peer_closed": 1}


async def test_a_peer_that_vanishes_leaves_nothing_behind(autojump_clock: MockClock) -> None:
    rig, endpoint = await make()
    session_id = await rig.one_file(4)
    async with connected(endpoint) as client:
        await subscribed(client, f"session:{session_id}")
        client.ended.set()  # from now on sends fail
        await rig.command("upload-pause", session_id)
        await settle()
        assert rig.gateway.statistics().watches == 0
        assert endpoint.ended == {"peer_gone": 1}


async def test_cancelled_from_outside_it_leaves_its_topics(autojump_clock: MockClock) -> None:
    rig, endpoint = await make()
    session_id = await rig.one_file(4)
    client = Client()
    client._to_app.send_nowait({"type": "websocket.connect"})
    async with trio.open_nursery() as nursery:
        nursery.start_soon(endpoint, scope_for(), client.app_receives, client.app_sends)
        await subscribed(client, f"session:{session_id}")
        nursery.cancel_scope.cancel()
    assert rig.gateway.statistics().watches == 0
    assert endpoint.ended == {"cancelled": 1}


async def test_an_idle_connection_costs_two_tasks(autojump_clock: MockClock) -> None:
    rig, endpoint = await make()
    session_id = await rig.one_file(4)
    async with AsyncExitStack() as stack:
        await settle()
        before = trio.lowlevel.current_statistics().tasks_living
        for _ in range(10):
            client = await stack.enter_async_context(connected(endpoint))
            await subscribed(client, f"session:{session_id}")
        await settle()
        assert trio.lowlevel.current_statistics().tasks_living == before + 2 * 10
