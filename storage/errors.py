"""What a store can say went wrong."""

from __future__ import annotations


class StoreError(Exception):
    """A store failed (I/O error, locked database, vanished directory). What it was asked may not be done."""


class StoreFull(StoreError):
    """No space left on the device (or over a quota)."""


class BlobFault(StoreError):
    """The bytes are not what the row promises: fewer than were synced, or their sync failed.

    Never papered over: the file fails.
    """


class BlobMissing(StoreError):
    """There is no blob of that name."""
