"""What every blob store must do: one test for each promise of `storage/blobs/base.py`."""

from __future__ import annotations

import hashlib
import random
from collections.abc import AsyncIterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import assert_checkpoints

from penstock.storage.blobs.base import BlobStore, SmallBlob
from penstock.storage.errors import BlobFault, BlobMissing, StoreError
from tests.contract.stores import BLOB_STORES

KEY = "0123456789abcdef0123456789abcdef.1"
NAME = "7d0c1b1e.jpg"


@pytest.fixture(params=BLOB_STORES)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[BlobStore]:
    async with BLOB_STORES[request.param](tmp_path) as opened:
        yield opened


async def put(store: BlobStore, data: bytes, key: str = KEY) -> None:
    writer = await store.open_writer(key, at=0)
    await writer.write(memoryview(data), sync=True)
    await writer.aclose()


async def content(store: BlobStore, category: str = "personal", name: str = NAME) -> bytes:
    reader = await store.open_published(category, name)
    data = await reader.read_at(0, reader.size)
    await reader.aclose()
    return data


async def incoming_content(store: BlobStore, key: str = KEY) -> bytes:
    await store.publish(key, "scenic", "looked-at")
    return await content(store, "scenic", "looked-at")


async def test_every_call_is_a_checkpoint(store: BlobStore) -> None:
    with assert_checkpoints():
        writer = await store.open_writer(KEY, at=0)
    with assert_checkpoints():
        await writer.write(memoryview(b"abc"))
    with assert_checkpoints():
        await writer.write(memoryview(b"def"), sync=True)
    with assert_checkpoints():
        await writer.sync()
    with assert_checkpoints():
        await writer.aclose()
    with assert_checkpoints():
        await writer.aclose()
    with assert_checkpoints():
        await store.size(KEY)
    with assert_checkpoints():
        await store.cut(KEY, 3)
    with assert_checkpoints():
        await store.incoming()
    with assert_checkpoints():
        await store.publish(KEY, "personal", NAME)
    with assert_checkpoints():
        await store.published()
    with assert_checkpoints():
        reader = await store.open_published("personal", NAME)
    with assert_checkpoints():
        await reader.read_at(0, 10)
    with assert_checkpoints():
        await reader.aclose()
    with assert_checkpoints():
        await store.unpublish("personal", NAME)
    with assert_checkpoints():
        await store.delete(KEY)
    with assert_checkpoints():
        await store.free_bytes()


async def test_a_new_blob_is_there_and_empty(store: BlobStore) -> None:
    writer = await store.open_writer(KEY, at=0)
    assert writer.written == 0
    assert await store.size(KEY) == 0
    await writer.aclose()


async def test_writes_append_and_count(store: BlobStore) -> None:
    writer = await store.open_writer(KEY, at=0)
    await writer.write(memoryview(b"front "))
    await writer.write(memoryview(b""))
    await writer.write(memoryview(b"to back"), sync=True)
    assert writer.written == 13
    assert await store.size(KEY) == 13
    await writer.aclose()
    assert await incoming_content(store) == b"front to back"


async def test_the_buffer_may_be_reused(store: BlobStore) -> None:
    writer = await store.open_writer(KEY, at=0)
    buffer = bytearray(b"first")
    await writer.write(memoryview(buffer))
    buffer[:] = b"later"
    await writer.write(memoryview(buffer))
    await writer.aclose()
    assert await incoming_content(store) == b"firstlater"


async def test_hashes_are_fed_in_order(store: BlobStore) -> None:
    sha256, md5 = hashlib.sha256(), hashlib.md5()
    writer = await store.open_writer(KEY, at=0)
    await writer.write(memoryview(b"one"), hashes=[sha256, md5])
    await writer.write(memoryview(b"two"), sync=True, hashes=[sha256])
    await writer.aclose()
    assert sha256.digest() == hashlib.sha256(b"onetwo").digest()
    assert md5.digest() == hashlib.md5(b"one").digest()


