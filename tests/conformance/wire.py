"""HTTP/1.1 by hand: what clients send, what they should not send, and everything that comes back."""

from __future__ import annotations

import re
import struct
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import NamedTuple
from urllib.parse import urljoin, urlsplit

import h11
import trio

ANSWER_S = 10.0  # what does not answer by then is taken for dead
BODILESS = ("GET", "HEAD", "OPTIONS")

Fields = Sequence[tuple[str, str]]


class NoAnswer(AssertionError):
    """The connection ended without a complete answer."""


class Silence(AssertionError):
    """The connection goes on, and nothing comes."""


class Answer:
    """What came back, with all interim answers before it. Field names are in lower case."""

    def __init__(self, status: int, reason: str, fields: Fields) -> None:
        self.status = status
        self.reason = reason
        self.fields = [(name.lower(), value) for name, value in fields]
        self.body = b""
        self.interim: list[Answer] = []

    def __repr__(self) -> str:
        telling = [field for field in self.fields if not field[0].startswith("access-control-")]
        return f"<{self.status} {self.reason} {telling} {self.body[:200]!r}>"

    def __contains__(self, name: str) -> bool:
        return self.get(name) is not None

    def get(self, name: str) -> str | None:
        """The field's value; None if it is not there. Fails if it is there twice."""
        values = [value for field, value in self.fields if field == name.lower()]
        assert len(values) < 2, f"{name} came {len(values)} times: {self}"
        return values[0] if values else None

    def __getitem__(self, name: str) -> str:
        value = self.get(name)
        assert value is not None, f"{name} is missing: {self}"
        return value

    def words(self, name: str) -> list[str]:
        """The members of a comma-separated field, of all its lines."""
        lines = [value for field, value in self.fields if field == name.lower()]
        return [word.strip() for word in ",".join(lines).split(",") if word.strip()]

    @property
    def offset(self) -> int:
        return number(self["upload-offset"])

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300


LAST_CHUNK = b"0\r\n\r\n"


def chunk(piece: bytes) -> bytes:
    """A piece of a body in the chunked coding (RFC 9112, section 7.1)."""
    return b"%x\r\n%b\r\n" % (len(piece), piece)


def number(text: str) -> int:
    """A plain decimal integer, as both protocols want them."""
    assert re.fullmatch("[0-9]+", text), f"not a plain number: {text!r}"
    return int(text)


