"""The edge as a whole: containment, limits, stopping, and a control that lives through every hostile case."""

from __future__ import annotations

import os
import random
import resource
from collections.abc import Awaitable, Callable

import pytest
import structlog.testing
import trio

from penstock.server.edge.addresses import SharedAddresses
from penstock.server.edge.asgi import Receive, Scope, Send
from penstock.server.edge.host import Edge
from penstock.server.settings import Settings
from tests.server.edge.harness import Raw, connected, echo, reply, serving, until
from tests.server.edge.test_websocket import CLOSE, PING, PONG, TEXT, UPGRADE, frame, opened, read_frame

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


async def mixed(scope: Scope, receive: Receive, send: Send) -> None:
    """Echoes bodies and messages; pushes for ever at /push; fails at /fail."""
    if scope["path"] == "/fail":
        raise ExceptionGroup("several", [ValueError(), ExceptionGroup("inner", [KeyError()])])
    if scope["path"] == "/push":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while True:
            await send({"type": "http.response.body", "body": bytes(65536), "more_body": True})
    if scope["type"] == "http":
        return await echo(scope, receive, send)
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({**message, "type": "websocket.send"})
    return None


Hostile = Callable[[Raw], Awaitable[None]]


async def upgrade_and_a_stray_byte(client: Raw) -> None:
    await client.send(UPGRADE + b"\r\n\xff")  # hypercorn issue 225: these bytes end its whole process


async def upgrade_and_a_stray_byte_later(client: Raw) -> None:
    await client.send(UPGRADE + b"\r\n")
    await client.until(b"\r\n\r\n")
    await client.send(b"\xff")


async def upgrade_and_plain_http(client: Raw) -> None:
    await client.send(UPGRADE + b"\r\n" + GET)


