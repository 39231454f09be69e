"""Where the bytes come from."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest

from penstock.server.client.errors import ClientError, SourceError
from penstock.server.client.sources import CHUNK_BYTES, WINDOW_BYTES, FileSource, Piece, PipeSource, gather
from tests.client.rig import noise


async def content(piece: Piece) -> bytes:
    parts: list[bytes] = []
    while (have := sum(map(len, parts))) < piece.length:
        parts.append(await piece.read(piece.first + have))
    return b"".join(parts)


def read(path: Path) -> bytes:
    return path.read_bytes()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "a"
    path.write_bytes(noise(CHUNK_BYTES + 10))
    return path


async def test_a_file_is_read_from_anywhere(path: Path) -> None:
    source = FileSource.at(path, "a")
    try:
        piece = await source.piece(7)
        assert (piece.first, piece.length, piece.total) == (7, CHUNK_BYTES + 3, CHUNK_BYTES + 10)
        assert await content(piece) == read(path)[7:]
    finally:
        source.close()


async def test_a_file_that_changes_does_not_get_whole(path: Path) -> None:
    source = FileSource.at(path, "a")
    try:
        piece = await source.piece(0)
        await piece.read(0)
        os.utime(path, ns=(0, source.mtime_ns + 1))
        with pytest.raises(SourceError, match="has changed"):
            await piece.read(CHUNK_BYTES)
        with pytest.raises(SourceError, match="has changed"):
            await source.piece(0)
    finally:
        source.close()


async def test_a_file_that_shrinks_or_goes_says_so(path: Path) -> None:
    source = FileSource.at(path, "a")
    try:
        piece = await source.piece(0)
        os.truncate(path, 5)
        with pytest.raises(SourceError, match="shorter"):
            await piece.read(5)
        os.unlink(path)
        with pytest.raises(SourceError, match="cannot be read: No such file"):
            await source.piece(0)
    finally:
        source.close()


@pytest.fixture
def pipe() -> Iterator[tuple[PipeSource, bytes]]:
    """A source with more than two windows behind it."""
    data = noise(2 * WINDOW_BYTES + 5)
    reading, writing = os.pipe()

    def feed() -> None:
        with open(writing, "wb") as file:
            file.write(data)

    feeder = Thread(target=feed)
    feeder.start()
    yield PipeSource(reading, "-"), data
    while os.read(reading, CHUNK_BYTES):
        pass
    feeder.join()
    os.close(reading)


async def test_a_pipe_comes_in_windows_and_the_last_knows_the_total(pipe: tuple[PipeSource, bytes]) -> None:
    source, data = pipe
    sent = b""
    totals = []
    while len(sent) < len(data):
        piece = await source.piece(len(sent))
        totals.append(piece.total)
        sent += await content(piece)
    assert sent == data
    assert totals == [None, None, len(data)]


async def test_what_the_server_has_not_kept_is_sent_again_within_the_window(
    pipe: tuple[PipeSource, bytes],
) -> None:
    source, data = pipe
    await source.piece(0)
    again = await source.piece(100)
    assert await content(again) == data[100 : 100 + WINDOW_BYTES]


async def test_beyond_the_window_a_pipe_cannot_go_back(pipe: tuple[PipeSource, bytes]) -> None:
    source, _ = pipe
    await source.piece(0)
    await source.piece(500)
    with pytest.raises(SourceError, match="put it into a file"):
        await source.piece(499)


def test_what_is_neither_file_nor_directory_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(ClientError, match="pipe it in and name -"):
        gather([str(tmp_path / "fifo")], None)


def test_names_that_are_no_unicode_are_shown_as_well_as_can_be(tmp_path: Path) -> None:
    path = os.path.join(os.fsencode(tmp_path), b"caf\xe9")
    with open(path, "wb"):
        pass
    (source,) = gather([os.fsdecode(path)], None)
    assert source.name == "caf\ufffd"


def test_standard_input_comes_once() -> None:
    with pytest.raises(ClientError, match="once"):
        gather(["-", "-"], None)
