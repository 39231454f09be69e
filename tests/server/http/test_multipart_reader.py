"""Parts out of a body, however it is cut, and what breaks it."""

from __future__ import annotations

import contextlib
import itertools

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from penstock.server.http.multipart_reader import (
    MAX_SILENT_BYTES,
    READ_BYTES,
    BodyTimedOut,
    MalformedBody,
    PartReader,
)
from penstock.server.peer import BodyBroken
from tests.server.http.forms import BOUNDARY, Pieces, Seen, field, file, form, part, read_all, reader_of
from tests.server.uploads.rig import FedBody

TRICKY = f"\r\n--{BOUNDARY[:-1]}\r\n\r\r\n--\r\n-".encode()  # all but a boundary, and its beginnings
FORM = form(
    field("note", "hällo"), file("a", TRICKY), file("b", b"", "b.txt"), file("c", b"\r\n", "c", "x/y")
)
PARTS = [
    Seen("note", None, "", "hällo".encode()),
    Seen("a", "a.bin", "", TRICKY),
    Seen("b", "b.txt", "", b""),
    Seen("c", "c", "x/y", b"\r\n"),
]


async def test_at_every_split_point() -> None:
    for at in range(len(FORM) + 1):
        assert await read_all(reader_of(Pieces([FORM[:at], FORM[at:]]))) == PARTS, at


async def test_byte_by_byte() -> None:
    assert await read_all(reader_of(Pieces([FORM[at : at + 1] for at in range(len(FORM))])), step=1) == PARTS


@given(st.lists(st.integers(0, len(FORM)), max_size=20), st.integers(1, 100))
def test_cut_anyhow(cuts: list[int], step: int) -> None:
    edges = [0, *sorted(cuts), len(FORM)]
    pieces = [FORM[start:end] for start, end in itertools.pairwise(edges)]

    async def main() -> None:
        assert await read_all(reader_of(Pieces(pieces)), step) == PARTS

    trio.run(main)


@given(st.binary(max_size=300), st.integers(0, 300), st.integers(0, 300))
def test_anything_is_parts_or_malformed(noise: bytes, at: int, cut: int) -> None:
    raw = FORM[:at] + noise + FORM[at:]

    async def main() -> None:
        with contextlib.suppress(MalformedBody):
            await read_all(reader_of(Pieces([raw[:cut], raw[cut:]])))

    trio.run(main)


@pytest.mark.parametrize(
    "around", [(b"", b""), (b"hello\r\n", b""), (b"", b"bye"), (b"--\r\n\r\n", b"\r\n" * 9)]
)
async def test_preamble_and_epilogue_are_nothing(around: tuple[bytes, bytes]) -> None:
    raw = around[0] + FORM + around[1]
    for at in range(0, len(raw), 7):
        assert await read_all(reader_of(Pieces([raw[:at], raw[at:]]))) == PARTS


@pytest.mark.parametrize("raw", [form(), b"--" + form()[2:-2]], ids=["closed at once", "no line break"])
async def test_an_empty_form(raw: bytes) -> None:
    assert await read_all(reader_of(Pieces([raw]))) == []


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"", "end of multipart"),
        (FORM[:-4], "end of multipart"),
        (FORM[:-60], "end of multipart"),
        (FORM[:30], "end of multipart"),
        (FORM.replace(BOUNDARY.encode(), b"other"), "end of multipart"),
        (part("attachment; name=x", b""), "Content-Disposition"),
        (part("form-data; filename=x", b""), "no name"),
        (form(file("a", b"abc")).replace(b"Content-Disposition", b"Content Disposition"), "header name"),
        (form(part("form-data; name=a", b"abc", *["X: y"] * 9)), "header count"),
        (form(part("form-data; name=a", b"abc", "X: " + "y" * 5000)), "header length"),
        (form(part("form-data; name=a", b"abc", "Content-Length: 4")), "Content-Length"),
        (bytes(MAX_SILENT_BYTES + 1), "too much before"),
        (FORM + bytes(2 * MAX_SILENT_BYTES), "too much before its first part or after"),
    ],
)
async def test_what_cannot_be_read(raw: bytes, words: str) -> None:
    reader = reader_of(Pieces([raw[at : at + READ_BYTES] for at in range(0, len(raw), READ_BYTES)]))
    with pytest.raises(MalformedBody, match=words):
        await read_all(reader)
    with pytest.raises(MalformedBody):
        await reader.next_part()


async def test_too_many_parts() -> None:
    with pytest.raises(MalformedBody, match="segment count"):
        await read_all(reader_of(Pieces([FORM]), max_parts=3))


