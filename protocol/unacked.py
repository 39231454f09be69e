"""What was sent and not yet acknowledged: sent again every five seconds, three times, then given up."""

from __future__ import annotations

import math
from typing import Generic, TypeVar

T = TypeVar("T")

WAIT_S = 5.0
TIMES = 3
MOST = 256  # per connection: beyond it the oldest is given up, for a client that never acknowledges


class Unacked(Generic[T]):
    """Messages by their id; `T` is whatever is needed to send one again."""

    def __init__(self) -> None:
        self._waiting: dict[str, tuple[float, int, T]] = {}  # by when they are due: each waits equally long

    def __len__(self) -> int:
        return len(self._waiting)

    def sent(self, message_id: str, message: T, now: float, times_left: int = TIMES) -> None:
        """Note a message that was just sent (once more)."""
        self._waiting.pop(message_id, None)
        self._waiting[message_id] = (now + WAIT_S, times_left, message)
        if len(self._waiting) > MOST:
            del self._waiting[next(iter(self._waiting))]

    def acked(self, message_id: str) -> None:
        """The client has it. Unknown ids are fine: it may come twice, or late."""
        self._waiting.pop(message_id, None)

    def due_at(self) -> float:
        """When `take_due` will have something; infinity when nothing waits."""
        return next((due_at for due_at, _, _ in self._waiting.values()), math.inf)

    def take_due(self, now: float) -> list[T]:
        """What is to be sent again now; noted as sent."""
        due: list[T] = []
        while self.due_at() <= now:
            message_id = next(iter(self._waiting))
            _, times_left, message = self._waiting.pop(message_id)
            due.append(message)
            if times_left > 1:
                self.sent(message_id, message, now, times_left - 1)
        return due
