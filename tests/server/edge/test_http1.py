"""The HTTP/1.1 driver over real sockets: heads, deadlines, early answers, 1xx, ends of connections."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from penstock.server.edge.asgi import INFORMATIONAL, Message, Receive, Scope, Send
from penstock.server.peer import PeerGone
from tests.server.edge.harness import Raw, connected, echo, read_body, reply, serving, until

EMPTY_SETTINGS = b"\0\0\0\x04\0\0\0\0\0"
GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


async def silent(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers nothing at all."""


async def early(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers without a look at the body."""
    await reply(send, 413, b"too large")


async def test_answers_and_keeps_the_connection() -> None:
    async with serving(echo) as edge, connected(edge) as client:
        for body in (b"one", b"", b"three"):
            await client.send(b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            status, headers, got = await client.answer()
            assert (status, got) == (200, body)
            assert b"date" in headers
            assert headers[b"server"] == b"penstock"
            assert b"connection" not in headers
        assert edge.statistics()["accepted"] == 1


async def test_scope_says_what_was_asked() -> None:
    seen: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope)
        await reply(send)

    async with serving(app) as edge, connected(edge) as client:
        await client.send(b"GET /a%20b/%C3%A9?q=1 HTTP/1.1\r\nHost: h\r\nX-Y: z\r\n\r\n")
        await client.answer()
        client_address = client.socket.getsockname()
    (scope,) = seen
    assert (scope["method"], scope["path"], scope["raw_path"]) == ("GET", "/a b/é", b"/a%20b/%C3%A9")
    assert scope["query_string"] == b"q=1"
    assert (scope["http_version"], scope["scheme"]) == ("1.1", "http")
    assert scope["headers"] == [(b"host", b"h"), (b"x-y", b"z")]
    assert (scope["client"], scope["server"]) == (client_address, edge.addresses[0])


async def test_absolute_form_wins_over_host() -> None:
    seen: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope)
        await reply(send)

    async with serving(app) as edge, connected(edge) as client:
        await client.send(b"GET http://real:1/p?q HTTP/1.1\r\nHost: fake\r\n\r\n")
        await client.answer()
    assert (seen[0]["raw_path"], seen[0]["query_string"]) == (b"/p", b"q")
    assert seen[0]["headers"] == [(b"host", b"real:1")]


async def test_chunked_body() -> None:
    async with serving(echo) as edge, connected(edge) as client:
        await client.send(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
        await client.send(b"2\r\nde\r\n0\r\n\r\n" + GET)
        assert (await client.answer())[2] == b"abcde"
        assert (await client.answer())[0] == 200


async def test_head_and_204_have_no_body() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await reply(send, 204 if scope["path"] == "/204" else 200, b"body")

    async with serving(app) as edge, connected(edge) as client:
        await client.send(b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\nGET /204 HTTP/1.1\r\nHost: x\r\n\r\n" + GET)
        status, headers, body = await client.answer(b"HEAD")
        assert (status, headers[b"content-length"], body) == (200, b"4", b"")
        status, headers, body = await client.answer()
        assert (status, body) == (204, b"")
        assert b"content-length" not in headers
        assert (await client.answer())[2] == b"body"


async def test_http_1_0_is_answered_and_closed() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": INFORMATIONAL, "status": 104, "headers": []})
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"all", "more_body": True})
        await send({"type": "http.response.body", "body": b" of it"})

    async with serving(app) as edge, connected(edge) as client:
        await client.send(b"GET / HTTP/1.0\r\n\r\n")
        answer = await client.rest()
    assert b"104" not in answer
    assert b"chunked" not in answer
    assert answer.endswith(b"\r\n\r\nall of it")


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),  # no Host
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nBad Name: b\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 2\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
        (b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", 501),
        (b"GET http://] HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 200_000 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 66_000 + b"\r\n\r\n", 431),
    ],
)
async def test_bad_heads_are_answered_and_closed(head: bytes, status: int) -> None:
    async def never(scope: Scope, receive: Receive, send: Send) -> None:
        raise AssertionError("no application may see this")

    async with serving(never) as edge, connected(edge) as client:
        await client.send(head)
        got, headers, body = await client.answer()
        assert got == status
        assert headers[b"connection"] == b"close"
        assert headers[b"content-type"] == b"application/problem+json"
        assert b'"status":%d' % status in body
        assert await client.rest() == b""


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"HEAD / HTTP/1.4\r\nHost: a\r\n\r\n", 505),
        (b"HEAD / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"HEAD / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", 400),
    ],
)
async def test_a_bad_head_request_is_answered_without_a_body(head: bytes, status: int) -> None:
    async with serving(echo) as edge, connected(edge) as client:
        await client.send(head)
        got, headers, _ = await client.answer(b"HEAD")
        assert got == status
        assert int(headers[b"content-length"]) > 0  # as GET would have it
        assert await client.rest() == b""


@pytest.mark.parametrize("first", [10_000, 50_000])
async def test_a_long_head_may_come_in_pieces(first: int) -> None:
    async with serving(echo) as edge, connected(edge) as client:
        head = b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 60_000 + b"\r\n\r\n"
        await client.send(head[:first])
        await until(lambda: edge.statistics()["bytes_read"] == first)
        await client.send(head[first:])
        assert (await client.answer())[0] == 200


async def test_h2c_upgrade_is_ignored_unless_configured() -> None:
    async with serving(echo) as edge, connected(edge) as client:
        await client.send(
            b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\n"
            b"Upgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n" + GET
        )
        assert (await client.answer())[0] == 200
        assert (await client.answer())[0] == 200


async def test_stray_line_ends_between_requests() -> None:
    async with serving(echo) as edge, connected(edge) as client:
        await client.send(b"\r\n\r\n" + GET + b"\r\n" + GET)
        assert (await client.answer())[0] == 200
        assert (await client.answer())[0] == 200


async def test_http2_takes_over_where_configured() -> None:
    async with serving(echo, h2c=True) as edge:
        async with connected(edge) as client:
            await client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + EMPTY_SETTINGS)
            assert (await client.exactly(9))[3] == 4  # the server's SETTINGS
            assert edge.statistics()["by_kind"] == {"http/2": 1}
        async with connected(edge) as client:
            await client.send(
                b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\n"
                b"Upgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n"
            )
            assert (await client.until(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
            assert (await client.exactly(9))[3] == 4


# Deadlines


async def test_a_connection_that_says_nothing_is_closed() -> None:
    async with serving(echo, head_timeout_s=0.05) as edge, connected(edge) as client:
        assert await client.rest() == b""
        await until(lambda: edge.statistics()["ended"] == {"head timeout": 1})


async def test_a_head_that_drips_is_answered_408() -> None:
    async with serving(echo, head_timeout_s=0.1, linger_s=0.05) as edge, connected(edge) as client:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_drip, client)
            status, _, _ = await client.answer()
            nursery.cancel_scope.cancel()
        assert status == 408
        await until(lambda: edge.statistics()["ended"] == {"head timeout": 1})


async def _drip(client: Raw) -> None:
    await client.send(b"GET / HTTP/1.1\r\nX: ")
    while True:
        await client.send(b"a")
        await trio.sleep(0.01)


async def test_an_idle_connection_is_closed() -> None:
    async with serving(echo, keep_alive_timeout_s=0.05) as edge, connected(edge) as client:
        await client.send(GET)
        assert (await client.answer())[0] == 200
        assert await client.rest() == b""
        await until(lambda: edge.statistics()["ended"] == {"idle": 1})


async def test_the_last_request_of_a_connection_says_so() -> None:
    async with serving(echo, keep_alive_max_requests=2) as edge, connected(edge) as client:
        await client.send(GET * 3)
        assert b"connection" not in (await client.answer())[1]
        assert (await client.answer())[1][b"connection"] == b"close"
        assert await client.rest() == b""


async def test_a_body_that_stops_is_answered_408() -> None:
    got: list[bytes] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        got.append(await read_body(receive))

    async with serving(app, body_idle_timeout_s=0.05, linger_s=0.05) as edge, connected(edge) as client:
        await client.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nfour")
        status, headers, _ = await client.answer()
        assert (status, headers[b"connection"], got) == (408, b"close", [b"four"])
        await until(lambda: "body timeout" in edge.statistics()["ended"])


# 100 Continue and other informational answers

EXPECT = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n"


async def test_100_continue_comes_when_the_body_is_asked_for() -> None:
    asked = trio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await asked.wait()
        await echo(scope, receive, send)

    async with serving(app) as edge, connected(edge) as client:
        await client.send(EXPECT)
        await until(lambda: edge.statistics()["bytes_read"] == len(EXPECT))
        assert edge.statistics()["bytes_written"] == 0
        asked.set()
        assert await client.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        await client.send(b"abc")
        assert (await client.answer())[2] == b"abc"


async def test_no_100_continue_when_the_answer_is_early() -> None:
    async with serving(early) as edge, connected(edge) as client:
        await client.send(EXPECT)
        answer = await client.rest()
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"100" not in answer.split(b"\r\n")[0]
    assert b"connection: close" in answer.lower()


async def test_informational_answers_are_forwarded() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert INFORMATIONAL in scope["extensions"]
        await send({"type": INFORMATIONAL, "status": 104, "headers": [(b"upload-offset", b"7")]})
        await echo(scope, receive, send)

    async with serving(app) as edge, connected(edge) as client:
        await client.send(GET)
        head = await client.until(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 104 ")
        assert b"upload-offset: 7" in head
        assert (await client.answer())[0] == 200


async def test_101_is_not_an_informational_answer() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        with pytest.raises(RuntimeError, match="101"):
            await send({"type": INFORMATIONAL, "status": 101, "headers": []})
        await reply(send)

    async with serving(app) as edge, connected(edge) as client:
        await client.send(GET)
        assert (await client.answer())[0] == 200


# Early answers


async def test_an_early_answer_can_be_read_by_a_client_that_still_sends() -> None:
    async with serving(early) as edge, connected(edge) as client:
        await client.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4000000\r\n\r\n")
        await client.send(b"x" * 4_000_000)  # the server lingers: it reads and drops
        status, headers, body = await client.answer()
        assert (status, headers[b"connection"], body) == (413, b"close", b"too large")
        assert await client.rest() == b""


async def test_lingering_is_bounded_in_bytes() -> None:
    async with serving(early, linger_bytes=100_000) as edge, connected(edge) as client:
        await client.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 90000000\r\n\r\n")
        await client.push()
        assert edge.statistics()["bytes_read"] < 400_000


async def test_lingering_is_bounded_in_time() -> None:
    async with serving(early, linger_s=0.05) as edge, connected(edge) as client:
        await client.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 90000000\r\n\r\n")
        await until(lambda: edge.statistics()["connections"] == 0 and edge.statistics()["accepted"])


async def test_an_unread_body_that_is_already_here_does_not_cost_the_connection() -> None:
    async with serving(early) as edge, connected(edge) as client:
        await client.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello" + GET)
        status, headers, _ = await client.answer()
        assert status == 413
        assert b"connection" not in headers
        assert (await client.answer())[0] == 413


# Applications that fail


async def test_no_answer_is_500() -> None:
    async with serving(silent) as edge, connected(edge) as client:
        await client.send(GET + GET)
        status, _, body = await client.answer()
        assert status == 500
        assert b"SERVER_ERROR" in body
        assert (await client.answer())[0] == 500


@pytest.mark.parametrize("error", [ValueError("x"), ExceptionGroup("g", [ValueError("x"), KeyError("y")])])
async def test_a_failing_application_is_500_and_ends_nothing_else(error: Exception) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/bad":
            raise error
        await reply(send)

    async with serving(app) as edge, connected(edge) as control, connected(edge) as client:
        await client.send(b"GET /bad HTTP/1.1\r\nHost: x\r\n\r\n")
        status, _, body = await client.answer()
        assert status == 500
        assert b"x" not in body.split(b'"detail":')[1].split(b",")[0].replace(b"internal error", b"")
        await control.send(GET)
        assert (await control.answer())[0] == 200


async def test_failing_after_the_head_cuts_the_connection() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"9")]})
        await send({"type": "http.response.body", "body": b"four", "more_body": True})
        raise ValueError

    async with serving(app) as edge, connected(edge) as client:
        await client.send(GET)
        assert not (await client.rest()).endswith(b"HTTP")
        await until(lambda: edge.statistics()["ended"] == {"handler error": 1})


@pytest.mark.parametrize(
    "headers",
    [
        [(b"x-name", b"split\r\nset-cookie: a")],
        [(b"content-length", b"1"), (b"content-length", b"2")],
        [(b"content-length", b"3")],  # and a body of four
    ],
)
async def test_an_answer_that_is_no_http_never_leaves(headers: list[tuple[bytes, bytes]]) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"four"})

    async with serving(app) as edge, connected(edge) as client:
        await client.send(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = await client.rest()
    assert b"set-cookie" not in answer
    assert not answer or answer.startswith(b"HTTP/1.1 500 ")


async def test_messages_out_of_order_are_errors() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        with pytest.raises(RuntimeError):
            await send({"type": "http.response.body", "body": b""})
        with pytest.raises(RuntimeError):
            await send({"type": "no.such.message"})
        await reply(send)
        with pytest.raises(RuntimeError):
            await reply(send)

    async with serving(app) as edge, connected(edge) as client:
        await client.send(GET + GET)
        assert (await client.answer())[0] == 200
        assert (await client.answer())[0] == 200
        assert not edge.statistics()["ended"]


# The peer goes


@pytest.mark.parametrize("how", ["fin", "rst"])
async def test_an_aborted_long_poll_is_noticed_at_once(how: str) -> None:
    noticed = trio.Event()
    messages: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        messages.extend([await receive(), await receive(), await receive()])
        noticed.set()

    async with serving(app) as edge, connected(edge) as client:
        await client.send(GET)
        await until(lambda: messages == [] and edge.statistics()["bytes_read"])
        if how == "fin":
            await client.finish()
        else:
            await client.reset()
        await noticed.wait()
        assert messages[0] == {"type": "http.request", "body": b"", "more_body": False}
        assert messages[1:] == [{"type": "http.disconnect"}] * 2
        await until(lambda: edge.statistics()["ended"] == {"peer gone": 1})


async def test_a_peer_gone_in_mid_body_is_a_disconnect() -> None:
    got: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        got.extend([await receive(), await receive()])

    async with serving(app) as edge:
        async with connected(edge) as client:
            await client.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nfour")
        await until(lambda: len(got) == 2)
        assert got[0]["body"] == b"four"
        assert got[1] == {"type": "http.disconnect"}
        await until(lambda: edge.statistics()["ended"] == {"peer gone": 1})


async def test_a_broken_chunk_is_a_disconnect_and_400() -> None:
    async with serving(silent_reader) as edge, connected(edge) as client:
        await client.send(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        await client.send(b"3\r\nabcXX")
        status, headers, _ = await client.answer()
        assert (status, headers[b"connection"]) == (400, b"close")


async def silent_reader(scope: Scope, receive: Receive, send: Send) -> None:
    await read_body(receive)


async def test_receive_ends_with_the_answer() -> None:
    ended = trio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        async def watch() -> None:
            assert (await receive())["type"] == "http.request"
            assert (await receive())["type"] == "http.disconnect"
            ended.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch)
            await trio.testing.wait_all_tasks_blocked()
            await reply(send)

    async with serving(app) as edge, connected(edge) as client:
        await client.send(GET)
        assert (await client.answer())[0] == 200
        await ended.wait()
        await client.send(GET)
        assert (await client.answer())[0] == 200


async def test_a_peer_that_stops_reading_is_cut_off() -> None:
    failures: list[OSError] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        try:
            while True:
                await send({"type": "http.response.body", "body": b"x" * 65536, "more_body": True})
        except OSError as error:
            failures.append(error)
            raise

    async with serving(app, send_timeout_s=0.2) as edge, connected(edge) as client:
        await client.send(GET)
        await until(lambda: edge.statistics()["ended"] == {"peer too slow": 1})
        assert edge.statistics()["bytes_written"] < 16_000_000  # what the kernel holds, not more
    assert isinstance(failures[0], PeerGone)


async def test_a_slow_reader_survives() -> None:
    body = bytes(range(256)) * 32768  # 8 MiB, more than the kernel holds

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await reply(send, body=body)

    async with serving(app, send_timeout_s=0.5) as edge, connected(edge) as client:
        await client.send(GET)
        await client.until(b"\r\n\r\n")
        got = bytearray(client.buffer)
        began = trio.current_time()
        while len(got) < len(body):
            await trio.sleep(0.01)
            got += await client.stream.receive_some(65536)
            if trio.current_time() < began + 0.5:
                assert edge.statistics()["bytes_written"] < len(body)  # it does wait for us
        assert got == body


async def test_nothing_follows_a_piece_that_was_cancelled() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"one", "more_body": True})
        with trio.CancelScope() as cancelled:
            cancelled.cancel()
            await send({"type": "http.response.body", "body": b"two", "more_body": True})
        await send({"type": "http.response.body", "body": b"three"})

    async with serving(app) as edge, connected(edge) as client:
        await client.send(GET)
        assert b"three" not in await client.rest()
        await until(lambda: edge.statistics()["ended"] == {"peer gone": 1})
