"""A multipart body as it comes in: part after part, each of them a `Body` that is pulled like any other."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import suppress

import trio
from multipart import (  # type: ignore[import-untyped]  # it has no stubs
    MultipartError,
    MultipartSegment,
    PushMultipartParser,
)

from penstock.protocol.errors import InvalidMessage
from penstock.protocol.multipart_form import PartHead, parse_part_head
from penstock.server.peer import Body, BodyBroken
from penstock.server.settings import KIB, MIB

READ_BYTES = 256 * KIB  # what a request holds of its body at most, besides what it hands on
MAX_SILENT_BYTES = MIB  # before the first boundary and after the last one: nobody sends more in earnest
QUIET_S = 0.05  # nothing came for so long: time to do what waits

_NOTHING = object()  # what was read is used up
_END = object()


class MalformedBody(BodyBroken):
    """Not multipart/form-data, or cut off."""


class BodyTimedOut(BodyBroken):
    """No byte came for `body_idle_timeout_s`."""


class PartReader:
    """Gives a body's parts one after the other. One task uses it, and its parts.

    `scratch` is only used within single calls: any number of readers may share one.
    """

    def __init__(
        self,
        body: Body,
        boundary: bytes,
        scratch: bytearray,
        *,
        max_parts: int,
        idle_timeout_s: float,
    ) -> None:
        self.length = body.length
        self.taken_bytes = 0
        self.failure: BodyBroken | None = None  # no more bytes will come
        self.on_quiet: Callable[[], Awaitable[None]] = trio.lowlevel.checkpoint
        self._body = body
        self._scratch = memoryview(scratch)
        self._idle_timeout_s = idle_timeout_s
        # Header bytes as they are: which charset they are in is for us to find out.
        self._parser = PushMultipartParser(boundary, header_charset="latin-1", max_segment_count=max_parts)
        self._events: Iterator[object] = iter(())
        self._silent_bytes = 0
        self._ended = False
        self._part: Part | None = None

    async def next_part(self) -> Part | None:
        """The next part, None after the last; what is left of the one before is dropped. Cancel-safe.

        Raises: BodyBroken, as MalformedBody or BodyTimedOut where it is that.
        """
        while self._part is not None and not self._part.ended:
            await self._part.drop()
        while (event := self.event_nowait()) is _NOTHING:
            await self.read()
        if event is _END:
            return None
        assert isinstance(event, MultipartSegment)
        self._part = Part(self, self._head(event))
        return self._part

    async def read(self) -> None:
        """Take the next bytes off the wire. Cancel-safe. Raises: BodyBroken."""
        while True:
            await self._wait()
            try:
                return self.read_nowait()
            except trio.WouldBlock:
                continue

    async def wait_readable(self) -> None:
        """As of the body itself: without a deadline."""
        await self._body.wait_readable()

    def read_nowait(self) -> None:
        """Take what is there off the wire. Raises: `trio.WouldBlock`; BodyBroken."""
        try:
            count = self._body.receive_nowait(self._scratch)
        except BodyBroken as broken:
            self.failure = broken
            raise
        self.taken_bytes += count
        self._silent_bytes += count
        if self._silent_bytes > MAX_SILENT_BYTES:
            raise self._malformed("there is too much before its first part or after its last one")
        self._ended = not count
        self._events = self._parser.parse(bytes(self._scratch[:count]))

    def event_nowait(self) -> object:
        """What the parser says next: a segment, bytes of it, None at its end; or that it has nothing.

        Raises: BodyBroken.
        """
        if self.failure is not None:
            raise self.failure
        try:
            event = next(self._events, _NOTHING)
        except MultipartError as error:
            raise self._malformed(str(error)) from None
        if event is _NOTHING:
            return _END if self._ended else _NOTHING
        self._silent_bytes = 0
        return event

    async def _wait(self) -> None:
        with trio.move_on_after(QUIET_S) as quiet:
            await self._body.wait_readable()
        if not quiet.cancelled_caught:
            return
        await self.on_quiet()
        with trio.move_on_after(self._idle_timeout_s) as idle:
            await self._body.wait_readable()
        if idle.cancelled_caught:
            self.failure = BodyTimedOut(f"no byte came for {self._idle_timeout_s:g} s")
            raise self.failure

    def _head(self, segment: MultipartSegment) -> PartHead:
        try:
            return parse_part_head(segment.headerlist)
        except InvalidMessage as error:
            raise self._malformed(error.message) from None

    def _malformed(self, why: str) -> MalformedBody:
        self.failure = MalformedBody(f"the form cannot be read: {why}")
        return self.failure


class Part:
    """One part: a `Body` without an announced length."""

    length: int | None = None

    def __init__(self, reader: PartReader, head: PartHead) -> None:
        self.head = head
        self.ended = False  # its end has been seen; there may still be bytes to be taken
        self.taken_bytes = 0
        self._reader = reader
        self._pieces: deque[memoryview] = deque()
        self._held_bytes = 0

    async def wait_readable(self) -> None:
        """See `Body`."""
        if not self._look():
            while not self._look():
                await self._reader.wait_readable()
                self._read_quietly()
        else:
            await trio.lowlevel.checkpoint()

    def receive_nowait(self, into: memoryview) -> int:
        """See `Body`; broken if the form around it is."""
        while not self._pieces:
            if self.ended:
                return 0
            if not self._advance():
                self._reader.read_nowait()
        piece = self._pieces.popleft()
        count = min(len(into), len(piece))
        into[:count] = piece[:count]
        if count < len(piece):
            self._pieces.appendleft(piece[count:])
        self._held_bytes -= count
        self.taken_bytes += count
        return count

    async def gather(self, most_bytes: int) -> bool:
        """Wait until all of it is here, if that is `most_bytes` at most: False if it is more. Cancel-safe;
        whatever was gathered can still be taken. Raises: BodyBroken."""
        while not self.ended and self._held_bytes <= most_bytes:
            if not self._advance():
                await self._reader.read()
        return self._held_bytes <= most_bytes

    @property
    def pieces(self) -> Iterable[memoryview]:
        """What was gathered and not taken."""
        return self._pieces

    @property
    def held_bytes(self) -> int:
        """How much that is."""
        return self._held_bytes

    async def drop(self) -> None:
        """Throw the rest away. Cancel-safe. Raises: BodyBroken."""
        self._clear()
        while not self.ended:
            if not self._advance():
                await self._reader.read()
            self._clear()

    def _clear(self) -> None:
        self._pieces.clear()
        self._held_bytes = 0

    def _look(self) -> bool:
        """Whether `receive_nowait` has something to say."""
        while not self._pieces and not self.ended and self._reader.failure is None:
            try:
                if not self._advance():
                    return False
            except BodyBroken:
                break
        return True

    def _read_quietly(self) -> None:
        with suppress(trio.WouldBlock, BodyBroken):
            self._reader.read_nowait()

    def _advance(self) -> bool:
        """Take what the parser has; False if it needs more bytes."""
        event = self._reader.event_nowait()
        if event is _NOTHING:
            return False
        if isinstance(event, bytes):
            self._pieces.append(memoryview(event))
            self._held_bytes += len(event)
        else:
            self.ended = True
        return True
