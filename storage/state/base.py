"""The contract of a state store: rows, facts, and commits of several changes at once.

A commit is a tuple of typed changes, applied whole or not at all, in the order commits were asked for.
`hard` commits survive a power cut, soft ones a kill. Times are Unix seconds. `tests/contract/` holds what
every store must pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from penstock.protocol.lifecycle import State


class SessionRow(msgspec.Struct, kw_only=True):
    """A group of files that is watched and commanded together."""

    session_id: str
    watch_key: str  # what share links carry; unique
    category: str
    subject: str  # whose it is; "" where nobody has a name (auth = none)
    created_at: float
    active_at: float  # the last stored byte or command
    open: bool = False  # registration goes on until `complete`
    latch: bool = False  # the session-wide pause
    seq: int = 0  # of the last fact
    ended_at: float | None = None  # set while session-completed holds
    metadata: dict[str, str] = {}
    hidden: bool = False  # only there to hold a partial that is part of no file: nobody is told of it


class FileRow(msgspec.Struct, kw_only=True):
    """One file of a session: what is promised about its bytes, and how it stands."""

    session_id: str
    file_id: str
    position: int  # order of registration, from 0
    upload_id: str  # 128 random bits in hex: the name of its bytes, and of its upload URL
    file_name: str  # the client's own, shown only
    file_type: str
    file_size: int | None  # None until known
    size_is_declared: bool = False  # by the client, so it binds every attempt; not read off a body
    state: State = State.PENDING
    attempt: int = 1
    fence: int = 0  # of the last lease: a commit with an older one is refused
    synced: int = 0  # bytes promised: committed after they were durable
    floor: int | None = None  # set while an append that carries a digest is unverified
    promise: str = "append"  # the fsync setting the bytes were written under
    boot_id: str = ""  # the kernel's, when it was made, or its last append began
    broke_off: bool = False
    retry_count: int = 0  # breaks in a row that added no byte
    resumable_after_failure: bool = False  # failed by the retry limit: an exact offset goes on
    exempt: bool = False  # from the session latch
    stored_name: str | None = None  # of the final place, fixed when finishing begins
    started_at: float | None = None
    ended_at: float | None = None
    error_code: str | None = None
    error_message: str | None = None
    digest: str | None = None  # of the whole file, once it is known: "sha-256=:…:"
    digest_wanted: str = ""  # of the whole file at its end: "sha-256", or "sha-256=:…:" where it must be this
    upload_metadata: str | None = None  # tus: the header as it came, to be echoed
    upload_concat: str | None = None  # tus: "partial", or "final;…" as it came
    part_of: str | None = None  # a partial's file in the same session
    stays_open: bool = False  # having all bytes does not complete it: its client says so when it is
    final_offset: int | None = None  # where the append that completed it began
    removed: bool = False  # by its own client, over its upload URL: gone at once, also when it was finished

    @property
    def is_partial(self) -> bool:
        """Whether it is only there to become a piece of other files, and no file by itself."""
        return self.upload_concat == "partial"

    @property
    def is_final(self) -> bool:
        """Whether it is put together from partials."""
        return self.upload_concat is not None and not self.is_partial

    @property
    def blob_key(self) -> str:
        """The name of this attempt's bytes."""
        return f"{self.upload_id}.{self.attempt}"


class FinishedRow(msgspec.Struct, kw_only=True):
    """A published file: outlives its session's rows, goes with its bytes."""

    category: str
    stored_name: str
    subject: str
    file_name: str
    file_type: str
    file_size: int
    completed_at: float
    digest: str | None = None


class AnswerRow(msgspec.Struct, kw_only=True):
    """The first answer given under an Idempotency-Key."""

    scope: str  # subject, method and path
    key: str
    fingerprint: str  # of the request that was answered
    session_id: str
    status: int
    body: bytes
    created_at: float


class SaveSession(msgspec.Struct, frozen=True):
    """A `watch_key` belongs to one session (StoreError otherwise)."""

    row: SessionRow


