"""One upload of one file in any resumable dialect: asks where it is, sends on from there, is sometimes wrong.

A dialect says how to create, ask and append; everything that is the same for all is here.
"""

from __future__ import annotations

import random
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import NamedTuple

import trio

from tests.acceptance.content import Content
from tests.conformance.wire import Answer
from tests.soak.bodies import HONEST, NOTHING, Body, Manner, Sin, stretch
from tests.soak.exchange import Fields
from tests.soak.ledger import Entry
from tests.soak.world import PASSING, PATIENCE_S, GaveUp, Gone, Route, World

KIB = 1024
MIB = 1024 * KIB
MAX_BYTES = 30 * MIB
WITH_DIGEST_BYTES = 1 * MIB  # a request with a digest that breaks begins anew: keep it small


class Order(NamedTuple):
    """What is to be uploaded, by whom, how."""

    world: World
    entry: Entry
    content: Content
    dice: random.Random


def some_size(dice: random.Random) -> int:
    """Most are small, some as large as 30 MiB, one byte comes too."""
    if dice.random() < 0.6:
        return int(2 ** dice.uniform(0, 17))
    return int(2 ** dice.uniform(17, 24.9))


def some_manner(dice: random.Random, length: int) -> Manner:
    """How a body of that length is sent: mostly well."""
    if length == 0 or dice.random() < 0.7:
        return HONEST
    sin = dice.choice((Sin.RESET, Sin.CLOSE, Sin.HALF_CLOSE, Sin.STALL, Sin.SLOW))
    steps = length / (64 * KIB)
    pause_s = min(0.05, 1.5 / max(steps, 1)) if sin is Sin.SLOW else dice.choice((0.3, 1.2, 1.2, 5.0))
    return Manner(sin, dice.randrange(length), pause_s)