class Refills:
    """Fills a buffer with one piece after the other, and then no more."""

    def __init__(self, *pieces: bytes) -> None:
        self.pieces = [*pieces]

    def __call__(self, buffer: memoryview) -> int:
        piece = self.pieces.pop(0) if self.pieces else b""
        buffer[: len(piece)] = piece
        return len(piece)


async def test_pouring_goes_on_as_long_as_there_is_a_refill(store: BlobStore) -> None:
    sha256, whole = hashlib.sha256(), b"beginsgoes onends"
    writer = await store.open_writer(KEY, at=0)
    refills = Refills(b"goes o", b"n", b"ends")
    with assert_checkpoints():
        await writer.pour(memoryview(bytearray(b"begins...")), 6, refills, hashes=[sha256])
    assert writer.written == len(whole)
    assert sha256.digest() == hashlib.sha256(whole).digest()
    await writer.write(memoryview(b"!"), sync=True)
    await writer.aclose()
    assert await incoming_content(store) == whole + b"!"


async def test_pouring_begins_with_a_refill_if_nothing_is_there(store: BlobStore) -> None:
    writer = await store.open_writer(KEY, at=0)
    await writer.pour(memoryview(bytearray(4)), 0, Refills(b"one", b"two"))
    await writer.pour(memoryview(bytearray(4)), 0, Refills())
    await writer.aclose()
    assert await incoming_content(store) == b"onetwo"


async def test_nothing_is_poured_by_a_closed_writer(store: BlobStore) -> None:
    writer = await store.open_writer(KEY, at=0)
    await writer.aclose()
    refills = Refills(b"more")
    with pytest.raises(StoreError):
        await writer.pour(memoryview(bytearray(b"begin")), 5, refills)
    assert refills.pieces == [b"more"]
    assert await store.size(KEY) == 0


async def test_a_cancelled_caller_writes_nothing_or_all(store: BlobStore) -> None:
    writer = await store.open_writer(KEY, at=0)
    with trio.CancelScope() as scope:
        scope.cancel()
        await writer.write(memoryview(b"abc"))
    assert scope.cancelled_caught
    assert writer.written == await store.size(KEY) == 0
    await writer.aclose()


async def test_closing_is_not_cancelled(store: BlobStore) -> None:
    writer = await store.open_writer(KEY, at=0)
    with trio.CancelScope() as scope:
        scope.cancel()
        await writer.aclose()
    with pytest.raises(StoreError):
        await writer.write(memoryview(b"abc"))
    with pytest.raises(StoreError):
        await writer.sync()


async def test_a_writer_goes_on_where_the_last_one_ended(store: BlobStore) -> None:
    await put(store, b"abc")
    writer = await store.open_writer(KEY, at=3)
    assert writer.written == 3
    await writer.write(memoryview(b"def"))
    await writer.aclose()
    assert await incoming_content(store) == b"abcdef"


@pytest.mark.parametrize("at", [0, 2])
async def test_opening_cuts_a_longer_blob(store: BlobStore, at: int) -> None:
    await put(store, b"abcdef")
    writer = await store.open_writer(KEY, at=at)
    assert writer.written == await store.size(KEY) == at
    await writer.write(memoryview(b"XY"))
    await writer.aclose()
    assert await incoming_content(store) == b"abcdef"[:at] + b"XY"


async def test_opening_behind_the_end_is_a_fault(store: BlobStore) -> None:
    await put(store, b"abc")
    with pytest.raises(BlobFault):
        await store.open_writer(KEY, at=4)
    assert await store.size(KEY) == 3


async def test_opening_a_missing_blob_in_the_middle(store: BlobStore) -> None:
    with pytest.raises(BlobMissing):
        await store.open_writer(KEY, at=1)
    assert await store.size(KEY) is None


async def test_cutting(store: BlobStore) -> None:
    await put(store, b"abcdef")
    await store.cut(KEY, 4)
    await store.cut(KEY, 4)
    assert await store.size(KEY) == 4
    with pytest.raises(BlobFault):
        await store.cut(KEY, 5)
    with pytest.raises(BlobMissing):
        await store.cut("00", 0)
    assert await incoming_content(store) == b"abcd"


