"""A file put together from partials: an append whose bytes come from other blobs, not from a peer.

Because it is an append like any other it can be paused, cancelled and cut by a crash at any step, and a
repetition goes on where it was left.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from penstock.protocol.errors import InvalidMessage
from penstock.server.settings import MIB
from penstock.server.uploads.append import Append
from penstock.storage.blobs.base import BlobWriter
from penstock.storage.errors import BlobMissing

STEP_BYTES = 64 * MIB  # copied in one hop: a cancel waits for one step at most


class Piece(NamedTuple):
    """Part of an incoming blob."""

    key: str
    start: int
    count_bytes: int


async def assemble(append: Append, pieces: Sequence[Piece], writer: BlobWriter) -> None:
    """Append what is missing of the pieces, in order. On a stop it returns, see `append.stop_reason`.

    Raises: StoreError; InvalidMessage when one of the pieces is gone.
    """
    append.sink.writer = writer
    with append.fresh_scope():
        for step in _steps(pieces, writer.written):
            await append.pass_gate()
            if append.taken_bytes == 0:
                await append.on_first_byte()
            try:
                await writer.copy_from(*step)
            except BlobMissing:
                raise InvalidMessage("Upload-Concat: a partial upload was removed meanwhile") from None
            append.took_elsewhere(step.count_bytes)
            await append.sink.wrote_elsewhere(step.count_bytes)


def bytes_to_copy(pieces: Sequence[Piece], sharing_block_bytes: int | None) -> int:
    """How many bytes of whole partials the file system cannot share: it shares only blocks that lie alike."""
    if sharing_block_bytes is None:
        return sum(piece.count_bytes for piece in pieces)
    copied, at = 0, 0
    for piece in pieces:
        is_aligned = at % sharing_block_bytes == 0
        copied += piece.count_bytes % sharing_block_bytes if is_aligned else piece.count_bytes
        at += piece.count_bytes
    return copied


def _steps(pieces: Sequence[Piece], done_bytes: int) -> Iterator[Piece]:
    """What is left after the first `done_bytes`, in steps of bounded size."""
    for key, start, count in pieces:
        skipped = min(done_bytes, count)
        done_bytes -= skipped
        for at in range(start + skipped, start + count, STEP_BYTES):
            yield Piece(key, at, min(STEP_BYTES, start + count - at))
