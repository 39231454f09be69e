"""tus in parallel: partial uploads at once, then the file that is made of them."""

from __future__ import annotations

from contextlib import suppress
from itertools import pairwise

import trio

from tests.soak.client import Order
from tests.soak.dialects import Tus
from tests.soak.ledger import Fate
from tests.soak.slices import Slice
from tests.soak.world import Gone


class Partial(Tus):
    """One of the parts. Nobody is told of it, and it goes when the file is there."""

    may_end_it = False

    def __init__(self, order: Order, name: str) -> None:
        super().__init__(order)
        self.key = f"{self.key}-{name}"

    async def create(self) -> None:
        await self.post({}, [("Upload-Length", str(self.size)), ("Upload-Concat", "partial")])


class Parallel(Tus):
    async def create(self) -> None:
        """The parts come first."""

    async def run(self) -> None:
        parts = [Partial(self._part(start, stop), str(start)) for start, stop in self._cuts() if stop > start]
        async with trio.open_nursery() as nursery:
            for part in parts:
                nursery.start_soon(_whole, part)
        await self._concatenate(parts)
        self.complete = True
        for part in parts:
            await self._drop(part)

    def _cuts(self) -> list[tuple[int, int]]:
        count = self.dice.randint(2, 4)
        points = [0, *sorted(self.dice.randrange(self.size + 1) for _ in range(count - 1)), self.size]
        return list(pairwise(points))

    def _part(self, start: int, stop: int) -> Order:
        content = Slice(self.content, start, stop - start)
        return Order(self.world, self.world.ledger.enter("tus partial", content.size), content, self.dice)

    async def _concatenate(self, parts: list[Partial]) -> None:
        self.entry.note_sent(self.size)
        await self.post({}, [("Upload-Concat", "final;" + " ".join(part.path for part in parts))])

    async def _drop(self, part: Partial) -> None:
        """A part is over when its bytes are gone; they were compared as a part of the file."""
        with suppress(Gone):  # it went before, when the answer was lost
            await self.world.insist(part.terminate, f"DELETE of {part.entry}")
        part.entry.end(Fate.USED)
        part.entry.let_go()


async def _whole(part: Partial) -> None:
    await part.create()
    await part.run()
