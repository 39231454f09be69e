"""Pages of files: never too big, whatever files are called, and every file on exactly one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from penstock.protocol.errors import InvalidMessage
from penstock.protocol.events import ErrorInfo
from penstock.protocol.names import check_file_name
from penstock.protocol.snapshot import (
    MAX_BYTES,
    MAX_FILES,
    FileView,
    PageCursor,
    Snapshot,
    fill_page,
    parse_cursor,
)

ID = "550e8400-e29b-41d4-a716-446655440000"


def view(name: str, position: int, *, ended: bool = False) -> FileView:
    return FileView(
        file_id=f"{position}",
        file_name=check_file_name(name),
        file_size=2**63 - 1,
        file_type="\x01" * 255,
        status="completed" if ended else "uploading",
        can_retry=False,
        progress=99.99,
        uploaded_bytes=2**63 - 1,
        durable_bytes=2**63 - 1,
        attempt=1,
        upload_url=f"/api/upload/sessions/{ID}/files/{position}",
        upload_path="/upload/personal/" + "%E5" * 252,
        error=ErrorInfo("CHECKSUM_MISMATCH", "x" * 300),
        client_progress=33.33,
        digest="sha-256=" + "a" * 64,
    )


def pages(
    files: list[tuple[str, bool]], metadata: dict[str, str]
) -> Iterator[tuple[list[FileView], str | None]]:
    """All pages, one after the other, each asked for with the cursor of the one before."""
    used = len(msgspec.json.encode(metadata))
    page, at = fill_page(views(files, PageCursor()), used)
    yield page, at
    while at is not None:
        page, at = fill_page(views(files, parse_cursor(at)), used)
        yield page, at


def views(files: list[tuple[str, bool]], start: PageCursor) -> Iterator[tuple[PageCursor, FileView]]:
    order = sorted((ended, position) for position, (_, ended) in enumerate(files))
    for ended, position in order:
        if (ended, position) > (start.ended, start.after):
            yield PageCursor(ended, position), view(files[position][0], position, ended=ended)


def snapshot(page: list[FileView], cursor: str | None, metadata: dict[str, str]) -> Snapshot:
    """With the longest of everything that is not a file."""
    return Snapshot(
        session_id=ID,
        watch_key="w_" + "0" * 40,
        category="c" * 32,
        overall_status="uploading",
        total_progress=99.99,
        completed_files=50_000,
        failed_files=50_000,
        paused=False,
        open=False,
        files=page,
        files_total=50_000,
        cursor=cursor,
        seq=2**63 - 1,
        epoch="e" * 64,
        created_at="2026-01-15T10:30:00.000Z",
        expires_at="2026-01-15T10:30:00.000Z",
        metadata=metadata,
    )


def check_pages(files: list[tuple[str, bool]], metadata: dict[str, str]) -> int:
    """How many pages there are, each of them looked at."""
    seen: list[str] = []
    count = 0
    for page, cursor in pages(files, metadata):
        count += 1
        assert len(page) <= MAX_FILES
        assert page or not files
        assert len(msgspec.json.encode(snapshot(page, cursor, metadata))) <= MAX_BYTES
        seen += [one.file_id for one in page]
    unfinished = [str(position) for position, (_, ended) in enumerate(files) if not ended]
    finished = [str(position) for position, (_, ended) in enumerate(files) if ended]
    assert seen == unfinished + finished
    return count


NAMES = {
    "controls": "\x01" * 1024,
    "quotes": '"' * 1024,
    "han": "名" * 341,
    "emoji": "😀" * 256,
    "short": "a",
}


@given(
    st.lists(st.tuples(st.sampled_from(sorted(NAMES)), st.booleans()), max_size=40),
    st.integers(0, 4000),
)
@example([("controls", False)] * 40, 4000)
def test_pages_are_bounded_and_hold_every_file_once(
    files: list[tuple[str, bool]], metadata_bytes: int
) -> None:
    check_pages([(NAMES[kind], ended) for kind, ended in files], {"k": "v" * metadata_bytes})


def small(position: int) -> tuple[PageCursor, FileView]:
    """So small that 500 fit."""
    plain = FileView(
        file_id="f",
        file_name="n",
        file_size=1,
        file_type="",
        status="pending",
        can_retry=False,
        progress=0.0,
        uploaded_bytes=0,
        durable_bytes=0,
        attempt=1,
    )
    return PageCursor(after=position), plain


def test_the_largest_files_still_come_one_by_one() -> None:
    assert check_pages([("\x01" * 1024, False)] * 12, {}) >= 3


@pytest.mark.parametrize("metadata_bytes", [0, 4096, MAX_BYTES, 10 * MAX_BYTES])
def test_a_page_makes_headway_however_little_room_there_is(metadata_bytes: int) -> None:
    page, cursor = fill_page(map(small, range(3)), metadata_bytes)
    assert page
    assert cursor == (None if metadata_bytes < MAX_BYTES // 2 else "u0")


def test_a_page_ends_at_500_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("penstock.protocol.snapshot.MAX_BYTES", 10**9)
    assert MAX_FILES == 500
    assert fill_page(map(small, range(500)), 0)[1] is None
    page, cursor = fill_page(map(small, range(501)), 0)
    assert (len(page), cursor) == (500, "u499")


def test_no_files_are_one_empty_page() -> None:
    assert fill_page([], 0) == ([], None)


def test_only_as_many_views_are_made_as_a_page_needs() -> None:
    made = map(small, range(50_000))
    page, _ = fill_page(made, 0)
    assert next(made)[0].after == len(page) + 1


# Cursors


@given(st.booleans(), st.integers(0, 10**9))
def test_a_cursor_is_read_as_it_was_written(ended: bool, after: int) -> None:
    cursor = PageCursor(ended, after)
    assert parse_cursor(str(cursor)) == cursor


@pytest.mark.parametrize(
    "text",
    ["", "u", "e", "1", "x1", "U1", "u-2", "e-1", "u1.0", "u 1", "u1\n", "u²", "u١", "e1e1", "u" + "9" * 11],
)
def test_a_cursor_of_ones_own_making_is_refused(text: str) -> None:
    with pytest.raises(InvalidMessage, match=r"^cursor: "):
        parse_cursor(text)


@given(st.text())
def test_whatever_comes_as_a_cursor(text: str) -> None:
    with suppress(InvalidMessage):
        assert parse_cursor(text).after >= 0
