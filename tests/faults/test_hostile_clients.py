"""Clients that lie, stall, flood and vanish: each gets its error or its end, and nobody else notices."""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import trio
from wsproto.frame_protocol import CloseReason

from tests.acceptance.api import SESSIONS, Answer, Api
from tests.acceptance.content import Content
from tests.acceptance.gateway import running, until
from tests.acceptance.sizes import MIB
from tests.acceptance.watcher import PATH, connected
from tests.faults.control import control
from tests.running import PATIENCE_S
from tests.server.edge.h2_client import H2Client

pytestmark = pytest.mark.acceptance

CONTENT = Content(MIB)
SHORT_PATIENCE = (
    *("--head-timeout-s", "1", "--body-idle-timeout-s", "1", "--pause-hold-s", "1"),
    *("--send-timeout-s", "2", "--heartbeat-interval-s", "1", "--heartbeat-timeout-s", "1", "--h2c"),
)

Case = Callable[[Api], Awaitable[None]]
CASES: list[Case] = []


def case(function: Case) -> Case:
    CASES.append(function)
    return function


@pytest.mark.parametrize("option", ["--fast-path", "--no-fast-path"])
async def test_nobody_else_notices(tmp_path: Path, option: str) -> None:
    async with running(tmp_path, *SHORT_PATIENCE, option) as gateway:
        api = Api(gateway)
        async with control(api) as good:
            for misbehave in CASES:
                try:
                    with trio.fail_after(PATIENCE_S):
                        await misbehave(api)
                    await good.is_well()
                except BaseException as error:
                    error.add_note(f"in {misbehave.__name__}")
                    raise


async def raw(api: Api, data: bytes) -> bytes:
    """Send bytes; all that comes until the server closes."""
    answer = b""
    async with await api.connect() as stream:
        with suppress(trio.BrokenResourceError):
            await stream.send_all(data)
            while piece := await stream.receive_some():
                answer += piece
    return answer


async def reset(stream: trio.SocketStream) -> None:
    """Vanish: RST."""
    stream.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_LINGER, struct.pack("ii", 1, 0))
    await stream.aclose()


def refused(answer: Answer, status: int, code: str) -> None:
    problem = answer.json()
    assert (answer.status, problem["code"]) == (status, code), answer
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem["detail"]


# JSON


@case
async def json_that_is_none(api: Api) -> None:
    for body in (b"{", b"\xff\xfe", b'{"files": [}', b"[" * 100_000, b"nonsense", b'{"a":' * 50_000):
        refused(await api.call("POST", SESSIONS, body=body), 400, "INVALID_MESSAGE")


@case
async def json_of_the_wrong_shape(api: Api) -> None:
    bodies: list[Any] = [
        [],
        "files",
        {"files": 5},
        {"files": [5]},
        {"files": [{}]},
        {"files": [{"fileName": 5}]},
        {"files": [{"fileName": "a", "fileSize": "big"}]},
        {"files": [{"fileName": "a", "fileSize": -1}]},
        {"files": [{"fileName": "a", "fileSize": 2**70}]},
        {"files": [{"fileName": "a", "fileId": "../../x"}]},
        {"files": [{"fileName": "a", "fileId": "x\r\ny"}]},
        {"category": ["personal"]},
        {"category": "../personal"},
        {"metadata": {"a": {"b": "c"}}},
        {"metadata": {"a": "x" * 10_000}},
        {"nosuchfield": 1},
    ]
    for body in bodies:
        answer = await api.call("POST", SESSIONS, body)
        assert answer.status in (400, 413), (body, answer)
        assert answer.json()["detail"]


@case
async def json_that_is_too_long(api: Api) -> None:
    answer = await raw(
        api, f"POST {SESSIONS} HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999\r\n\r\n".encode()
    )
    assert b"403" in answer.split(b"\r\n")[0], "the Host is not ours"
    async with api.exchange("POST", SESSIONS, {"Content-Length": "999999999"}) as exchange:
        refused(await exchange.answer(), 413, "MESSAGE_TOO_LARGE")


# Messages


@case
async def messages_that_are_none(api: Api) -> None:
    async with connected(api) as watcher:
        for text in ("{", "[]", "5", '"x"', '{"type": 5}', '{"type": "nonsense"}', '{"type": "data"}', "\0"):
            await watcher.socket.send_message(text)
        await watcher.socket.send_message(b"binary")
        await watcher.until(lambda: len([m for m in watcher.messages if m["type"] == "error"]) == 9)
        errors = [message["data"] for message in watcher.messages if message["type"] == "error"]
        assert {error["code"] for error in errors} == {2000}
        assert all(error["message"] for error in errors)
        assert (await watcher.send("subscribe", {"topic": 5}))["data"]["name"] == "INVALID_MESSAGE"
        code, _ = await watcher.until_closed()
        assert code == 4502, "ten in a row"


@case
async def a_thousand_bad_messages_at_once(api: Api) -> None:
    async with connected(api) as watcher:
        with suppress(Exception):  # it is closed in the middle of this
            for _ in range(1000):
                await watcher.socket.send_message('{"type": "nonsense"}')
        await watcher.until_closed()