class Client(ABC):
    """One file's client. `run` ends when the file is complete; it raises Gone and GaveUp."""

    may_end_it = True

    def __init__(self, order: Order) -> None:
        self.world, self.entry, self.content, self.dice = order
        self.size = order.content.size
        self.complete = False
        self.upload_path: str | None = None  # where the finished file is, if it was told
        self.session_id: str | None = None  # if it has one that is known
        self.file_id = "f"
        self.piece_bytes = self.dice.choice(
            (self.size, self.size, self.size // 2 + 1, max(self.size // 7, 16 * KIB), 256 * KIB)
        )
        self.key = f"{self.world.seed}-{self.entry.number}"

    # What a dialect says

    @abstractmethod
    async def create(self) -> None: ...

    @abstractmethod
    async def where(self) -> int:
        """The offset; sets `complete`. Raises: Gone, GaveUp."""

    @abstractmethod
    def append_request(self, offset: int, stop: int) -> tuple[str, str, Fields]:
        """Method, path and fields of a request that brings these bytes."""

    @abstractmethod
    def digest_field(self, data: bytes) -> tuple[str, str]:
        """The field that says the digest of a body."""

    @abstractmethod
    async def download_path(self) -> str:
        """Where a finished file can be read."""

    @abstractmethod
    async def terminate(self) -> Answer | None:
        """DELETE."""

    @property
    def mistakes(self) -> list[Callable[[int], Awaitable[None]]]:
        return [self._wrong_offset, self._wrong_digest, self._two_writers]

    # The loop

    async def run(self) -> None:
        deadline = trio.current_time() + PATIENCE_S
        offset, seen = await self.where(), -1
        while not self.complete:
            if offset > seen:
                seen, deadline = offset, trio.current_time() + PATIENCE_S
            elif trio.current_time() > deadline:
                raise GaveUp(f"stays at {offset}")
            if self.dice.random() < 0.12:
                await self._be_wrong(offset)
            if self.may_end_it and self.dice.random() < 0.02:
                await self._end_it()
            stop = min(offset + self.piece_bytes, self.size)
            answer = await self.append(offset, stop)
            if answer is not None and answer.ok and self._ended(answer, stop):
                offset = min(stop, self.size)
                self.complete |= offset == self.size
            else:
                offset = await self.where()

    async def _end_it(self) -> None:
        """The client itself does not want it any more. Raises: Gone."""
        self.world.ledger.counts["terminations"] += 1
        self.entry.cancel_asked = True
        answer = await self.world.insist(self.terminate, f"DELETE of {self.entry}")
        raise Gone(str(answer))

    def _ended(self, answer: Answer, stop: int) -> bool:
        """Whether the answer says that the piece is stored: then there is nothing to ask."""
        return self.complete or (answer.get("upload-offset") == str(stop) and stop < self.size)

    async def append(self, offset: int, stop: int) -> Answer | None:
        """A piece, with a digest if it is small and the dice say so."""
        fields: Fields = []
        if stop - offset <= WITH_DIGEST_BYTES and self.dice.random() < 0.3:
            data = b"".join(self.content.pieces(offset, stop))
            fields = [self.digest_field(data)]
            self.world.ledger.counts["with a digest"] += 1
        body = stretch(self.content, offset, stop, self.note_sent)
        manner = some_manner(self.dice, stop - offset)
        began = time.time()
        answer = await self.send(offset, stop, body, fields, manner)
        if answer is not None and not answer.ok:
            self._judge(answer, manner, began)
        elif answer is not None:
            self.take_final(answer)
        else:
            await trio.sleep(self.dice.uniform(0.05, 0.3))
        return answer

    def _judge(self, answer: Answer, manner: Manner, began: float) -> None:
        """Refusals of a piece that was right. Raises: Gone, GaveUp."""
        if answer.status in (404, 410):
            raise Gone(str(answer))
        late = manner.sin in (Sin.HALF_CLOSE, Sin.STALL) or self.world.excuses.between(began, time.time())
        if answer.status not in PASSING and not (late and answer.status in (400, 408)):
            raise GaveUp(f"{manner.sin}, refused: {answer}")

    def take_final(self, answer: Answer) -> None:  # noqa: B027  # tus answers with no more than an offset
        """An answer that may say that the file is complete, and where it is."""

    async def send(
        self, offset: int, stop: int, body: Body, fields: Fields, manner: Manner = HONEST
    ) -> Answer | None:
        method, path, own = self.append_request(offset, stop)
        return await self.ask(method, path, [*own, *fields], body, manner)

    async def ask(
        self,
        method: str,
        path: str,
        fields: Fields,
        body: Body = NOTHING,
        manner: Manner = HONEST,
    ) -> Answer | None:
        """A request about this file: every offset that comes back is noted."""
        floor = self.entry.announced

        def hear(answer: Answer) -> None:
            offset, attempt = answer.get("upload-offset"), answer.get("upload-attempt")
            if offset is not None:
                self.entry.announce(int(offset), floor, None if attempt is None else int(attempt))

        route = self.dice.choices((Route.DIRECT, Route.HTTP2, Route.ROUGH), (5, 2, 3))[0]
        self.world.ledger.counts[f"requests, {route}"] += 1
        answer = await self.world.ask(method, path, fields, body, manner, hear, route)
        if answer is not None:
            hear(answer)
        return answer

    def note_sent(self, position: int) -> None:
        self.world.ledger.sent_bytes += max(0, position - self.entry.sent)
        self.entry.note_sent(position)

    # Being wrong

    async def _be_wrong(self, offset: int) -> None:
        mistake = self.dice.choice(self.mistakes)
        self.world.ledger.counts[mistake.__name__.strip("_").replace("_", " ")] += 1
        await mistake(offset)

    async def _wrong_offset(self, offset: int) -> None:
        """Bytes that do not belong where the file is. They must not count."""
        wrong = offset + self.dice.randint(1, 1000)
        if wrong >= self.size:
            return
        stop = min(wrong + 1000, self.size)
        answer = await self.send(wrong, stop, Body(stop - wrong, (b"?" * (stop - wrong),)), [])
        self.must_be_refused(answer, "a wrong offset")

    async def _wrong_digest(self, offset: int) -> None:
        """Bytes that were damaged on their way: the digest is that of the right ones."""
        stop = min(offset + self.dice.randint(1, 100_000), self.size)
        if stop == offset:
            return
        right = b"".join(self.content.pieces(offset, stop))
        damaged = bytes([right[0] ^ 1]) + right[1:]
        answer = await self.send(offset, stop, Body(len(damaged), (damaged,)), [self.digest_field(right)])
        self.must_be_refused(answer, "a wrong digest")

    def must_be_refused(self, answer: Answer | None, what: str) -> None:
        if answer is not None and answer.ok:
            self.entry.problem(f"{what} was taken: {answer}")

    async def _two_writers(self, offset: int) -> None:
        """The same bytes twice at once: whoever wins, each lands once."""
        stop = min(offset + self.piece_bytes, self.size)
        if stop == offset:
            return

        async def write() -> None:
            await self.send(offset, stop, stretch(self.content, offset, stop, self.note_sent), [])

        async with trio.open_nursery() as nursery:
            nursery.start_soon(write)
            nursery.start_soon(write)