async def test_publishing_moves_the_blob(store: BlobStore) -> None:
    await put(store, b"abc")
    await store.publish(KEY, "personal", NAME)
    assert await store.size(KEY) is None
    assert await content(store) == b"abc"
    assert [place[:2] for place in await store.published()] == [("personal", NAME)]
    assert await store.incoming() == []


async def test_publishing_again_is_fine(store: BlobStore) -> None:
    await put(store, b"abc")
    await store.publish(KEY, "personal", NAME)
    await store.publish(KEY, "personal", NAME)
    assert await content(store) == b"abc"


async def test_publishing_what_is_not_there(store: BlobStore) -> None:
    with pytest.raises(BlobMissing):
        await store.publish(KEY, "personal", NAME)
    with pytest.raises(BlobMissing):
        await store.open_published("personal", NAME)


async def test_a_taken_name_stays_with_its_owner(store: BlobStore) -> None:
    await put(store, b"first")
    await store.publish(KEY, "personal", NAME)
    await put(store, b"second", "ff.2")
    with pytest.raises(BlobFault):
        await store.publish("ff.2", "personal", NAME)
    assert await content(store) == b"first"
    assert await store.size("ff.2") == 6


async def test_names_are_per_category(store: BlobStore) -> None:
    await put(store, b"one")
    await store.publish(KEY, "personal", NAME)
    await put(store, b"two")
    await store.publish(KEY, "scenic", NAME)
    assert await content(store, "personal") == b"one"
    assert await content(store, "scenic") == b"two"


async def test_deleting(store: BlobStore) -> None:
    await put(store, b"abc")
    await store.delete(KEY)
    await store.delete(KEY)
    assert await store.size(KEY) is None


async def test_unpublishing(store: BlobStore) -> None:
    await put(store, b"abc")
    await store.publish(KEY, "personal", NAME)
    await store.unpublish("personal", NAME)
    await store.unpublish("personal", NAME)
    assert await store.published() == []


async def test_reading_pieces(store: BlobStore) -> None:
    await put(store, b"abcdef")
    await store.publish(KEY, "personal", NAME)
    reader = await store.open_published("personal", NAME)
    assert reader.size == 6
    assert await reader.read_at(0, 2) == b"ab"
    assert await reader.read_at(4, 100) == b"ef"
    assert await reader.read_at(6, 1) == b""
    await reader.aclose()
    await reader.aclose()
    with pytest.raises(StoreError):
        await reader.read_at(0, 1)


async def test_an_open_reader_outlives_the_name(store: BlobStore) -> None:
    await put(store, b"abc")
    await store.publish(KEY, "personal", NAME)
    reader = await store.open_published("personal", NAME)
    await store.unpublish("personal", NAME)
    await put(store, b"another")
    await store.publish(KEY, "personal", NAME)
    assert await reader.read_at(0, 100) == b"abc"
    await reader.aclose()


async def test_listings_carry_the_last_change(store: BlobStore) -> None:
    for key in ("aa.1", "bb.2", "cc"):
        await put(store, b"abc", key)
    await store.publish("cc", "scenic", NAME)
    incoming, published = await store.incoming(), await store.published()
    assert {key for key, _ in incoming} == {"aa.1", "bb.2"}
    assert [place[:2] for place in published] == [("scenic", NAME)]
    assert all(isinstance(changed_at, float) for changed_at in (incoming[0][1], published[0][2]))


async def test_there_is_room(store: BlobStore) -> None:
    assert await store.free_bytes() > 0


@pytest.mark.parametrize("key", ["", ".", "..", "../a", "a/b", "g", "A", "a\n", "a\0", "é", "a" * 129])
async def test_malformed_keys(store: BlobStore, key: str) -> None:
    with pytest.raises(ValueError, match="not a blob key"):
        await store.open_writer(key, at=0)
    with pytest.raises(ValueError, match="not a blob key"):
        await store.size(key)
    with pytest.raises(ValueError, match="not a blob key"):
        await store.cut(key, 0)
    with pytest.raises(ValueError, match="not a blob key"):
        await store.delete(key)
    with pytest.raises(ValueError, match="not a blob key"):
        await store.publish(key, "personal", NAME)


