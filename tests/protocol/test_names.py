"""Names from clients: what is refused, what is made harmless, and what ours give away (nothing)."""

from __future__ import annotations

import re
import unicodedata
from itertools import combinations
from uuid import RFC_4122, UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from penstock.protocol.errors import InvalidMessage, InvalidSession
from penstock.protocol.names import (
    MAX_SAFE_NAME_BYTES,
    check_file_id,
    check_file_name,
    check_session_reference,
    file_id,
    is_category,
    is_watch_key,
    public_id,
    safe_name,
    stored_name,
    upload_id,
    watch_key,
)
from penstock.protocol.upload_resources import is_upload_id
from penstock.storage.blobs.names import is_name

KEY = bytes(range(32))
SID = "550e8400-e29b-41d4-a716-446655440000"
NOW = 1_768_473_000
OTHER_SID = "6ba7b810-9dad-41d1-80b4-00c04fd430c8"

anything = st.text(st.characters())  # lone surrogates too

# safe_name


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("movie.mp4", "movie.mp4"),
        ("旅行 2026.mp4", "旅行_2026.mp4"),
        ("a\r\nSet-Cookie: x=1", "a__Set-Cookie__x=1"),
        ("", "file"),
        (".", "file"),
        ("..", "file"),
        ("...", "file"),
        (" . . ", "file"),
        ("../../etc/passwd", "passwd"),
        ("..\\..\\boot.ini", "boot.ini"),
        ("C:\\photos\\a.jpg", "a.jpg"),
        ("a/", "file"),
        ("\0", "_"),
        ("a\0.txt", "a_.txt"),
        ('"><script>.svg', "___script_.svg"),
        ("it's %2e%2e.txt", "it_s__2e_2e.txt"),
        (".htaccess", "htaccess"),
        ("a.txt. .", "a.txt"),
        ("  a.txt  ", "a.txt"),
        ("invoice\u202egnp.exe", "invoice_gnp.exe"),
        ("😀.png", "_.png"),
        ("e\u0301.txt", "é.txt"),
        ("\ud800.txt", "_.txt"),
        ("a;b|c&d$(e)`f`.sh", "a_b_c_d_(e)_f_.sh"),
        ("-rf", "-rf"),
        ("名" * 200 + ".mp4", "名" * 62 + ".mp4"),  # 62 × 3 + 4 = 190
        ("x" * 255, "x" * 190),
        ("x" * 251 + ".tar", "x" * 186 + ".tar"),
        ("x." + "y" * 32, "x." + "y" * 32),
        ("x." + "y" * 33, "x." + "y" * 33),
        ("x" * 200 + "." + "y" * 33, "x" * 190),  # what is that long is no extension
        ("x" * 100 + "." * 90 + "y" * 50, "x" * 100),  # where it is cut it does not end in dots either
        ("." * 255, "file"),
    ],
)
def test_safe_name(name: str, expected: str) -> None:
    assert safe_name(name) == expected


@given(anything)
@example("\u2044\u29f8\uff0f\uff3c")  # look like separators
@example("a" * 300 + "/..")
def test_a_safe_name_is_harmless(name: str) -> None:
    safe = safe_name(name)
    assert safe_name(safe) == safe
    assert 0 < len(safe.encode()) <= MAX_SAFE_NAME_BYTES  # and so it is valid UTF-8
    assert safe[0] != "."
    assert not set(safe) & set("/\\\0\r\n\t '\"<>&%?#:;*|`$~")
    assert not [
        char for char in safe if unicodedata.category(char) in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp", "Zs")
    ]


@given(anything, st.from_regex(r"[A-Za-z0-9]{1,10}", fullmatch=True))
def test_the_extension_is_kept(stem: str, extension: str) -> None:
    base = stem.replace("\\", "/").rsplit("/", 1)[-1]
    if base.strip(" ."):
        assert safe_name(f"{stem}.{extension}").endswith(f".{extension}")


# Checks


@pytest.mark.parametrize("file_id", ["a", "file-1", "A.b_C-9", "..", "x" * 128])
def test_a_good_file_id(file_id: str) -> None:
    assert check_file_id(file_id) == file_id


@pytest.mark.parametrize("file_id", ["", "x" * 129, "a b", "a/b", "a\n", "\na", "é", "a\0", "a%", "\ud800"])
def test_a_bad_file_id(file_id: str) -> None:
    with pytest.raises(InvalidMessage, match=r"^fileId: "):
        check_file_id(file_id)
    with pytest.raises(InvalidMessage, match=r"^topic: "):
        check_file_id(file_id, "topic")


@pytest.mark.parametrize("name", ["a", "x" * 1024, "名" * 341, "a\r\nb", "../x", "{0}", "😀" * 256])
def test_a_file_name_is_kept_as_it_is(name: str) -> None:
    assert check_file_name(name) == name


@pytest.mark.parametrize("name", ["", "x" * 1025, "名" * 342, "a\ud800", "\udfff" * 2000])
def test_a_bad_file_name(name: str) -> None:
    with pytest.raises(InvalidMessage, match=r"^fileName: "):
        check_file_name(name)
    with pytest.raises(InvalidMessage, match=r"^filename: "):
        check_file_name(name, "filename")


@given(anything)
def test_a_file_name_that_passes_can_be_sent(name: str) -> None:
    try:
        checked = check_file_name(name)
    except InvalidMessage:
        return
    assert 0 < len(checked.encode()) <= 1024


@pytest.mark.parametrize("name", ["personal", "scenic", "0", "a-b_c", "a" * 32])
def test_a_category(name: str) -> None:
    assert is_category(name)


