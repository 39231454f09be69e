"""One file from its first byte to its end: sends, waits, asks how far it came, goes on. Knows no dialect."""

from __future__ import annotations

import trio

from penstock.protocol.snapshot import FileView
from penstock.server.client.dialect import Append, Target, TusDialect, Where
from penstock.server.client.errors import Again
from penstock.server.client.numbers import FileNumbers
from penstock.server.client.patience import Patience
from penstock.server.client.sources import Source

LOOK_EVERY_S = 5.0  # at a paused file: should the news of its resume be lost


class Transfer:
    """`is_new`: the server cannot have any of the bytes yet."""

    def __init__(
        self,
        dialect: TusDialect,
        source: Source,
        target: Target,
        numbers: FileNumbers,
        *,
        is_new: bool,
        give_up_s: float,
    ) -> None:
        self._dialect = dialect
        self._source = source
        self._target = target
        self._numbers = numbers
        self._where: Where | None = Where(0) if is_new else None
        self._seen = 0
        self._give_up_s = give_up_s

    async def run(self) -> FileView:
        """Until the server has the whole file. Cancel-safe: what is there stays, another run goes on.

        Raises: Stopped (cancelled by somebody), Refused, SourceError, Unreachable (no progress for long).
        """
        patience = Patience(self._give_up_s)
        while True:
            try:
                where = self._where or await self._dialect.where(self._target)
                self._note(where, patience)
                if where.view is not None:
                    return where.view
                self._where = None  # to be asked for, should the next step not say
                if self._numbers.paused:
                    await self._wait_resumed(patience)
                else:
                    self._where = await self._append(where.offset)
            except Again as trouble:
                await patience.wait(trouble)

    async def _append(self, offset: int) -> Where:
        piece = await self._source.piece(offset)
        if self._numbers.paused:  # since a moment ago: a request would be held, and its bytes refused at last
            return Where(offset)
        append = Append()
        with self._numbers.sending(append.set_paused):
            return await self._dialect.append(self._target, piece, append)

    def _note(self, where: Where, patience: Patience) -> None:
        """An offset beyond any seen before is progress; connections may break as often as they like."""
        self._numbers.note_offset(where.offset, paused=where.paused)
        if where.offset > self._seen:
            self._seen = where.offset
            patience.reset()

    async def _wait_resumed(self, patience: Patience) -> None:
        with trio.move_on_after(LOOK_EVERY_S):
            await self._numbers.wait_resumed()
        patience.reset()  # a pause may last as long as its owner likes
