"""Room on the disk: declared bytes are reserved at registration, so that nobody is refused half way."""

from __future__ import annotations

from penstock.protocol.errors import InsufficientStorage
from penstock.storage.blobs.base import BlobStore


class Space:
    """Counts declared bytes that are still to be stored against what the store can take."""

    def __init__(self, blobs: BlobStore, reserved_bytes: int) -> None:
        self._blobs = blobs
        self.reserved_bytes = reserved_bytes

    def reserve(self, count_bytes: int) -> None:
        self.reserved_bytes += count_bytes

    def release(self, count_bytes: int) -> None:
        self.reserved_bytes -= count_bytes

    async def check(self, wanted_bytes: int) -> None:
        """Raises: InsufficientStorage when that many more declared bytes would not fit."""
        if wanted_bytes <= 0:
            return
        free = await self._blobs.free_bytes() - self.reserved_bytes
        if wanted_bytes > free:
            raise InsufficientStorage(
                f"{wanted_bytes} bytes are declared, {max(free, 0)} can still be stored; try again later",
                details={"availableBytes": max(free, 0)},
            )
