"""A client of draft-ietf-httpbis-resumable-upload, in any interop version, that does what a test says."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import trio

from tests.conformance.wire import ANSWER_S, Answer, Exchange, Fields, Target, number

LATEST = 8
DIALECTS = (3, 5, 6)  # what deployed phones and browsers speak
VERSION = "Upload-Draft-Interop-Version"
PARTIAL = ("Content-Type", "application/partial-upload")
EXPECT = ("Expect", "100-continue")
PROBLEMS = "https://iana.org/assignments/http-problem-types#"
LOOK_EVERY_S = 0.05

Body = bytes | Iterable[bytes]


class Draft:
    """The server under test, spoken to in one interop version; None: without saying which."""

    def __init__(self, target: Target, version: int | None = LATEST) -> None:
        self.target = target
        self.version = version

    def speaking(self, version: int | None) -> Draft:
        return Draft(self.target, version)

    def completeness(self, complete: bool) -> tuple[str, str]:
        if self.version == 3:
            return ("Upload-Incomplete", f"?{int(not complete)}")
        return ("Upload-Complete", f"?{int(complete)}")

    def is_complete(self, answer: Answer) -> bool | None:
        """What it says of the upload; None if it does not."""
        name, _ = self.completeness(complete=True)
        value = answer.get(name)
        assert value in (None, "?0", "?1"), answer
        return None if value is None else value == self.completeness(complete=True)[1]

    def _versioned(self, fields: Fields) -> list[tuple[str, str]]:
        return [*([] if self.version is None else [(VERSION, str(self.version))]), *fields]

    async def ask(
        self, method: str, path: str | None = None, fields: Fields = (), body: Body = b""
    ) -> Answer:
        return await self.target.ask(method, path, self._versioned(fields), body)

    @asynccontextmanager
    async def asking(
        self, method: str, path: str | None = None, fields: Fields = (), *, length: int | None = None
    ) -> AsyncIterator[Exchange]:
        """The same with a body that is the caller's; `length` None: no framing is named."""
        async with self.target.exchange(method, path, self._versioned(fields), length=length) as exchange:
            yield exchange

    async def post(self, complete: bool, body: Body, *fields: tuple[str, str]) -> Answer:
        return await self.ask("POST", None, [self.completeness(complete), *fields], body)

    @asynccontextmanager
    async def posting(self, complete: bool, length: int, *fields: tuple[str, str]) -> AsyncIterator[Exchange]:
        """A creation whose body is the caller's."""
        head = [self.completeness(complete), *fields]
        async with self.asking("POST", None, head, length=length) as exchange:
            yield exchange

    async def begin(self, length: int | None = None, body: bytes = b"") -> Upload:
        """An upload that is created carefully: first its URL, then (the rest of) its bytes."""
        fields = [] if length is None else [("Upload-Length", str(length))]
        answer = await self.post(False, body, *fields)
        assert answer.ok, answer
        return self.upload(answer)

    async def finished(self, body: bytes) -> Upload:
        upload = await self.begin(len(body))
        answer = await upload.append(0, body, complete=True)
        assert answer.ok, answer
        return upload

    def upload(self, told: Answer) -> Upload:
        return Upload(self, told["location"])

    async def unknown(self) -> Upload:
        """One that was never made, at an address of the server's own form."""
        upload = await self.begin(5)
        path = upload.path.rstrip("/")
        return Upload(self, path[:-1] + ("1" if path[-1] == "0" else "0"))


class Upload:
    """An upload resource."""

    def __init__(self, draft: Draft, location: str) -> None:
        self.draft = draft
        self.location = location
        self.path = draft.target.path_of(location)

    async def head(self, *fields: tuple[str, str]) -> Answer:
        return await self.draft.ask("HEAD", self.path, fields)

    async def state(self) -> Answer:
        """HEAD, which stops whoever writes."""
        answer = await self.head()
        assert answer.ok, answer
        return answer

    async def offset(self) -> int:
        return (await self.state()).offset

    async def until_offset(self, offset: int) -> None:
        seen = None
        with trio.move_on_after(ANSWER_S):
            while (seen := await self.offset()) != offset:  # noqa: ASYNC110  # it has no event for us
                await trio.sleep(LOOK_EVERY_S)
        assert seen == offset, f"the offset is {seen}, not {offset}"

    async def check(self, offset: int, *, complete: bool = False) -> Answer:
        answer = await self.state()
        assert answer.offset == offset, f"not at {offset}: {answer}"
        assert self.draft.is_complete(answer) is complete, answer
        return answer

    def fields(self, offset: int, complete: bool) -> list[tuple[str, str]]:
        return [PARTIAL, ("Upload-Offset", str(offset)), self.draft.completeness(complete)]

    async def append(
        self, offset: int, body: Body, *fields: tuple[str, str], complete: bool = False
    ) -> Answer:
        return await self.draft.ask("PATCH", self.path, [*self.fields(offset, complete), *fields], body)

    @asynccontextmanager
    async def appending(
        self, offset: int, length: int, *fields: tuple[str, str], complete: bool = False
    ) -> AsyncIterator[Exchange]:
        """An append whose body is the caller's."""
        head = [*self.fields(offset, complete), *fields]
        async with self.draft.asking("PATCH", self.path, head, length=length) as exchange:
            yield exchange

    async def delete(self, *fields: tuple[str, str]) -> Answer:
        return await self.draft.ask("DELETE", self.path, fields)

    async def check_content(self, wanted: bytes) -> None:
        """It is complete and holds these bytes. Servers that do not hand them out are believed."""
        await self.check(len(wanted), complete=True)
        got = await self.draft.ask("GET", self.path)
        if got.status == 200:
            assert len(got.body) == len(wanted), f"{len(got.body)} bytes, not {len(wanted)}"
            assert got.body == wanted, "these are other bytes"
        else:
            assert not self.draft.target.ours, got

    async def finish(self, wanted: bytes) -> None:
        """Go on from where it is, as a client does, and check the result."""
        offset = await self.offset()
        answer = await self.append(offset, wanted[offset:], complete=True)
        assert answer.ok, answer
        await self.check_content(wanted)

    async def check_gone(self) -> None:
        for answer in (await self.head(), await self.append(0, b"x"), await self.delete()):
            assert answer.status in (404, 410), answer
            assert "upload-offset" not in answer, answer


def hints(answer: Answer) -> list[Answer]:
    """The 104s that came before it."""
    return [interim for interim in answer.interim if interim.status == 104]


def limits(answer: Answer) -> dict[str, int]:
    """`Upload-Limit`, a dictionary of integers that is never empty (RFC 9651, section 3.2)."""
    members = re.findall(r"(?:^|, ?)([a-z*][a-z0-9_.*-]*)=([0-9]+)(?=,|$)", answer["upload-limit"])
    assert ", ".join(f"{key}={value}" for key, value in members) == re.sub(
        r",[ \t]*", ", ", answer["upload-limit"]
    ), answer
    assert members, answer
    return {key: number(value) for key, value in members}


def problem(answer: Answer) -> dict[str, Any]:
    """The body of a refusal (RFC 9457)."""
    assert answer["content-type"].startswith("application/problem+json"), answer
    value: dict[str, Any] = json.loads(answer.body)
    return value
