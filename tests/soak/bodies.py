"""Bodies of requests, and the ways in which a client sends them wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from tests.acceptance.content import Content

STEP_BYTES = 64 * 1024


class Sin(StrEnum):
    NONE = "none"
    RESET = "reset"  # RST, or RST_STREAM on HTTP/2
    CLOSE = "close"  # FIN in the middle of the body, and nobody reads the answer
    HALF_CLOSE = "half-close"  # FIN, and somebody does
    STALL = "stall"  # nothing for a while, then on
    SLOW = "slow"  # a thin line


ENDS = (Sin.RESET, Sin.CLOSE, Sin.HALF_CLOSE)  # whoever does this has no right to an answer


@dataclass(frozen=True)
class Manner:
    """How a body is sent."""

    sin: Sin = Sin.NONE
    at_byte: int = 0  # of the body: where it happens
    pause_s: float = 0.0  # of a stall; of a slow client after each step


HONEST = Manner()


@dataclass(frozen=True)
class Body:
    """Bytes of a known number. `note` hears what will have been sent in a moment, in total."""

    length: int
    pieces: Iterable[bytes]
    note: Callable[[int], None] = lambda sent: None


NOTHING = Body(0, ())

Step = bytes | float | Sin
"""Send it; wait so long; end the connection that way."""


def stretch(content: Content, start: int, stop: int, note: Callable[[int], None]) -> Body:
    """A part of the content; `note` hears positions in it."""
    return Body(stop - start, content.pieces(start, stop, STEP_BYTES), lambda sent: note(start + sent))


def script(body: Body, manner: Manner) -> Iterator[Step]:
    """What to do, one after the other."""
    sent = 0
    waiting = manner.sin not in (Sin.NONE, Sin.SLOW)
    for piece in body.pieces:
        rest = piece
        if waiting and sent + len(piece) > manner.at_byte:
            waiting = False
            before, rest = piece[: manner.at_byte - sent], piece[manner.at_byte - sent :]
            body.note(sent + len(before))
            yield before
            sent += len(before)
            if manner.sin in ENDS:
                yield manner.sin
                return
            yield manner.pause_s
        body.note(sent + len(rest))
        yield rest
        sent += len(rest)
        if manner.sin is Sin.SLOW:
            yield manner.pause_s