async def test_a_body_that_breaks_gives_what_came_first() -> None:
    raw = form(field("note", "x"), file("a", b"content"))
    reader = reader_of(Pieces([raw[: raw.index(b"tent\r\n")]], broken=True))
    assert await reader.next_part()
    found = await reader.next_part()
    assert found
    buffer = memoryview(bytearray(1000))
    await found.wait_readable()
    assert bytes(buffer[: found.receive_nowait(buffer)]) == b"con"
    await found.wait_readable()
    with pytest.raises(BodyBroken, match="peer is gone") as broken:
        found.receive_nowait(buffer)
    assert not isinstance(broken.value, MalformedBody)
    with pytest.raises(BodyBroken):
        await reader.next_part()
    assert reader.failure is broken.value


async def test_what_is_not_taken_is_dropped() -> None:
    big = bytes(3 * READ_BYTES)
    raw = form(file("a", big), file("b", b"b"), file("c", big), file("d", b"d"))
    reader = reader_of(Pieces([raw[at : at + 50_000] for at in range(0, len(raw), 50_000)]))
    names = []
    while (found := await reader.next_part()) is not None:
        names.append(found.head.name)
        if found.head.name == "c":
            found.receive_nowait(memoryview(bytearray(10)))
    assert names == ["a", "b", "c", "d"]
    assert reader.taken_bytes == len(raw)


@pytest.mark.parametrize(("size", "fits"), [(0, True), (99, True), (100, True), (101, False), (9999, False)])
async def test_gathering_takes_nothing_away(size: int, fits: bool) -> None:
    content = bytes(n % 251 for n in range(size))
    raw = form(file("a", content), file("b", b"b"))
    reader = reader_of(Pieces([raw[at : at + 33] for at in range(0, len(raw), 33)]))
    found = await reader.next_part()
    assert found
    assert await found.gather(100) is fits
    assert found.held_bytes == size if fits else found.held_bytes > 100
    taken = bytearray()
    buffer = memoryview(bytearray(64))
    while True:
        await found.wait_readable()
        try:
            count = found.receive_nowait(buffer)
        except trio.WouldBlock:
            continue
        if not count:
            break
        taken += buffer[:count]
    assert taken == content
    assert found.taken_bytes == size
    rest = await reader.next_part()
    assert rest
    assert rest.head.name == "b"


async def test_a_cancelled_wait_loses_nothing(autojump_clock: trio.abc.Clock) -> None:
    body = FedBody()
    reader = reader_of(body)  # type: ignore[arg-type]  # another kind of body
    got = []

    async def patiently() -> None:
        while True:
            with trio.move_on_after(0.01):
                found = await reader.next_part()
                break
        assert found
        while not found.ended:
            with trio.move_on_after(0.01):
                await found.gather(1000)
        got.append(b"".join(found.pieces))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(patiently)
        raw = form(file("a", b"content"))
        for at in range(len(raw)):
            await trio.sleep(0.013)
            body.feed(raw[at : at + 1])
    assert got == [b"content"]


async def test_silence_ends_it_after_its_quiet_moment(autojump_clock: trio.abc.Clock) -> None:
    reader = reader_of(FedBody(), idle_timeout_s=60)  # type: ignore[arg-type]  # another kind of body
    quiet_at: list[float] = []

    async def note() -> None:
        quiet_at.append(trio.current_time())

    reader.on_quiet = note
    start = trio.current_time()
    with pytest.raises(BodyTimedOut, match="no byte came for 60 s"):
        await reader.next_part()
    assert [at - start for at in quiet_at] == [pytest.approx(0.05)]
    assert trio.current_time() - start == pytest.approx(60.05)


async def test_readers_share_a_scratch_buffer() -> None:
    scratch = bytearray(READ_BYTES)
    seen: dict[int, list[Seen]] = {}

    async def read(number: int) -> None:
        raw = form(*(file(f"{number}.{n}", bytes([number]) * 999) for n in range(20)))
        body = Pieces([raw[at : at + 100] for at in range(0, len(raw), 100)])
        reader = PartReader(body, BOUNDARY.encode(), scratch, max_parts=100, idle_timeout_s=60)
        seen[number] = await read_all(reader)

    async with trio.open_nursery() as nursery:
        for number in range(5):
            nursery.start_soon(read, number)
    for number, parts in seen.items():
        assert [one.name for one in parts] == [f"{number}.{n}" for n in range(20)]
        assert all(one.content == bytes([number]) * 999 for one in parts)
