"""A body whose size is known from elsewhere than its own framing."""

from __future__ import annotations

from penstock.server.peer import Body, BodyBroken


class ExactBody:
    """Hands out `expected` bytes of another body, and is broken unless that one then ends."""

    length: int | None = None  # its end is only known when it was seen

    def __init__(self, body: Body, expected: int) -> None:
        self._body = body
        self._expected = expected
        self._left = expected

    async def wait_readable(self) -> None:
        await self._body.wait_readable()

    def receive_nowait(self, into: memoryview) -> int:
        """As the other body's. Raises also: BodyBroken when that one is shorter or longer."""
        count = self._body.receive_nowait(into[: self._left] if self._left else memoryview(bytearray(1)))
        if bool(count) != bool(self._left):
            more = "fewer" if self._left else "more"
            raise BodyBroken(f"{more} bytes came than the {self._expected} announced")
        self._left -= count
        return count