class Target(NamedTuple):
    """Where a server takes uploads."""

    host: str
    port: int
    path: str  # of the creation URL
    fields: tuple[tuple[str, str], ...] = ()  # sent with every request
    ours: bool = False  # Penstock, with the settings of this suite: it must be able to do everything

    @classmethod
    def at(cls, url: str, fields: Fields = (), *, ours: bool = False) -> Target:
        parts = urlsplit(url)
        assert parts.scheme == "http", "only http is spoken here"
        assert parts.hostname
        return cls(parts.hostname, parts.port or 80, parts.path or "/", tuple(fields), ours)

    @property
    def authority(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def url(self) -> str:
        return f"http://{self.authority}{self.path}"

    def path_of(self, location: str) -> str:
        """The path of a URL that this server gave out, absolute or relative; it may have moved since."""
        parts = urlsplit(urljoin(self.url, location))
        return f"{parts.path}?{parts.query}" if parts.query else parts.path

    async def connect(self) -> trio.SocketStream:
        return await trio.open_tcp_stream(self.host, self.port)

    @asynccontextmanager
    async def exchange(
        self, method: str, path: str | None = None, fields: Fields = (), *, length: int | None = None
    ) -> AsyncIterator[Exchange]:
        """A request whose head is sent; its body is the caller's. Without `length` no framing is named."""
        async with await self.connect() as stream:
            framing = [] if length is None else [("Content-Length", str(length))]
            exchange = Exchange(stream, method)
            await exchange.send(self.head(method, path, [*fields, *framing]))
            yield exchange

    def head(self, method: str, path: str | None, fields: Fields) -> bytes:
        """A request's head; values go out as they are, in UTF-8."""
        lines = [f"{method} {path or self.path} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in [("Host", self.authority), *self.fields, *fields]]
        return "\r\n".join([*lines, "", ""]).encode()

    async def ask(
        self,
        method: str,
        path: str | None = None,
        fields: Fields = (),
        body: bytes | Iterable[bytes] = b"",
    ) -> Answer:
        """A whole exchange on a connection of its own. A body of several pieces is sent in chunks."""
        if isinstance(body, bytes):
            length = None if method in BODILESS and not body else len(body)
            async with self.exchange(method, path, fields, length=length) as exchange:
                return await exchange.answer_to(body)
        async with self.exchange(method, path, [*fields, ("Transfer-Encoding", "chunked")]) as exchange:
            return await exchange.answer_to(b"".join(map(chunk, body)) + LAST_CHUNK)


@contextmanager
def _patience() -> Iterator[None]:
    try:
        with trio.fail_after(ANSWER_S):
            yield
    except trio.TooSlowError as error:
        raise Silence(f"nothing came for {ANSWER_S:.0f} s") from error


class Exchange:
    """A request on a connection, sent at the test's own pace."""

    def __init__(self, stream: trio.SocketStream, method: str) -> None:
        self.stream = stream
        self._interim: list[Answer] = []
        self._parser = h11.Connection(h11.CLIENT, max_incomplete_event_size=256 * 1024)
        self._expect(method)

    def _expect(self, method: str) -> None:
        """The parser has to know what was asked for: answers to HEAD have no body."""
        self._parser.send(h11.Request(method=method, target="/", headers=[("host", "x")]))
        self._parser.send(h11.EndOfMessage())

    def next(self, method: str) -> None:
        """The answer to the next request on this connection is wanted."""
        assert self._parser.our_state is h11.DONE, "the server does not keep the connection"
        self._parser.start_next_cycle()
        self._interim = []
        self._expect(method)

    async def send(self, data: bytes) -> bool:
        """Whether the server took it (or its kernel): one that has answered need not."""
        try:
            await self.stream.send_all(data)
        except trio.BrokenResourceError:
            return False
        return True

    async def trickle(self, data: bytes, step_bytes: int, pause_s: float) -> bool:
        """Send steadily, as over a thin line; whether all of it was taken."""
        for at in range(0, len(data), step_bytes):
            if not await self.send(data[at : at + step_bytes]):
                return False
            await trio.sleep(pause_s)
        return True

    async def half_close(self) -> None:
        """FIN; what the server says can still be read."""
        await self.stream.send_eof()

    def reset(self) -> None:
        """RST: the connection is gone, and says so."""
        lingering = struct.pack("ii", 1, 0)
        self.stream.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_LINGER, lingering)
        self.stream.socket.close()

    async def answer(self) -> Answer:
        """The final answer. Raises: NoAnswer, Silence."""
        with _patience():
            while (answer := await self._next()).status < 200:
                self._interim.append(answer)
            while not isinstance(event := await self._event(), h11.EndOfMessage):
                assert isinstance(event, h11.Data), event
                answer.body += bytes(event.data)
        answer.interim = self._interim
        return answer

    async def answer_to(self, body: bytes) -> Answer:
        """Send the body and listen meanwhile: an early answer ends the sending. Raises: NoAnswer, Silence."""
        result: Answer | AssertionError
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.send, body)
            try:
                result = await self.answer()
            except AssertionError as error:
                result = error  # and no group around it
            nursery.cancel_scope.cancel()
        if isinstance(result, AssertionError):
            raise result
        return result

    async def interim(self) -> Answer:
        """The next answer, which must be an interim one (1xx). Raises: NoAnswer, Silence."""
        with _patience():
            answer = await self._next()
        assert answer.status < 200, f"not an interim answer: {answer}"
        self._interim.append(answer)
        return answer

    async def _next(self) -> Answer:
        event = await self._event()
        assert isinstance(event, h11.Response | h11.InformationalResponse), event
        fields = [(bytes(name).decode(), bytes(value).decode("latin-1")) for name, value in event.headers]
        return Answer(event.status_code, bytes(event.reason).decode("latin-1"), fields)

    async def _event(self) -> h11.Event:
        while True:
            await trio.lowlevel.checkpoint()
            try:
                event = self._parser.next_event()
            except h11.RemoteProtocolError as error:
                raise NoAnswer(str(error)) from error
            if isinstance(event, h11.ConnectionClosed):
                raise NoAnswer("the connection was closed")
            if event is not h11.NEED_DATA:
                assert isinstance(event, h11.Event), event
                return event
            self._parser.receive_data(await self._received())

    async def _received(self) -> bytes:
        """More bytes; none at the end, however it came."""
        try:
            return bytes(await self.stream.receive_some(65536))
        except trio.BrokenResourceError:
            return b""

    async def begun(self) -> None:
        """After `Expect: 100-continue`: the server wants the body, so whatever comes before that is done."""
        answer = await self.interim()
        assert answer.status == 100, answer

    async def until_closed(self) -> bytes:
        """Everything, as it came, until the server closes."""
        everything = b""
        with _patience():
            while data := await self._received():
                everything += data
        return everything
