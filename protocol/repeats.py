"""Commands that come again: a client that lost its connection before the ack may repeat what it asked for.

It gets the first answer, and the command is not run twice. Only what was done is kept: a refusal changed
nothing, so asking again is a new attempt.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, NamedTuple

import msgspec

from penstock.protocol.commands import Command

KEPT_S = 600.0
MOST = 256  # per client and session
MAX_BYTES = 4 * 1024 * 1024  # in total; beyond it the client that was silent longest is forgotten


class Asker(NamedTuple):
    subject: str
    client_id: str
    session_id: str


class _Kept(NamedTuple):
    at: float
    command: Command
    answer: dict[str, Any]
    bytes: int


class Repeats:
    """The answers of the last ten minutes."""

    def __init__(self) -> None:
        self._by_asker: OrderedDict[Asker, dict[str, _Kept]] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return sum(map(len, self._by_asker.values()))

    def find(self, asker: Asker, message_id: str, command: Command, now: float) -> dict[str, Any] | None:
        """The answer this very command had under this id; another command is not a repetition."""
        kept = self._by_asker.get(asker, {}).get(message_id)
        if kept is None or kept.command != command or now - kept.at > KEPT_S:
            return None
        return kept.answer

    def keep(
        self, asker: Asker, message_id: str, command: Command, answer: dict[str, Any], now: float
    ) -> None:
        """Note an answer."""
        kept = self._by_asker.setdefault(asker, {})
        self._by_asker.move_to_end(asker)
        size = len(msgspec.json.encode((command, answer)))
        self._forget(kept.pop(message_id, None))
        kept[message_id] = _Kept(now, command, answer, size)
        self._bytes += size
        if len(kept) > MOST:
            self._forget(kept.pop(next(iter(kept))))
        self._tidy(now)

    def _tidy(self, now: float) -> None:
        while self._by_asker:
            oldest = next(iter(self._by_asker.values()))
            last_at = next(reversed(oldest.values())).at
            if self._bytes <= MAX_BYTES and now - last_at <= KEPT_S:
                return
            _, forgotten = self._by_asker.popitem(last=False)
            for kept in forgotten.values():
                self._forget(kept)

    def _forget(self, kept: _Kept | None) -> None:
        self._bytes -= kept.bytes if kept else 0
