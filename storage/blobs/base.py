"""The contract of a blob store: where an upload's bytes are, and what is durable when.

A blob is named by a `key` of our own making (`[0-9a-f.]`), lies among the incoming ones while it grows, and
is published once under `category/name` (also our own making: never client text). A malformed key, category
or name is a ValueError. The file says how much is there; the state store's row says how much is promised.
"Durable" is as far as the `fsync` setting asks. `tests/contract/` holds what every store must pass.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol


class Hash(Protocol):
    """What a write feeds as it goes: anything with hashlib's `update`."""

    def update(self, data: memoryview, /) -> None: ...


class BlobWriter(Protocol):
    """An open blob, written front to back by one task at a time."""

    @property
    def written(self) -> int:
        """Bytes in the blob so far: where the next write goes."""

    async def write(self, data: memoryview, *, sync: bool = False, hashes: Sequence[Hash] = ()) -> None:
        """Append all of `data`, feed the hashes, and (with `sync`) make every byte durable, all in one hop.

        Not cancellable once begun; `data` may be reused when it returns.
        Raises: StoreFull (what did fit was cut off again: `written` is as before, no hash was fed),
        StoreError, BlobFault when the sync failed, now or earlier: a second try could not be believed.
        """

    async def pour(
        self,
        buffer: memoryview,
        filled: int,
        refill: Callable[[memoryview], int],
        *,
        hashes: Sequence[Hash] = (),
    ) -> None:
        """Append the first `filled` bytes of a buffer, then, in the same hop, as many as `refill(buffer)`
        says it has put there, again and again until it says 0.

        `refill` is called in a worker thread, blocks and does not raise; how long this takes is its business.
        Otherwise as `write`: an error leaves in the buffer what it was about to append.
        """

    async def copy_from(self, source: str, start: int, count: int) -> None:
        """Append `count` bytes of the incoming blob `source`, from `start`, in one hop; nothing is synced.

        Not cancellable once begun, and what is not shared (see `sharing_block`) takes its time: ask for no
        more at once than can be waited for.
        Raises: BlobMissing when there is no such blob, BlobFault when it is shorter or an earlier sync of
        this one failed, StoreFull, StoreError; `written` is then as before.
        """

    async def sync(self) -> None:
        """Make every byte written so far durable. Raises: BlobFault, now and ever after."""

    async def aclose(self) -> None:
        """Give the descriptor back. Idempotent; not cancellable."""


class BlobReader(Protocol):
    """A published blob, open for reading; what it shows does not change while it is open."""

    size: int

    async def read_at(self, offset: int, max_bytes: int) -> bytes:
        """Up to `max_bytes` from `offset`, in one hop; b"" at the end."""

    async def aclose(self) -> None:
        """Give the descriptor back. Idempotent."""


class SmallBlob(NamedTuple):
    """A whole blob that is stored at once."""

    key: str
    name: str  # the final one
    data: memoryview


class BlobStore(Protocol):
    """Incoming and published blobs. All calls raise StoreError when the store itself is in trouble."""

    async def open_writer(self, key: str, *, at: int) -> BlobWriter:
        """Open a blob for appending at `at`; at 0 a missing one is created and its name made durable.

        Raises: BlobMissing (at > 0), BlobFault when the blob is shorter than `at`. A longer one is cut.
        """

    async def size(self, key: str) -> int | None:
        """Bytes in an incoming blob, None when there is none."""

    async def cut(self, key: str, end: int) -> None:
        """Truncate to `end` and make that durable. Raises: BlobMissing, BlobFault when it is shorter."""

    async def feed(self, key: str, hash_: Hash, start: int, max_bytes: int) -> int:
        """Feed up to `max_bytes` of an incoming blob, from `start`, to a hash, in one hop.

        Returns how many there were, 0 at the end. Not cancellable once begun. After an error some of them
        were fed: the hash is of no more use. Raises: BlobMissing.
        """

    async def sharing_block(self) -> int | None:
        """The block size in which `copy_from` shares bytes instead of copying them; None: it does not.

        Shared are whole blocks, if `start` and the writer's `written` are equal modulo this size; what lies
        before and behind them is copied.
        """

    async def publish(self, key: str, category: str, name: str) -> None:
        """Sync the blob, give it its final name, make that durable. Repeatable after a crash at any step.

        Raises: BlobMissing when neither the incoming nor the published blob is there, or no such category;
        BlobFault when the name is taken by another blob, or the sync failed.
        """

    async def store_small(self, category: str, blobs: Sequence[SmallBlob]) -> None:
        """Create, write and publish many blobs in one hop, all or none; one sync for all their names.

        Not cancellable once begun; a crash in between leaves some of them.
        Raises: StoreFull, StoreError, BlobMissing when there is no such category, BlobFault when a name is
        taken or a sync failed.
        """

    async def delete(self, key: str) -> None:
        """Remove an incoming blob; none there is fine."""

    async def unpublish(self, category: str, name: str) -> None:
        """Remove a published blob; none there is fine."""

    async def open_published(self, category: str, name: str) -> BlobReader:
        """Raises: BlobMissing."""

    async def incoming(self) -> list[tuple[str, float]]:
        """Every incoming blob: (key, last change in Unix seconds)."""

    async def published(self) -> list[tuple[str, str, float]]:
        """Every published blob: (category, name, last change in Unix seconds)."""

    async def free_bytes(self) -> int:
        """Bytes that can still be stored."""
