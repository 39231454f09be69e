"""The facts of one session as its watchers read them: the newest in memory, older ones in the state store."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from itertools import islice
from typing import Any, Protocol, TypeVar

from penstock.protocol.events import Event, pack, unpack

SAMPLE_BYTES = 700

Frame = TypeVar("Frame", covariant=True)


class Encoder(Protocol[Frame]):
    """Turns events into the frames of one protocol, language and role; `key` tells encoders apart."""

    @property
    def key(self) -> Hashable: ...

    def encode(self, event: Event) -> Frame: ...


class Entry:
    """What goes to watchers in one piece: a fact (with what follows from it at once), or a progress sample.

    Encoded once per encoder and never per watcher.
    """

    __slots__ = ("_frames", "events", "packed", "seq")

    def __init__(self, seq: int, events: tuple[Event, ...], packed: bytes = b"") -> None:
        self.seq = seq
        self.events = events
        self.packed = packed
        self._frames: dict[Hashable, list[Any]] = {}  # of the type that the key's encoder makes

    @property
    def is_sample(self) -> bool:
        """Of progress: it is nowhere stored."""
        return not self.packed

    @property
    def size_bytes(self) -> int:
        """About as much as a frame of it."""
        return len(self.packed) or SAMPLE_BYTES

    @classmethod
    def fact(cls, seq: int, events: tuple[Event, ...]) -> Entry:
        return cls(seq, events, pack(events))

    @classmethod
    def stored(cls, seq: int, packed: bytes) -> Entry:
        return cls(seq, unpack(packed), packed)

    def frames(self, encoder: Encoder[Frame]) -> list[Frame]:
        """One frame per event."""
        frames = self._frames.get(encoder.key)
        if frames is None:
            frames = self._frames[encoder.key] = [encoder.encode(event) for event in self.events]
        return frames


class Ring:
    """The newest facts, at most so many and so many bytes. Sequence numbers have no holes."""

    def __init__(self, seq: int, max_facts: int, max_bytes: int) -> None:
        self._entries: deque[Entry] = deque()
        self._next_seq = seq + 1
        self._bytes = 0
        self._max_facts = max_facts
        self._max_bytes = max_bytes

    @property
    def seq(self) -> int:
        """Of the newest fact."""
        return self._next_seq - 1

    @property
    def first_seq(self) -> int:
        """Of the oldest fact still here; one past the newest when there is none."""
        return self._next_seq - len(self._entries)

    def append(self, entry: Entry) -> None:
        assert entry.seq == self._next_seq, "facts are published in order"
        self._entries.append(entry)
        self._next_seq += 1
        self._bytes += len(entry.packed)
        while len(self._entries) > self._max_facts or (
            self._bytes > self._max_bytes and len(self._entries) > 1
        ):
            self._bytes -= len(self._entries.popleft().packed)

    def after(self, seq: int) -> list[Entry] | None:
        """The facts that follow, None if some of them are not here."""
        if seq + 1 < self.first_seq:
            return None
        return [*islice(self._entries, seq + 1 - self.first_seq, None)]

    def get(self, seq: int) -> Entry | None:
        """The fact of that number, None if it is not here."""
        index = seq - self.first_seq
        return self._entries[index] if 0 <= index < len(self._entries) else None
