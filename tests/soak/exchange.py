"""One request and its answer, over HTTP/1.1 or HTTP/2, on a line that may end at any moment."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from contextlib import suppress

import h11
import trio
from h2.errors import ErrorCodes
from h2.exceptions import ProtocolError

from tests.conformance.wire import Answer
from tests.server.edge.h2_client import H2Client
from tests.soak.bodies import HONEST, NOTHING, Body, Manner, Sin, Step, script

NO_LINGER = struct.pack("ii", 1, 0)

Fields = list[tuple[str, str]]
Hear = Callable[[Answer], None]  # called with interim answers


async def ask(
    stream: trio.SocketStream,
    authority: str,
    method: str,
    path: str,
    fields: Fields,
    body: Body = NOTHING,
    manner: Manner = HONEST,
    hear: Hear = lambda answer: None,
    *,
    silence_s: float,
    http2: bool = False,
) -> Answer | None:
    """The answer to one request on a fresh connection; None if it never came. `silence_s` after the last byte
    that could be sent the server is taken for dead."""
    patience = trio.CancelScope(deadline=trio.current_time() + silence_s)

    def steps() -> Iterator[Step]:
        for step in script(body, manner):
            wait_s = step if isinstance(step, float) else 0.0
            patience.deadline = trio.current_time() + silence_s + wait_s
            yield step

    if method not in ("GET", "HEAD"):
        fields = [*fields, ("Content-Length", str(body.length))]
    talk = _over_http2 if http2 else _over_http1
    with patience:
        async with stream:
            return await talk(stream, authority, method, path, fields, steps(), hear)
    return None


# HTTP/1.1


async def _over_http1(
    stream: trio.SocketStream,
    authority: str,
    method: str,
    path: str,
    fields: Fields,
    steps: Iterator[Step],
    hear: Hear,
) -> Answer | None:
    lines = [f"{method} {path} HTTP/1.1", f"Host: {authority}", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in fields]
    answer = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_send, stream, "\r\n".join([*lines, "", ""]).encode(), steps)
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError, h11.RemoteProtocolError):
            answer = await _receive(stream, method, hear)
        nursery.cancel_scope.cancel(reason="answered, or never to be")
    return answer


async def _send(stream: trio.SocketStream, head: bytes, steps: Iterator[Step]) -> None:
    with suppress(trio.BrokenResourceError, trio.ClosedResourceError):  # the answer tells more
        await stream.send_all(head)
        for step in steps:
            match step:
                case bytes():
                    await stream.send_all(step)
                case float():
                    await trio.sleep(step)
                case Sin.HALF_CLOSE:
                    await stream.send_eof()
                case Sin.RESET | Sin.CLOSE:
                    if step is Sin.RESET:
                        stream.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_LINGER, NO_LINGER)
                    await stream.aclose()


async def _receive(stream: trio.SocketStream, method: str, hear: Hear) -> Answer | None:
    parser = h11.Connection(h11.CLIENT, max_incomplete_event_size=256 * 1024)
    parser.send(h11.Request(method=method, target="/", headers=[("host", "x")]))
    parser.send(h11.EndOfMessage())
    answer = None
    received = bytearray()
    while True:
        await trio.lowlevel.checkpoint()
        match parser.next_event():
            case h11.NEED_DATA:
                parser.receive_data(bytes(await stream.receive_some(64 * 1024)))
            case h11.InformationalResponse() as interim:
                hear(_answer(interim))
            case h11.Response() as response:
                answer = _answer(response)
            case h11.Data() as data:
                received += data.data
            case h11.EndOfMessage() if answer is not None:
                answer.body = bytes(received)
                return answer
            case _:
                return None


def _answer(event: h11.Response | h11.InformationalResponse) -> Answer:
    fields = [(bytes(name).decode(), bytes(value).decode("latin-1")) for name, value in event.headers]
    return Answer(event.status_code, bytes(event.reason).decode("latin-1"), fields)


# HTTP/2


async def _over_http2(
    stream: trio.SocketStream,
    authority: str,
    method: str,
    path: str,
    fields: Fields,
    steps: Iterator[Step],
    hear: Hear,
) -> Answer | None:
    client = H2Client(stream)
    client.machine.initiate_connection()
    head = [(":method", method), (":scheme", "http"), (":authority", authority), (":path", path), *fields]
    lines = [(name.lower().encode(), value.encode()) for name, value in head]
    stream_id = client.open(lines, end=method in ("GET", "HEAD"))
    with suppress(trio.BrokenResourceError, trio.ClosedResourceError, ProtocolError):
        await client.flush()
        if method not in ("GET", "HEAD"):
            await _send_frames(client, stream_id, steps)
        while not _is_over(client, stream_id):
            await client.pump()
    got = client.answers[stream_id]
    if not got.ended or not got.status:
        return None
    answer = Answer(
        got.status, "", [(name.decode(), value.decode("latin-1")) for name, value in got.headers.items()]
    )
    answer.body = got.body
    return answer


async def _send_frames(client: H2Client, stream_id: int, steps: Iterator[Step]) -> None:
    for step in steps:
        if _is_over(client, stream_id):
            return
        match step:
            case bytes():
                await _send_data(client, stream_id, memoryview(step))
            case float():
                with trio.move_on_after(step):  # windows, pings and early answers are taken meanwhile
                    while not _is_over(client, stream_id):
                        await client.pump()
            case Sin.CLOSE:
                await client.stream.aclose()
                return
            case _:
                client.machine.reset_stream(stream_id, ErrorCodes.CANCEL)
                await client.flush()
                client.eof = True
                return
    if not _is_over(client, stream_id):
        client.machine.end_stream(stream_id)
        await client.flush()


async def _send_data(client: H2Client, stream_id: int, rest: memoryview) -> None:
    """Within the windows. Stops early where `H2Client.send_body` would fail."""
    while rest and not _is_over(client, stream_id):
        size = min(len(rest), client.machine.local_flow_control_window(stream_id), 16384)
        if size <= 0:
            await client.pump()
            continue
        client.machine.send_data(stream_id, rest[:size])
        rest = rest[size:]
        await client.flush()


def _is_over(client: H2Client, stream_id: int) -> bool:
    return client.eof or client.answers[stream_id].ended