async def fuzzed_heads(client: Raw) -> None:
    chance = random.Random(20_260)  # seeded: the same heads every time
    head = bytearray(b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nUpgrade: websocket\r\n\r\nabc")
    for _ in range(150):
        head[chance.randrange(len(head))] = chance.randrange(256)
        stream = await trio.open_tcp_stream(*client.socket.getpeername()[:2])
        await stream.send_all(head[: chance.randrange(1, len(head) + 1)])
        await trio.aclose_forcefully(stream)


async def random_bytes(client: Raw) -> None:
    await client.send(random.Random(7).randbytes(100_000))


async def reset_in_mid_head(client: Raw) -> None:
    await client.send(b"GET / HT")
    await client.reset()


async def stops_reading(client: Raw) -> None:
    await client.send(b"GET /push HTTP/1.1\r\nHost: x\r\n\r\n")
    await trio.sleep(0.3)  # longer than the send timeout


async def failing_application(client: Raw) -> None:
    await client.send(b"GET /fail HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (await client.answer())[0] == 500


async def tls_hello(client: Raw) -> None:
    await client.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + os.urandom(64))


HOSTILE: list[Hostile] = [
    upgrade_and_a_stray_byte,
    upgrade_and_a_stray_byte_later,
    upgrade_and_plain_http,
    fuzzed_heads,
    random_bytes,
    reset_in_mid_head,
    stops_reading,
    failing_application,
    tls_hello,
]


async def test_controls_live_through_every_hostile_client() -> None:
    async with (
        serving(mixed, send_timeout_s=0.2, head_timeout_s=5) as edge,
        connected(edge) as control,
        opened(edge) as watcher,
    ):
        for attack in HOSTILE:
            async with connected(edge) as client:
                await attack(client)
            name = attack.__name__.encode()
            await control.send(b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(name) + name)
            assert (await control.answer())[::2] == (200, name)
            await watcher.send(frame(TEXT, name) + frame(PING, name))
            assert await read_frame(watcher) == (TEXT, name)
            assert await read_frame(watcher) == (PONG, name)
        await until(lambda: edge.statistics()["connections"] == 2)
        ended = edge.statistics()["ended"]
        assert "edge error" not in ended
        assert ended["peer too slow"] == 1


async def test_a_failure_below_the_drivers_is_contained() -> None:
    class Odd(Exception):
        pass

    class Failing(Edge):
        async def _drive(self, connection: object, stream: object) -> None:
            async with trio.open_nursery() as nursery:  # a group, as nurseries raise them
                nursery.start_soon(fail)

    async def fail() -> None:
        raise Odd

    edge = Failing(echo, Settings(port=0))
    async with trio.open_nursery() as nursery:
        await nursery.start(lambda task_status: edge.serve(task_status=task_status))
        async with connected(edge) as client:
            assert await client.rest() == b""
        await until(lambda: edge.statistics()["ended"] == {"edge error": 1})
        nursery.cancel_scope.cancel()


async def test_serve_says_where_and_raises_the_descriptor_limit() -> None:
    edge = Edge(echo, Settings(port=0))
    async with trio.open_nursery() as nursery:
        urls = await nursery.start(lambda task_status: edge.serve(task_status=task_status))
        assert urls == [f"http://127.0.0.1:{edge.addresses[0][1]}"]
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        assert soft == hard
        nursery.cancel_scope.cancel()


# hypercorn drops the socket it could not bind; the process is about to end anyway.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_a_taken_port_is_an_error() -> None:
    async with serving(echo) as edge:
        second = Edge(echo, Settings(port=edge.addresses[0][1]))
        with pytest.raises(OSError, match="in use"):
            await second.serve()


async def test_too_many_connections() -> None:
    async with serving(echo, max_connections=2) as edge:
        async with connected(edge) as one, connected(edge) as two, connected(edge) as three:
            for client in (one, two):
                await client.send(GET)
                assert (await client.answer())[0] == 200
            status, headers, body = await three.answer()
            assert (status, headers[b"retry-after"]) == (503, b"5")
            assert b"SERVER_BUSY" in body
            assert await three.rest() == b""
        await until(lambda: edge.statistics()["connections"] == 0)
        assert edge.statistics()["ended"]["connection limit"] == 1
        async with connected(edge) as client:
            await client.send(GET)
            assert (await client.answer())[0] == 200


async def test_the_limit_per_address_is_not_for_loopback() -> None:
    async with serving(echo, max_connections_per_address=1) as edge:
        async with connected(edge) as one, connected(edge) as two:
            for client in (one, two):
                await client.send(GET)
                assert (await client.answer())[0] == 200


@pytest.mark.parametrize(
    ("host", "shares"),
    [
        ("127.0.0.1", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("10.1.2.3", True),  # a trusted proxy
        ("::ffff:10.1.2.3", True),
        ("192.0.2.1", False),
        ("fe80::1%eth0", False),
    ],
)
def test_who_may_share_an_address(host: str, shares: bool) -> None:
    is_shared = SharedAddresses(Settings(trusted_proxies=("10.1.0.0/16",)))
    assert is_shared(host) is shares


async def test_stop_accepting_lets_work_finish() -> None:
    async with serving(echo) as edge, connected(edge) as client:
        await client.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nab")
        await until(lambda: edge.statistics()["bytes_read"])
        edge.stop_accepting()
        await until_refused(edge)
        await client.send(b"cd")
        assert (await client.answer())[::2] == (200, b"abcd")


async def until_refused(edge: Edge) -> None:
    for _ in range(1000):
        try:
            stream = await trio.open_tcp_stream(*edge.addresses[0])
        except OSError:
            return
        await stream.aclose()
    raise AssertionError("still accepting")


async def test_close_connections_in_batches() -> None:
    async with serving(mixed) as edge, trio.open_nursery() as nursery:
        order: list[int] = []

        async def watcher(number: int) -> None:
            async with opened(edge) as client:
                ready.append(number)
                opcode, payload = await read_frame(client)
                assert (opcode, int.from_bytes(payload[:2], "big")) == (CLOSE, 1001)
                order.append(number)

        ready: list[int] = []
        for number in range(10):
            nursery.start_soon(watcher, number)
        await until(lambda: len(ready) == 10)
        edge.stop_accepting()
        await edge.close_connections(batch=3, pause_s=0.001)
        assert edge.statistics()["connections"] == 0
        assert edge.statistics()["ended"] == {"drained": 10}
        await until(lambda: len(order) == 10)


async def test_close_connections_ends_idle_and_busy_ones() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await trio.sleep_forever()

    async with serving(app) as edge, connected(edge) as idle, connected(edge) as busy:
        await busy.send(GET)
        await until(lambda: edge.statistics()["bytes_read"])
        await edge.close_connections()
        assert (await idle.rest(), await busy.rest()) == (b"", b"")


async def test_cancelling_a_failing_connection_lets_nothing_out() -> None:
    """An error beside a cancellation arrives as one group: the error must not outlive the connection."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise ValueError  # exactly what a careless handler does

    async with serving(app) as edge, connected(edge) as client:
        await client.send(GET)
        await until(lambda: edge.statistics()["bytes_read"])
    # leaving the block cancelled the edge; an exception would have come out of it


async def test_one_log_line_per_connection_and_no_query_in_any() -> None:
    with structlog.testing.capture_logs() as lines:
        async with serving(mixed) as edge:
            async with connected(edge) as client:
                await client.send(b"GET /fail?token=secret HTTP/1.1\r\nHost: x\r\n\r\n")
                assert (await client.answer())[0] == 500
            await until(lambda: edge.statistics()["connections"] == 0)
    assert [line["event"] for line in lines] == ["handler-failed", "connection-ended"]
    assert lines[0]["path"] == "/fail"
    assert (lines[1]["reason"], lines[1]["kind"], lines[1]["requests"]) == ("handler error", "http/1.1", 1)
    assert "secret" not in str([{**line, "exc_info": None} for line in lines])


async def test_statistics_by_kind() -> None:
    async with serving(mixed) as edge, connected(edge) as client, opened(edge):
        await client.send(GET)
        await client.answer()
        statistics = edge.statistics()
        assert statistics["by_kind"] == {"http/1.1": 1, "websocket": 1}
        assert (statistics["connections"], statistics["accepted"]) == (2, 2)


async def test_quart_runs_without_lifespan_events() -> None:
    from quart_trio import QuartTrio

    app = QuartTrio(__name__)

    @app.route("/hello")
    async def hello() -> str:
        return "from quart"

    async with serving(app) as edge, connected(edge) as client:  # type: ignore[arg-type]  # its own scope types
        await client.send(b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\nGET /hello HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await client.answer())[::2] == (200, b"from quart")
        assert (await client.answer())[::2] == (200, b"from quart")


async def test_a_client_that_only_connects_costs_nothing_for_long() -> None:
    async with serving(reply_ok, head_timeout_s=0.05) as edge:
        async with connected(edge), connected(edge), connected(edge):
            await until(lambda: edge.statistics()["ended"] == {"head timeout": 3})


async def reply_ok(scope: Scope, receive: Receive, send: Send) -> None:
    await reply(send)