@pytest.mark.parametrize(
    ("category", "name"),
    [("", NAME), ("..", NAME), ("a/b", NAME), ("personal", ".."), ("personal", ".probe"), ("personal", "a/b"),
     ("personal", ""), ("personal", "a\n"), ("personal", "相.jpg"), ("personal", "a" * 256)],
)  # fmt: skip
async def test_malformed_places(store: BlobStore, category: str, name: str) -> None:
    await put(store, b"abc")
    with pytest.raises(ValueError, match="not a "):
        await store.publish(KEY, category, name)
    with pytest.raises(ValueError, match="not a "):
        await store.open_published(category, name)
    with pytest.raises(ValueError, match="not a "):
        await store.unpublish(category, name)
    assert await store.size(KEY) == 3


async def test_an_unknown_category_has_nothing(store: BlobStore) -> None:
    await put(store, b"abc")
    with pytest.raises(BlobMissing):
        await store.open_published("other", NAME)
    with pytest.raises(StoreError):
        await store.publish(KEY, "other", NAME)
    await store.unpublish("other", NAME)
    assert await store.size(KEY) == 3


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.binary(max_size=40)),
        st.tuples(st.just("cut"), st.integers(0, 200)),
        st.tuples(st.just("reopen"), st.integers(0, 200)),
    ),
    max_size=12,
)


@settings(max_examples=25)
@given(steps=STEPS)
@pytest.mark.parametrize("kind", ["local-append", "fake-append"])
def test_any_mix_of_writes_and_cuts_is_like_a_bytearray(
    kind: str, steps: list[tuple[str, bytes | int]]
) -> None:
    async def play() -> None:
        with TemporaryDirectory() as path:
            async with BLOB_STORES[kind](Path(path)) as store:
                assert await played(store, steps) == await incoming_content(store)

    trio.run(play)


async def played(store: BlobStore, steps: list[tuple[str, bytes | int]]) -> bytes:
    model = bytearray()
    writer = await store.open_writer(KEY, at=0)
    for step, argument in steps:
        if isinstance(argument, bytes):
            await writer.write(memoryview(argument), sync=len(argument) % 2 == 0)
            model += argument
            continue
        await writer.aclose()
        end = min(argument, len(model))
        del model[end:]
        if step == "cut":
            await store.cut(KEY, end)
        writer = await store.open_writer(KEY, at=end)
        assert writer.written == await store.size(KEY) == len(model)
    await writer.aclose()
    return bytes(model)


# Many small ones at once


def small(*contents: bytes) -> list[SmallBlob]:
    return [
        SmallBlob(f"{number:032x}.1", f"small-{number}", memoryview(content))
        for number, content in enumerate(contents)
    ]


async def test_small_blobs_are_published_together(store: BlobStore) -> None:
    contents = [b"", b"a", bytes(100_000)]
    with assert_checkpoints():
        await store.store_small("scenic", small(*contents))
    for number, wanted in enumerate(contents):
        assert await content(store, "scenic", f"small-{number}") == wanted
    assert await store.incoming() == []
    assert len(await store.published()) == 3


async def test_no_small_blobs_at_all(store: BlobStore) -> None:
    await store.store_small("scenic", [])
    assert await store.published() == []


async def test_small_blobs_are_all_stored_or_none(store: BlobStore) -> None:
    await put(store, b"mine")
    await store.publish(KEY, "scenic", "small-1")
    with pytest.raises(BlobFault):
        await store.store_small("scenic", small(b"a", b"b", b"c"))
    assert [name for _, name, _ in await store.published()] == ["small-1"]
    assert await content(store, "scenic", "small-1") == b"mine"
    assert await store.incoming() == []


