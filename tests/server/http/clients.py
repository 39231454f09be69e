"""The whole application, asked over sockets (both ways of taking bodies) or over bare ASGI messages."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from typing import Any, NamedTuple, Protocol
from urllib.parse import unquote

import h11
import msgspec
import trio

from penstock.server.app import create_app
from penstock.server.edge.asgi import ASGIApp, Message
from penstock.server.http.operations import Readiness, always_ready
from penstock.server.settings import Settings
from penstock.server.uploads.gateway import Gateway
from tests.fakes.blobs import FakeBlobs
from tests.fakes.state import FakeState
from tests.server.edge.harness import PATIENCE_S, Raw, connected, serving
from tests.server.small_buffers import small_buffers

Body = bytes | list[bytes] | None  # a list is sent without a Content-Length


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)

    @property
    def code(self) -> tuple[int, str]:
        """Of a problem: its status and its code, after a look at its shape."""
        assert self.headers["content-type"] == "application/problem+json"
        problem = self.json
        assert problem["status"] == self.status
        assert set(problem) == {"type", "title", "status", "detail", "code", "details"}
        return self.status, problem["code"]


class Client(Protocol):
    """Asks `gateway` over HTTP."""

    gateway: Gateway
    blobs: FakeBlobs
    app: ASGIApp

    async def ask(
        self, method: str, path: str, body: Body = None, headers: dict[str, str] | None = None
    ) -> Answer: ...


class World:
    """A gateway over stores in memory, and the application in front of it."""

    def __init__(self, gateway: Gateway, blobs: FakeBlobs, app: ASGIApp) -> None:
        self.gateway = gateway
        self.blobs = blobs
        self.app = app


async def world(readiness: Readiness = always_ready, **changes: Any) -> World:
    settings = msgspec.structs.replace(Settings(port=0), **changes)
    blobs = FakeBlobs(settings.categories)
    gateway = await Gateway.open(blobs, FakeState(), settings, server_key=b"k" * 32, boot_id="boot-1")
    return World(gateway, blobs, create_app(gateway, settings, readiness))


class BareClient(World):
    """Hands ASGI messages to the application: no transport handle, no sockets."""

    async def ask(
        self, method: str, path: str, body: Body = None, headers: dict[str, str] | None = None
    ) -> Answer:
        conversation = Conversation(self.app, method, path, body, headers)
        with trio.fail_after(PATIENCE_S):
            await conversation.run()
        return conversation.answer


class Conversation:
    """One request over ASGI; `leave` is the client going away."""

    def __init__(
        self, app: ASGIApp, method: str, path: str, body: Body = None, headers: dict[str, str] | None = None
    ) -> None:
        raw_path, _, query = path.partition("?")
        self._app = app
        self._scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": unquote(raw_path),
            "raw_path": raw_path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": [(name.lower().encode(), value.encode()) for name, value in _lines(body, headers)],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 2),
        }
        pieces = body if isinstance(body, list) else [body or b""]
        self._pieces: list[Message] = [
            {"type": "http.request", "body": piece, "more_body": True} for piece in pieces
        ] or [{"type": "http.request", "body": b""}]
        self._pieces[-1]["more_body"] = False
        self._left = trio.Event()
        self._out: list[Message] = []

    async def run(self) -> None:
        await self._app(self._scope, self._receive, self._send)

    def leave(self) -> None:
        self._left.set()

    @property
    def answered(self) -> bool:
        return bool(self._out)

    @property
    def answer(self) -> Answer:
        start, *pieces = self._out
        headers = {name.decode().lower(): value.decode("latin-1") for name, value in start["headers"]}
        return Answer(start["status"], headers, b"".join(piece["body"] for piece in pieces))

    async def _receive(self) -> Message:
        await trio.lowlevel.checkpoint()
        if self._pieces:
            return self._pieces.pop(0)
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        await trio.lowlevel.checkpoint()
        self._out.append(message)


class SocketClient(World):
    """Asks over a real connection, a new one each time."""

    def __init__(self, served: World, connect: Callable[[], AbstractAsyncContextManager[Raw]]) -> None:
        super().__init__(served.gateway, served.blobs, served.app)
        self.connect = connect

    async def ask(
        self, method: str, path: str, body: Body = None, headers: dict[str, str] | None = None
    ) -> Answer:
        async with self.connect() as raw:
            for piece in rendered(method, path, body, headers):
                await raw.send(piece)
            status, lines, content = await raw.answer(method.encode())
        return Answer(status, {k.decode(): v.decode("latin-1") for k, v in lines.items()}, content)


def rendered(method: str, path: str, body: Body = None, headers: dict[str, str] | None = None) -> list[bytes]:
    """A request as its bytes, a piece of the body each."""
    parser = h11.Connection(h11.CLIENT)
    lines = list(_lines(body, {"Host": "localhost", **(headers or {})}))
    out = [parser.send(h11.Request(method=method, target=path, headers=lines)) or b""]
    pieces = body if isinstance(body, list) else [body] if body else []
    out += [parser.send(h11.Data(data=piece)) or b"" for piece in pieces]
    return [*out, parser.send(h11.EndOfMessage()) or b""]


def _lines(body: Body, headers: dict[str, str] | None) -> Iterable[tuple[str, str]]:
    if isinstance(body, list):
        yield "transfer-encoding", "chunked"
    elif body is not None:
        yield "content-length", str(len(body))
    yield from (headers or {}).items()


@asynccontextmanager
async def bare(readiness: Readiness = always_ready, **changes: Any) -> AsyncIterator[BareClient]:
    made = await world(readiness, **changes)
    yield BareClient(made.gateway, made.blobs, made.app)


@asynccontextmanager
async def over_sockets(*, in_threads: bool = False, **changes: Any) -> AsyncIterator[SocketClient]:
    """`in_threads`: with small buffers; bodies on the direct path fill them, and are read in threads."""
    made = await world(**changes)
    with small_buffers() if in_threads else nullcontext():
        async with serving(made.app, **changes) as edge:
            yield SocketClient(made, lambda: connected(edge))


TRANSPORTS: dict[str, Callable[..., AbstractAsyncContextManager[Client]]] = {
    "direct": lambda **changes: over_sockets(fast_path=True, **changes),
    "sockets": lambda **changes: over_sockets(fast_path=False, **changes),
    "asgi": bare,
}


async def created(client: Client, *files: dict[str, Any], **fields: Any) -> Any:
    """The creation answer of a session."""
    answer = await client.ask("POST", "/api/upload/sessions", msgspec.json.encode({"files": files, **fields}))
    assert answer.status == 201, answer
    return answer.json


async def one_file(client: Client, size: int | None = None, **fields: Any) -> str:
    """The upload URL of a new session's only file."""
    spec = {"fileName": "a.bin", "fileId": "a", "fileSize": size, **fields}
    made = await created(client, spec)
    url: str = made["files"][0]["uploadUrl"]
    return url
