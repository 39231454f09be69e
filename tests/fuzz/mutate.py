"""Seeded changes to bytes, and seeded cuts into pieces: the same seed makes the same ones."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from random import Random
from zlib import crc32

# What parsers in general trip over; a target adds the pieces of its own grammar.
TOKENS = (
    *(b"\0", b"\r\n", b"\n", b"\t", b" ", b'"', b"\\", b"%", b"%00", b"%2f", b"\x7f", b"\xff"),
    *(b"0", b"-1", b"+1", b"1e9", b"NaN", b"9223372036854775807", b"9223372036854775808", b"9" * 400),
    "é\u202e\u0301😀".encode(),
    b"\xc0\xaf",  # an overlong slash
    b"\xed\xa0\x80",  # a surrogate in UTF-8
    b"\xd9\xa3",  # ARABIC-INDIC DIGIT THREE: str.isdigit() is true of it
    b"\xef\xbb\xbf",  # a byte order mark
    b"../",
)
MOST_CHANGES = 4

Change = Callable[[Random, bytes, "Mutator"], bytes]


class Mutator:
    """Makes inputs out of others, none longer than `max_bytes`."""

    def __init__(self, rng: Random, tokens: Sequence[bytes], max_bytes: int) -> None:
        self._rng = rng
        self._max_bytes = max_bytes
        self.tokens = (*tokens, *tokens, *TOKENS)  # the grammar's own twice as often
        self.others: Sequence[bytes] = ()

    def mutated(self, corpus: Sequence[bytes]) -> bytes:
        """One item, changed in one to four ways."""
        self.others = corpus
        data = self._rng.choice(corpus)
        for _ in range(self._rng.randint(1, MOST_CHANGES)):
            data = self._rng.choice(CHANGES)(self._rng, data, self)[: self._max_bytes]
        return data


def cut(data: bytes, most: int = 8) -> list[bytes]:
    """The same bytes in up to `most` pieces, the same ones each time; none is empty."""
    rng = Random(crc32(data))
    edges = sorted({0, len(data), *(rng.randint(0, len(data)) for _ in range(rng.randrange(most)))})
    return [data[start:end] for start, end in itertools.pairwise(edges)]


def _span(rng: Random, data: bytes) -> tuple[int, int]:
    """Somewhere in it, mostly short."""
    start = rng.randint(0, len(data))
    return start, min(len(data), start + rng.choice((1, 1, 2, 4, 8, 32, 256)))


def _flip_bit(rng: Random, data: bytes, _: Mutator) -> bytes:
    return _replaced(rng, data, lambda byte: byte ^ (1 << rng.randrange(8)))


def _set_byte(rng: Random, data: bytes, _: Mutator) -> bytes:
    return _replaced(rng, data, lambda _: rng.randrange(256))


def _replaced(rng: Random, data: bytes, change: Callable[[int], int]) -> bytes:
    if not data:
        return data
    at = rng.randrange(len(data))
    return data[:at] + bytes([change(data[at])]) + data[at + 1 :]


def _insert_token(rng: Random, data: bytes, mutator: Mutator) -> bytes:
    at = rng.randint(0, len(data))
    return data[:at] + rng.choice(mutator.tokens) + data[at:]


def _overwrite_with_token(rng: Random, data: bytes, mutator: Mutator) -> bytes:
    start, end = _span(rng, data)
    return data[:start] + rng.choice(mutator.tokens) + data[end:]


def _delete(rng: Random, data: bytes, _: Mutator) -> bytes:
    start, end = _span(rng, data)
    return data[:start] + data[end:]


def _duplicate(rng: Random, data: bytes, _: Mutator) -> bytes:
    start, end = _span(rng, data)
    at = rng.randint(0, len(data))
    return data[:at] + data[start:end] + data[at:]


def _duplicate_line(rng: Random, data: bytes, _: Mutator) -> bytes:
    lines = data.splitlines(keepends=True)
    if lines:
        lines.insert(rng.randint(0, len(lines)), rng.choice(lines))
    return b"".join(lines)


def _repeat(rng: Random, data: bytes, _: Mutator) -> bytes:
    start, end = _span(rng, data)
    return data[:start] + data[start:end] * rng.choice((2, 3, 17, 101, 1025)) + data[end:]


def _splice(rng: Random, data: bytes, mutator: Mutator) -> bytes:
    other = rng.choice(mutator.others)
    return data[: rng.randint(0, len(data))] + other[rng.randint(0, len(other)) :]


def _truncate(rng: Random, data: bytes, _: Mutator) -> bytes:
    return data[: rng.randint(0, len(data))]


CHANGES: tuple[Change, ...] = (
    _flip_bit,
    _set_byte,
    _insert_token,
    _insert_token,
    _overwrite_with_token,
    _delete,
    _duplicate,
    _duplicate_line,
    _repeat,
    _splice,
    _truncate,
)