async def test_a_small_blob_takes_the_place_of_one_that_got_no_byte(store: BlobStore) -> None:
    (blob,) = small(b"abc")
    await put(store, b"", blob.key)
    await store.store_small("scenic", [blob])
    assert await content(store, "scenic", blob.name) == b"abc"
    assert await store.incoming() == []


@pytest.mark.parametrize(
    ("category", "key", "name"), [("scenic", "../x", "n"), ("scenic", "a.1", "../x"), ("../x", "a.1", "n")]
)
async def test_small_blobs_have_names_of_our_own(
    store: BlobStore, category: str, key: str, name: str
) -> None:
    with pytest.raises(ValueError, match="not a"):
        await store.store_small(category, [SmallBlob(key, name, memoryview(b"x"))])


async def test_small_blobs_of_no_category(store: BlobStore) -> None:
    with pytest.raises(BlobMissing):
        await store.store_small("nowhere", small(b"a"))
    assert await store.incoming() == []


# From blob to blob

SOURCE = "ee.1"


async def test_copying_appends_a_part_of_another_blob(store: BlobStore) -> None:
    await put(store, b"0123456789", SOURCE)
    writer = await store.open_writer(KEY, at=0)
    await writer.write(memoryview(b"abc"))
    with assert_checkpoints():
        await writer.copy_from(SOURCE, 2, 5)
    assert writer.written == await store.size(KEY) == 8
    await writer.copy_from(SOURCE, 0, 1)
    await writer.write(memoryview(b"xyz"))
    await writer.copy_from(SOURCE, 9, 1)
    await writer.sync()
    assert writer.written == 13
    await writer.aclose()
    assert await incoming_content(store) == b"abc234560xyz9"
    assert await store.size(SOURCE) == 10


@pytest.mark.parametrize("start", [0, 1, 3])
async def test_copying_nothing(store: BlobStore, start: int) -> None:
    await put(store, b"abc", SOURCE)
    writer = await store.open_writer(KEY, at=0)
    await writer.copy_from(SOURCE, start, 0)
    assert writer.written == await store.size(KEY) == 0
    await writer.aclose()


async def test_a_blob_can_be_copied_onto_its_own_end(store: BlobStore) -> None:
    writer = await store.open_writer(KEY, at=0)
    await writer.write(memoryview(b"abcdef"))
    await writer.copy_from(KEY, 1, 5)
    await writer.aclose()
    assert await incoming_content(store) == b"abcdefbcdef"


async def test_copying_from_a_blob_that_is_still_written(store: BlobStore) -> None:
    source = await store.open_writer(SOURCE, at=0)
    await source.write(memoryview(b"abc"))
    writer = await store.open_writer(KEY, at=0)
    await writer.copy_from(SOURCE, 0, 3)
    await source.write(memoryview(b"def"))
    await writer.copy_from(SOURCE, 3, 3)
    await source.aclose()
    await store.delete(SOURCE)
    await writer.aclose()
    assert await incoming_content(store) == b"abcdef"


async def test_copying_what_is_not_there(store: BlobStore) -> None:
    await put(store, b"abc", SOURCE)
    await put(store, b"published", "ff")
    await store.publish("ff", "personal", NAME)
    writer = await store.open_writer(KEY, at=0)
    await writer.write(memoryview(b"x"))
    for missing in ("ff", "00"):
        with pytest.raises(BlobMissing):
            await writer.copy_from(missing, 0, 0)
    for start, count in ((0, 4), (2, 2), (3, 1), (9, 0)):
        with pytest.raises(BlobFault):
            await writer.copy_from(SOURCE, start, count)
    assert writer.written == await store.size(KEY) == 1
    await writer.copy_from(SOURCE, 0, 3)  # a fault of the source is none of the writer
    await writer.aclose()
    assert await incoming_content(store) == b"xabc"


async def test_a_cancelled_caller_copies_nothing(store: BlobStore) -> None:
    await put(store, b"abc", SOURCE)
    writer = await store.open_writer(KEY, at=0)
    with trio.CancelScope() as scope:
        scope.cancel()
        await writer.copy_from(SOURCE, 0, 3)
    assert scope.cancelled_caught
    assert writer.written == await store.size(KEY) == 0
    await writer.aclose()


