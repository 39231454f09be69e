"""A tus 1.0.0 client that does exactly what a test says, the wrong things too."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from email.utils import parsedate_to_datetime
from uuid import uuid4

import pytest
import trio

from tests.conformance.wire import ANSWER_S, Answer, Exchange, Fields, NoAnswer, Target, number

VERSION = "1.0.0"
EXPECT = ("Expect", "100-continue")
OCTET = ("Content-Type", "application/offset+octet-stream")
METADATA = ("Upload-Metadata", "filename ZmlsbS5tcDQ=,filetype dmlkZW8vbXA0")  # film.mp4, video/mp4
LOOK_EVERY_S = 0.05

Body = bytes | Iterable[bytes]


def content(size: int, seed: int = 0) -> bytes:
    """Bytes of which no two stretches are alike."""
    return random.Random(seed).randbytes(size)


def idempotency_key() -> tuple[str, str]:
    """One that was never used (draft-ietf-httpapi-idempotency-key-header)."""
    return ("Idempotency-Key", f'"{uuid4()}"')


class Tus:
    """The server under test."""

    def __init__(self, target: Target) -> None:
        self.target = target

    async def ask(
        self,
        method: str,
        path: str | None = None,
        fields: Fields = (),
        body: Body = b"",
        *,
        version: str | None = VERSION,
    ) -> Answer:
        """A request with `Tus-Resumable`, on the creation URL if there is no path."""
        return await self.target.ask(method, path, [*_versioned(version), *fields], body)

    @asynccontextmanager
    async def asking(
        self, method: str, path: str | None = None, fields: Fields = (), *, length: int | None = None
    ) -> AsyncIterator[Exchange]:
        """The same with a body that is the caller's."""
        head = [*_versioned(VERSION), *fields]
        async with self.target.exchange(method, path, head, length=length) as exchange:
            yield exchange

    async def options(self, path: str | None = None, fields: Fields = ()) -> Answer:
        return await self.ask("OPTIONS", path, fields, version=None)

    async def extensions(self) -> list[str]:
        return (await self.options()).words("tus-extension")

    async def require(self, *extensions: str) -> None:
        """Skip the test if the server does not offer them; Penstock has to."""
        offered = await self.extensions()
        for extension in extensions:
            if extension not in offered:
                assert not self.target.ours, f"{extension} is missing: {offered}"
                pytest.skip(f"the server does not offer {extension}")

    async def post(self, *fields: tuple[str, str], body: Body = b"", bare: bool = False) -> Answer:
        """A creation, with the metadata that clients send without being told; `bare`: with none."""
        named = bare or any(name == "Upload-Metadata" for name, _ in fields)
        return await self.ask("POST", None, fields if named else [*fields, METADATA], body)

    async def create(self, length: int | None, *fields: tuple[str, str], body: Body | None = None) -> Upload:
        """A new upload, which the server must make; `length` None: it is told later."""
        size = ("Upload-Defer-Length", "1") if length is None else ("Upload-Length", str(length))
        payload = [] if body is None else [OCTET]
        answer = await self.post(size, *payload, *fields, body=b"" if body is None else body)
        return self.created(answer)

    async def finished(self, body: bytes, *fields: tuple[str, str]) -> Upload:
        """A whole upload, of two requests."""
        upload = await self.create(len(body), *fields)
        await upload.append(0, body)
        return upload

    def created(self, answer: Answer) -> Upload:
        assert answer.status == 201, answer
        return Upload(self, answer)

    async def unknown(self) -> str:
        """The path of an upload that was never made, of the server's own form."""
        path = (await self.create(1)).path
        end = path.rstrip("/")[-1]
        return path.rstrip("/")[:-1] + ("0" if end != "0" else "1")


def _versioned(version: str | None) -> list[tuple[str, str]]:
    return [] if version is None else [("Tus-Resumable", version)]