@pytest.mark.parametrize("name", ["", "A", "-a", "_a", "a" * 33, "a/b", "a.b", "..", "a\n", "é"])
def test_no_category(name: str) -> None:
    assert not is_category(name)


@pytest.mark.parametrize("reference", [SID, SID.upper(), "w_" + "0a" * 20, "W_" + "0A" * 20])
def test_a_session_reference_is_told_in_lower_case(reference: str) -> None:
    assert check_session_reference(reference) == reference.lower()


@pytest.mark.parametrize(
    "reference",
    [
        "",
        "test-session",
        SID.replace("-", ""),
        SID[:14] + "1" + SID[15:],  # not version 4
        SID[:19] + "c" + SID[20:],  # not the RFC 9562 variant
        f"{{{SID}}}",
        f"urn:uuid:{SID}",
        SID + "\n",
        " " + SID,
        "w_" + "0" * 39,
        "w_" + "0" * 41,
        "w_" + "g" * 40,
        "\ud800",
        "w_" + "٠" * 40,
    ],
)
def test_a_bad_session_reference(reference: str) -> None:
    with pytest.raises(InvalidSession, match=r"^sessionId: "):
        check_session_reference(reference)
    with pytest.raises(InvalidSession, match=r"^topic: "):
        check_session_reference(reference, "topic")


# What is made of ids


def test_links_that_were_given_away_stay_valid() -> None:
    """Computed once; another value would break every share link. (Public ids are kept in their rows.)"""
    assert watch_key(KEY, SID) == "w_ca6d81ab650d5330a5ce868a676f8f825fcb42a0"
    assert public_id(KEY, SID, "file-1", 1, NOW) == "019bc134-7840-7a29-88da-b0914c6dfe2a"


def test_a_watch_key_looks_like_one() -> None:
    assert is_watch_key(watch_key(KEY, SID))
    assert not is_watch_key(SID)


def test_an_id_of_ours_is_a_uuid_and_never_a_session_id() -> None:
    for made in (public_id(KEY, SID, "file-1", 1, NOW), file_id(NOW, bytes(range(10)))):
        assert str(UUID(made)) == made
        assert (UUID(made).version, UUID(made).variant) == (7, RFC_4122)
        assert UUID(made).int >> 80 == NOW * 1000
        with pytest.raises(InvalidSession):
            check_session_reference(made)


def test_an_upload_id_has_128_random_bits() -> None:
    noise = bytes(range(0xF0, 0x100))
    made = upload_id(NOW, noise)
    assert is_upload_id(made)
    assert (int(made[:12], 16), made[12:]) == (NOW * 1000, noise.hex())


@given(st.lists(st.binary(min_size=10, max_size=10), unique=True, max_size=8))
def test_a_file_id_has_74(dice: list[bytes]) -> None:
    spared = {int.from_bytes(noise) & ~(0b11 << 66 | 0b1111) for noise in dice}
    assert len({file_id(NOW, noise) for noise in dice}) == len(spared)


@given(st.integers(0, 2**41), st.integers(2, 10**12), st.binary(min_size=16, max_size=16))
def test_ids_are_in_order_of_time(unix_ms: int, later_ms: int, noise: bytes) -> None:
    """So they come at the end of an index, wherever the random part would have put them."""
    first, second = unix_ms / 1000, (unix_ms + later_ms) / 1000
    highest = b"\xff" * 16
    assert upload_id(first, highest) < upload_id(second, noise)
    assert file_id(first, highest) < file_id(second, noise)
    assert public_id(KEY, SID, "f", 1, first) < public_id(KEY, SID, "f", 1, second)


def test_every_input_makes_another_key() -> None:
    made = [watch_key(KEY, SID), watch_key(KEY, OTHER_SID), watch_key(KEY[1:], SID)]
    made += [
        public_id(KEY, SID, "file-1", 1, NOW),
        public_id(KEY[1:], SID, "file-1", 1, NOW),
        public_id(KEY, OTHER_SID, "file-1", 1, NOW),
        public_id(KEY, SID, "file-2", 1, NOW),
        public_id(KEY, SID, "file-1", 2, NOW),
        public_id(KEY, SID, "file-11", 1, NOW),
        public_id(KEY, SID, "file-", 11, NOW),  # where one input ends matters
        public_id(KEY, SID, "file-1", 11, NOW),
    ]
    bare = [one.removeprefix("w_").replace("-", "") for one in made]
    assert not [pair for pair in combinations(bare, 2) if pair[0][-10:] == pair[1][-10:]]


@given(st.uuids(version=4), st.from_regex(r"[A-Za-z0-9._-]{4,128}", fullmatch=True))
def test_nothing_of_an_id_can_be_seen(session_id: UUID, name: str) -> None:
    made = watch_key(KEY, str(session_id)) + public_id(KEY, str(session_id), name, 1, NOW)
    parts = [str(session_id), session_id.hex, *str(session_id).split("-")[::4]]
    assert not [part for part in parts if part in made]


@given(anything, st.from_regex(r"[A-Za-z0-9._-]{1,128}", fullmatch=True), st.integers(1, 10**6))
@example("x" * 300, "..", 1)
@example("名" * 300, "a", 1)
def test_a_stored_name_fits_any_file_system(name: str, called: str, attempt: int) -> None:
    made = stored_name(KEY, SID, called, attempt, 1768473000.25, name)
    assert len(made.encode()) <= 255
    assert not set(made) & set("/\\\0")
    assert is_name(made), "the store takes it"
    assert re.match(r"[0-9a-f-]{36}_2026-01-15T10-30-00_250Z_.", made)
    assert made.endswith(f"_{safe_name(name)}")