class SaveFile(msgspec.Struct, frozen=True):
    """Refused, with the whole commit, when the stored row has a higher fence (StaleFence).

    An `upload_id` belongs to one file (StoreError otherwise).
    """

    row: FileRow


class AddFact(msgspec.Struct, frozen=True):
    """One fact of a session; `payload` is opaque here (encoded events, writer's view).

    A seq is added once (StoreError otherwise). Of each session at least the newest `kept_facts` stay.
    """

    session_id: str
    seq: int
    payload: bytes


class SaveFinished(msgspec.Struct, frozen=True):
    row: FinishedRow


class DropFinished(msgspec.Struct, frozen=True):
    category: str
    stored_name: str


class DropSession(msgspec.Struct, frozen=True):
    """The session's row, its files' rows, its facts and its idempotent answers."""

    session_id: str


class SaveAnswer(msgspec.Struct, frozen=True):
    row: AnswerRow


class DropAnswers(msgspec.Struct, frozen=True):
    created_before: float


Change = (
    SaveSession | SaveFile | AddFact | SaveFinished | DropFinished | DropSession | SaveAnswer | DropAnswers
)


class StaleFence(Exception):
    """A commit came from a lease that somebody else has taken over since. Nothing was changed."""


class StateStore(Protocol):
    """Durable rows. All calls raise `storage.errors.StoreError` when the store itself is in trouble."""

    born_at: float  # when the database was made: bytes that are older are none of its orphans
    epoch: str  # random; new with a new database and after an unclean reboot
    boot_id: str  # of the running kernel: bytes written under another one have seen a reboot

    async def commit(self, changes: Sequence[Change], *, hard: bool) -> None:
        """Apply all changes or none. Rows are copied before this first yields; not cancellable once begun.

        Behind a commit that failed, those of its session that were asked for before anybody could know fail
        as well: its facts have no hole. A `Save…` replaces the row of the same key, if there is one. A read
        that begins after this has returned sees the changes. Raises: StaleFence, StoreError.
        """

    async def load_session(self, session_id: str) -> tuple[SessionRow, list[FileRow]] | None:
        """A session and its files in order of registration."""

    async def facts(self, session_id: str, *, after: int, limit: int) -> list[tuple[int, bytes]]:
        """Facts with seq > after, in order: (seq, payload)."""

    async def oldest_fact(self, session_id: str) -> int | None:
        """The lowest seq still kept."""

    async def find_watched(self, watch_key: str) -> str | None:
        """The session_id behind a watch key."""

    async def find_upload(self, upload_id: str) -> tuple[str, str] | None:
        """(session_id, file_id) of an upload."""

    async def find_finished(self, category: str, stored_name: str) -> FinishedRow | None: ...

    async def find_answer(self, scope: str, key: str) -> AnswerRow | None: ...

    async def unfinished_sessions(self, *, active_before: float, limit: int) -> list[str]:
        """Ids of sessions without `ended_at` whose last activity is older, oldest first."""

    async def ended_sessions(self, *, ended_before: float, limit: int) -> list[str]:
        """Ids of sessions whose `ended_at` is older, oldest first."""

    async def finished_before(self, *, completed_before: float, limit: int) -> list[FinishedRow]:
        """Published files older than that, oldest first."""

    async def finishing_files(self) -> list[tuple[str, str]]:
        """(session_id, file_id) of every file in state finishing: a crash may have interrupted them."""

    async def known_blobs(self, keys: Sequence[str]) -> set[str]:
        """Those of the given keys that are the current attempt of a file that has not ended, or may go on
        after a failure."""

    async def known_names(self, names: Sequence[tuple[str, str]]) -> set[tuple[str, str]]:
        """Those of the given (category, stored_name) that are finished, or of a file in state finishing."""

    async def reserved_bytes(self) -> int:
        """Sum over unended files of declared size minus synced bytes (never below 0)."""

    async def counts(self) -> dict[str, int]:
        """Rows per table, for operation and tests."""