class Upload:
    """One upload URL."""

    def __init__(self, tus: Tus, creation: Answer) -> None:
        self.tus = tus
        self.creation = creation
        self.location = creation["location"]
        self.path = tus.target.path_of(self.location)

    async def head(self, *fields: tuple[str, str]) -> Answer:
        return await self.tus.ask("HEAD", self.path, fields)

    async def settled(self) -> Answer:
        """HEAD, as soon as nobody else is at work on it: clients ask again after 423."""
        with trio.fail_after(ANSWER_S):
            while (answer := await self.head()).status == 423:  # noqa: ASYNC110  # it has no event for us
                await trio.sleep(LOOK_EVERY_S)
        assert answer.ok, answer
        return answer

    async def offset(self) -> int:
        return (await self.settled()).offset

    async def until_offset(self, offset: int) -> None:
        """Wait for bytes that were sent; they must not be fewer nor more in the end."""
        seen = None
        with trio.move_on_after(ANSWER_S):
            while (seen := await self.offset()) != offset:  # noqa: ASYNC110  # the same
                await trio.sleep(LOOK_EVERY_S)
        assert seen == offset, f"the offset is {seen}, not {offset}"

    async def patch(self, offset: int, body: Body, *fields: tuple[str, str]) -> Answer:
        head = [OCTET, ("Upload-Offset", str(offset)), *fields]
        return await self.tus.ask("PATCH", self.path, head, body)

    async def append(self, offset: int, body: Body, *fields: tuple[str, str]) -> Answer:
        """A PATCH that must go well."""
        answer = await self.patch(offset, body, *fields)
        assert answer.status == 204, answer
        return answer

    @asynccontextmanager
    async def patching(
        self, offset: int, length: int | None, *fields: tuple[str, str]
    ) -> AsyncIterator[Exchange]:
        """A PATCH whose body is the caller's; `length` None: it comes in chunks."""
        head = [OCTET, ("Upload-Offset", str(offset)), *fields]
        if length is None:
            head.append(("Transfer-Encoding", "chunked"))
        async with self.tus.asking("PATCH", self.path, head, length=length) as exchange:
            yield exchange

    async def delete(self) -> Answer:
        return await self.tus.ask("DELETE", self.path)

    async def get(self) -> Answer:
        return await self.tus.ask("GET", self.path)

    async def check_unchanged(self, offset: int = 0) -> None:
        seen = await self.offset()
        assert seen == offset, f"the offset is {seen}, not {offset}"

    async def check_content(self, wanted: bytes) -> Answer:
        """It is finished and holds these bytes; the answer to GET. Servers without GET are believed."""
        answer = await self.settled()
        assert answer.offset == length_of(answer) == len(wanted), f"not {len(wanted)} bytes: {answer}"
        got = await self.get()
        if got.status == 200:
            assert len(got.body) == len(wanted), f"{len(got.body)} bytes, not {len(wanted)}"
            assert got.body == wanted, "these are other bytes"
        else:
            assert not self.tus.target.ours, got
        return got

    async def finish(self, wanted: bytes) -> None:
        """Go on from where it is, as a client does, and check the result."""
        offset = await self.offset()
        if offset < len(wanted):
            await self.append(offset, wanted[offset:])
        await self.check_content(wanted)

    async def check_gone(self) -> None:
        for method in ("HEAD", "PATCH", "DELETE"):
            fields = [OCTET, ("Upload-Offset", "0")] if method == "PATCH" else []
            answer = await self.tus.ask(method, self.path, fields)
            assert answer.status in (404, 410), (method, answer)
            assert "upload-offset" not in answer, (method, answer)


async def together(*asks: Callable[[], Awaitable[Answer]]) -> list[Answer | None]:
    """The answers to requests that run at once; None where the connection was ended without one."""
    answers: list[Answer | None] = [None] * len(asks)

    async def run(index: int) -> None:
        with suppress(NoAnswer):
            answers[index] = await asks[index]()

    async with trio.open_nursery() as nursery:
        for index in range(len(asks)):
            nursery.start_soon(run, index)
    return answers


def is_worth_a_retry(answer: Answer | None) -> bool:
    """Whether clients that got this try again: deployed ones do after 409, 423, 5xx and a cut connection."""
    return answer is None or answer.status in (409, 423) or answer.status >= 500


def expires(answer: Answer) -> float:
    """Seconds since the epoch."""
    return parsedate_to_datetime(answer["upload-expires"]).timestamp()


def length_of(answer: Answer) -> int:
    return number(answer["upload-length"])