@case
async def a_flood_of_good_messages(api: Api) -> None:
    async with connected(api) as watcher:
        for _ in range(350):
            await watcher.socket.send_message('{"type": "heartbeat"}')
        error = await watcher.until(lambda: [m for m in watcher.messages if m["type"] == "error"])
        assert (error[0]["data"]["name"], error[0]["data"]["code"]) == ("RATE_LIMIT_EXCEEDED", 2002)
        assert error[0]["data"]["details"]["retryAfter"] >= 0
        assert watcher.closed is None


@case
async def a_message_of_ten_megabytes(api: Api) -> None:
    async with connected(api) as watcher:
        with suppress(Exception):
            await watcher.socket.send_message(json.dumps({"type": "heartbeat", "data": "x" * 10_000_000}))
        code, _ = await watcher.until_closed()
        assert code in (CloseReason.MESSAGE_TOO_BIG, CloseReason.ABNORMAL_CLOSURE)


UPGRADE = (
    "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


@case
async def an_upgrade_and_a_stray_byte(api: Api) -> None:
    head = UPGRADE.format(path=PATH, host=api.host).encode()
    for tail in (
        b"\x00",
        b"x",
        b"\x81\x05hello",
        b"\x83\x80\0\0\0\0",
        b"\xff" * 100,
        b"\x81\xff" + b"\xff" * 8,
    ):
        answer = await raw(api, head + tail)
        assert answer.startswith(b"HTTP/1.1 101 "), answer


@case
async def an_upgrade_that_is_none(api: Api) -> None:
    head = UPGRADE.format(path=PATH, host=api.host)
    for old, new in (
        ("Version: 13", "Version: 12"),  # not "13" alone: the port may have that
        ("AAAAAAAAAAAAAAAAAAAAAA==", "short"),
        (PATH, "/nowhere"),
        ("GET", "POST"),
    ):
        answer = await raw(
            api, head.replace(old, new, 1).replace("Upgrade\r\n", "Upgrade, close\r\n", 1).encode()
        )
        assert answer[9:10] == b"4", (new, answer)


# Names and paths

EVIL_NAMES = (
    "../../../etc/passwd",
    "..",
    "a/../../b",
    "C:\\windows\\system.ini",
    'quote".mp4"; filename="evil.exe',
    "<script>alert(1)</script>.html",
    "a\r\nSet-Cookie: stolen=1\r\n\r\n<html>",
    "nul\0byte",
    "\u202egpj.exe",
    "." * 200,
    "名" * 200 + ".mp4",
    "-rf",
    "%2e%2e%2fkey",
)


@case
async def names_that_want_out(api: Api) -> None:
    for name in EVIL_NAMES:
        answer = await api.call("POST", SESSIONS, {"files": [{"fileName": name, "fileSize": 1}]})
        if answer.status == 201:
            await check_harmless(api, answer.json()["files"][0]["uploadUrl"])
        else:
            refused(answer, 400, "INVALID_MESSAGE")
    assert {path.name for path in api.gateway.data.iterdir()} >= {"incoming", "upload", "key", "lock"}
    assert not list(api.gateway.data.parent.rglob("passwd"))


async def check_harmless(api: Api, upload_url: str) -> None:
    stored = (await api.call("PUT", upload_url, body=b"x")).json()["uploadPath"]
    path = api.gateway.published(stored)
    assert path.parent == api.gateway.data / "upload" / "personal"
    assert path.read_bytes() == b"x"
    assert len(path.name.encode()) <= 255
    answer = await api.call("GET", stored)
    assert (answer.status, answer.body) == (200, b"x")
    assert "set-cookie" not in answer.headers
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in answer.headers["content-security-policy"]
    kind = "inline" if answer.headers["content-type"] == "video/mp4" else "attachment"
    assert answer.headers["content-disposition"].startswith(kind), answer.headers


@case
async def paths_that_want_out(api: Api) -> None:
    for path in (
        "/upload/personal/../../key",
        "/upload/../key",
        "/upload/personal/..%2f..%2fkey",
        "/upload/%2e%2e/key",
        "/upload/personal/" + quote("../../state.db", safe=""),
        "/upload/personal//etc/passwd",
        "/upload/personal/%00",
        "/upload/" + "a" * 5000 + "/x",
        f"{SESSIONS}/%0d%0aSet-Cookie:x/files/y",
        f"{SESSIONS}/../../../key",
    ):
        answer = await api.call("GET", path)
        assert answer.status in (400, 404), (path, answer)
        assert "set-cookie" not in answer.headers


# Bodies


@case
async def a_body_that_is_shorter_than_it_says(api: Api) -> None:
    upload = await api.create_one(CONTENT.size)
    async with upload.putting(CONTENT) as putting:
        await putting.send(1000)
    await upload.until(lambda view: view["status"] == "failed" and view["canRetry"])
    head = await upload.head()
    assert (head.status, head.offset) == (200, 1000)
    assert (await upload.put(CONTENT, 1000)).status == 200


@case
async def a_body_that_is_longer_than_it_says(api: Api) -> None:
    upload = await api.create_one(10)
    head = f"PUT {upload.path} HTTP/1.1\r\nHost: {api.host}\r\nContent-Length: 10\r\n\r\n"
    answer = await raw(api, head.encode() + b"0123456789" + b"and more than that\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"HTTP/1.1 400 " in answer, "what follows is taken for a request, and is none"
    assert api.gateway.published((await upload.show())["uploadPath"]).read_bytes() == b"0123456789"


@case
async def a_body_that_does_not_fit_the_file(api: Api) -> None:
    upload = await api.create_one(10)
    for length in ("5", "20", "-1", "0x10", "99999999999999999999"):
        async with api.exchange("PUT", upload.path, {"Content-Length": length}) as exchange:
            answer = await exchange.answer()
            assert answer.status in (400, 413), (length, answer)
    assert (await upload.head()).offset == 0


@case
async def two_lengths_at_once(api: Api) -> None:
    upload = await api.create_one(10)
    for lines in (
        "Content-Length: 10\r\nTransfer-Encoding: chunked",
        "Content-Length: 10\r\nContent-Length: 5",
        "Transfer-Encoding: gzip, chunked",
    ):
        answer = await raw(
            api, f"PUT {upload.path} HTTP/1.1\r\nHost: {api.host}\r\n{lines}\r\n\r\n0123456789".encode()
        )
        assert answer[9:10] in (b"4", b"5"), (lines, answer)
        assert answer.count(b"HTTP/1.1 ") == 1
    assert (await upload.head()).offset == 0


@case
async def chunks_that_are_none(api: Api) -> None:
    upload = await api.create_one(CONTENT.size)
    async with api.exchange("PUT", upload.path, {"Transfer-Encoding": "chunked"}) as exchange:
        await exchange.send(b"5\r\n" + CONTENT.read(0, 5) + b"\r\n")
        await upload.until_received(5)
        await exchange.send(b"nonsense\r\n\r\n")
        refused(await exchange.answer(), 400, "INVALID_MESSAGE")
    assert (await upload.head()).offset == 5
    assert (await upload.put(CONTENT, 5)).status == 200


@case
async def a_body_that_stalls(api: Api) -> None:
    upload = await api.create_one(CONTENT.size)
    async with upload.putting(CONTENT) as putting:
        await putting.send(5000)
        refused(await putting.answer(), 408, "CONNECTION_TIMEOUT")
    assert (await upload.head()).offset == 5000
    assert (await upload.put(CONTENT, 5000)).status == 200


@case
async def a_client_that_vanishes_in_a_pause(api: Api) -> None:
    upload = await api.create_one(CONTENT.size)
    descriptors = api.gateway.descriptors()
    async with upload.putting(CONTENT) as putting:
        await putting.send(5000)
        await upload.until_received(5000)
        assert (await upload.pause()).status == 200
        stream = putting.exchange.stream
        assert isinstance(stream, trio.SocketStream)
        await reset(stream)
    assert (await upload.head()).offset == 5000
    await until(lambda: api.gateway.descriptors() <= descriptors)
    assert (await upload.resume()).status == 200
    assert (await upload.put(CONTENT, 5000)).status == 200


# Connections


@case
async def heads_that_never_end(api: Api) -> None:
    ended = 0

    async def drip() -> None:
        nonlocal ended
        async with await api.connect() as stream:
            with suppress(trio.BrokenResourceError):
                await stream.send_all(b"GET / HTTP/1.1\r\nHost: ")
                while True:
                    await stream.send_all(b"x")
                    await trio.sleep(0.1)
            ended += 1

    async with trio.open_nursery() as nursery:
        for _ in range(50):
            nursery.start_soon(drip)
    assert ended == 50


@case
async def bytes_that_mean_nothing(api: Api) -> None:
    dice = random.Random(3)
    for data in (
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + dice.randbytes(300),  # TLS
        *(dice.randbytes(dice.randrange(1, 3000)) + b"\r\n\r\n" for _ in range(20)),
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET  /  HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: " + b"y" * 200_000 + b"\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + dice.randbytes(100),
    ):
        answer = await raw(api, data)
        assert not answer.startswith(b"HTTP/1.1 2"), (data[:50], answer)


@case
async def bodies_after_an_early_answer_on_http2(api: Api) -> None:
    stream = await api.connect()
    async with stream:
        client = H2Client(stream)
        await client.start()
        for _ in range(10):
            assert (await client.ask("POST", "/nowhere", body=bytes(65536))).status == 404
        assert (await client.ask("POST", SESSIONS, body=b"{}")).status == 201, "on the same connection"


@case
async def a_thousand_that_connect_and_go(api: Api) -> None:
    for number in range(200):
        stream = await api.connect()
        if number % 2:
            await stream.send_all(b"GET / HT")
        await reset(stream)