async def test_a_closed_writer_copies_nothing(store: BlobStore) -> None:
    await put(store, b"abc", SOURCE)
    writer = await store.open_writer(KEY, at=0)
    await writer.aclose()
    with pytest.raises(StoreError):
        await writer.copy_from(SOURCE, 0, 3)
    assert await store.size(KEY) == 0


async def test_malformed_keys_of_a_source(store: BlobStore) -> None:
    writer = await store.open_writer(KEY, at=0)
    with pytest.raises(ValueError, match="not a blob key"):
        await writer.copy_from("../a", 0, 0)
    await writer.aclose()
    with pytest.raises(ValueError, match="not a blob key"):
        await store.feed("../a", hashlib.sha256(), 0, 1)


async def test_whole_blocks_and_odd_ends_are_copied_alike(store: BlobStore) -> None:
    data = random.Random(1).randbytes(50_000)
    await put(store, data, SOURCE)
    writer = await store.open_writer(KEY, at=0)
    wanted = b""
    for start, count in (
        (0, 50_000),
        (0, 4_096),
        (17_232, 20_000),
        (4_096, 8_192),
        (1, 4_096),
        (49_152, 848),
    ):
        await writer.copy_from(SOURCE, start, count)
        wanted += data[start : start + count]
    await writer.aclose()
    assert await incoming_content(store) == wanted


async def test_the_sharing_block_is_a_size_or_none_and_stays(store: BlobStore) -> None:
    with assert_checkpoints():
        block = await store.sharing_block()
    assert block is None or block > 0
    with assert_checkpoints():
        assert await store.sharing_block() == block
    assert await store.incoming() == []


# Hashing what has come


async def test_feeding_a_hash(store: BlobStore) -> None:
    await put(store, b"0123456789")
    sha256 = hashlib.sha256()
    with assert_checkpoints():
        assert await store.feed(KEY, sha256, 2, 5) == 5
    assert await store.feed(KEY, sha256, 8, 100) == 2
    for start, max_bytes in ((10, 5), (99, 5), (0, 0)):
        assert await store.feed(KEY, sha256, start, max_bytes) == 0
    assert sha256.digest() == hashlib.sha256(b"2345689").digest()


async def test_feeding_more_than_one_step(store: BlobStore) -> None:
    data = random.Random(2).randbytes(2_500_000)
    await put(store, data)
    sha256 = hashlib.sha256()
    assert await store.feed(KEY, sha256, 3, 2_400_000) == 2_400_000
    assert await store.feed(KEY, sha256, 2_400_003, 2_400_000) == 99_997
    assert sha256.digest() == hashlib.sha256(data[3:]).digest()


async def test_feeding_from_a_blob_that_is_still_written(store: BlobStore) -> None:
    writer = await store.open_writer(KEY, at=0)
    await writer.write(memoryview(b"abc"))
    sha256 = hashlib.sha256()
    assert await store.feed(KEY, sha256, 0, 100) == 3
    assert sha256.digest() == hashlib.sha256(b"abc").digest()
    await writer.write(memoryview(b"def"))
    await writer.aclose()
    assert await incoming_content(store) == b"abcdef"


async def test_feeding_from_what_is_not_there(store: BlobStore) -> None:
    await put(store, b"abc")
    await store.publish(KEY, "personal", NAME)
    sha256 = hashlib.sha256()
    for missing in (KEY, "00"):
        with pytest.raises(BlobMissing):
            await store.feed(missing, sha256, 0, 1)
    assert sha256.digest() == hashlib.sha256().digest()


async def test_a_cancelled_caller_feeds_nothing(store: BlobStore) -> None:
    await put(store, b"abc")
    sha256 = hashlib.sha256()
    with trio.CancelScope() as scope:
        scope.cancel()
        await store.feed(KEY, sha256, 0, 3)
    assert scope.cancelled_caught
    assert sha256.digest() == hashlib.sha256().digest()
