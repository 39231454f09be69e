"""The REST API as a plain client uses it: one connection an exchange, and uploads of every pace."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, NamedTuple

import h11
import trio

from tests.acceptance.content import Content
from tests.acceptance.gateway import Gateway, polled
from tests.running import PATIENCE_S

SESSIONS = "/api/upload/sessions"
STEP_BYTES = 64 * 1024


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def offset(self) -> int:
        return int(self.headers["upload-offset"])


class Exchange:
    """One request on one connection, sent at the test's own pace."""

    def __init__(self, stream: trio.abc.Stream, method: str) -> None:
        self.stream = stream
        self.sent_bytes = 0  # of the body
        self._parser = h11.Connection(h11.CLIENT, max_incomplete_event_size=65536)
        self._parser.send(h11.Request(method=method, target="/", headers=[("host", "x")]))
        self._parser.send(h11.EndOfMessage())

    async def send(self, data: bytes) -> None:
        await self.stream.send_all(data)
        self.sent_bytes += len(data)

    async def send_content(
        self, content: Content, start: int = 0, stop: int | None = None, *, bytes_per_s: float | None = None
    ) -> None:
        """Send a stretch of the content, paced."""
        begun_at = trio.current_time()
        sent = 0
        for piece in content.pieces(start, stop, STEP_BYTES):
            await self.send(piece)
            sent += len(piece)
            if bytes_per_s:
                await trio.sleep_until(begun_at + sent / bytes_per_s)

    async def answer(self) -> Answer:
        """The final answer."""
        status, headers, body = 0, {}, b""
        while True:
            await trio.lowlevel.checkpoint()
            match self._parser.next_event():
                case h11.NEED_DATA:
                    self._parser.receive_data(bytes(await self.stream.receive_some()))
                case h11.Response() as response:
                    status = response.status_code
                    headers = {bytes(k).decode(): bytes(v).decode() for k, v in response.headers}
                case h11.Data() as data:
                    body += bytes(data.data)
                case h11.EndOfMessage():
                    return Answer(status, headers, body)
                case h11.InformationalResponse():
                    pass
                case other:
                    raise AssertionError(f"no answer: {other!r}")


class Api:
    """Calls to one gateway. It may be restarted meanwhile: `gateway` is then set anew."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway

    @property
    def host(self) -> str:
        return f"{self.gateway.host}:{self.gateway.port}"

    async def connect(self) -> trio.SocketStream:
        return await trio.open_tcp_stream(self.gateway.host, self.gateway.port)

    def url(self, path: str) -> str:
        return f"http://{self.host}{path}"

    @asynccontextmanager
    async def exchange(
        self, method: str, path: str, headers: dict[str, str] | None = None
    ) -> AsyncIterator[Exchange]:
        """A request whose head is sent; its body is the caller's."""
        async with await self.connect() as stream:
            lines = [f"{method} {path} HTTP/1.1", f"Host: {self.host}"]
            lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
            await stream.send_all("\r\n".join([*lines, "", ""]).encode("utf-8"))
            yield Exchange(stream, method)

    async def call(
        self,
        method: str,
        path: str,
        value: object = None,
        *,
        body: bytes = b"",
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """One whole exchange; `value` is sent as JSON."""
        if value is not None:
            body = json.dumps(value).encode()
        headers = {"Content-Length": str(len(body)), "Connection": "close", **(headers or {})}
        with trio.fail_after(PATIENCE_S):
            async with self.exchange(method, path, headers) as exchange:
                await exchange.send(body)
                return await exchange.answer()

    async def get(self, path: str) -> Any:
        answer = await self.call("GET", path)
        assert answer.status == 200, answer
        return answer.json()

    # Sessions and files

    async def create(self, *files: dict[str, Any], **more: Any) -> Any:
        answer = await self.call("POST", SESSIONS, {"files": list(files), **more})
        assert answer.status == 201, answer
        return answer.json()

    async def create_one(self, size: int, name: str = "film.mp4") -> Upload:
        created = await self.create({"fileName": name, "fileId": "f1", "fileSize": size})
        return Upload(self, created["sessionId"], "f1", created["watchKey"])

    async def snapshot(self, reference: str) -> Any:
        return await self.get(f"{SESSIONS}/{reference}")

    async def command(self, session_id: str, name: str, **fields: Any) -> Answer:
        return await self.call("POST", f"{SESSIONS}/{session_id}/commands", {"type": name, **fields})


class Upload:
    """One registered file."""

    def __init__(self, api: Api, session_id: str, file_id: str, watch_key: str) -> None:
        self.api = api
        self.session_id = session_id
        self.file_id = file_id
        self.watch_key = watch_key

    @property
    def path(self) -> str:
        return f"{SESSIONS}/{self.session_id}/files/{self.file_id}"

    async def head(self) -> Answer:
        return await self.api.call("HEAD", self.path)

    async def show(self) -> Any:
        return await self.api.get(self.path)

    async def until(self, wanted: Callable[[Any], object]) -> Any:
        """Its view, as soon as that is as wanted."""
        return await polled(self.show, wanted)

    async def until_received(self, count: int) -> None:
        await self.until(lambda view: view["uploadedBytes"] >= count)

    async def pause(self) -> Answer:
        return await self.api.command(self.session_id, "upload-pause", fileId=self.file_id)

    async def resume(self) -> Answer:
        return await self.api.command(self.session_id, "upload-resume", fileId=self.file_id)

    async def cancel(self) -> Answer:
        return await self.api.command(self.session_id, "upload-cancel", fileId=self.file_id)

    @asynccontextmanager
    async def putting(
        self, content: Content, start: int | None = None, stop: int | None = None
    ) -> AsyncIterator[Putting]:
        """A PUT of the whole content, or of a stretch of it with `Content-Range`; its head is sent."""
        stop = content.size if stop is None else stop
        headers = {"Content-Length": str(stop - (start or 0))}
        if start is not None:
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{content.size}"
        async with self.api.exchange("PUT", self.path, headers) as exchange:
            yield Putting(exchange, content, start or 0, stop)

    async def put(self, content: Content, start: int | None = None, stop: int | None = None) -> Answer:
        """As fast as it goes. An early answer ends it."""
        async with self.putting(content, start, stop) as putting:
            with suppress(trio.BrokenResourceError):
                await putting.send_all()
            return await putting.exchange.answer()


class Putting:
    """A PUT under way."""

    def __init__(self, exchange: Exchange, content: Content, start: int, stop: int) -> None:
        self.exchange = exchange
        self._content = content
        self._start = start
        self._stop = stop

    @property
    def position(self) -> int:
        """Where the next byte goes."""
        return self._start + self.exchange.sent_bytes

    async def send(self, count: int, *, bytes_per_s: float | None = None) -> None:
        """The next `count` bytes."""
        start = self.position
        await self.exchange.send_content(self._content, start, start + count, bytes_per_s=bytes_per_s)

    async def send_all(self, *, bytes_per_s: float | None = None) -> None:
        await self.send(self._stop - self.position, bytes_per_s=bytes_per_s)

    async def answer(self) -> Answer:
        with trio.fail_after(PATIENCE_S):
            return await self.exchange.answer()
