"""Names from clients: which are accepted, and what becomes of them on the disk."""

from __future__ import annotations

import unicodedata

from penstock.protocol.errors import GatewayError
from penstock.protocol.names import (
    MAX_FILE_NAME_BYTES,
    MAX_SAFE_NAME_BYTES,
    check_file_id,
    check_file_name,
    check_session_reference,
    is_category,
    is_file_id,
    is_watch_key,
    safe_name,
    stored_name,
)
from tests.fuzz.promises import refused
from tests.fuzz.target import Target

KEY = b"k" * 32
SID = "3f2504e0-4f89-41d3-9a0c-0305e82c3301"
_PLAIN = frozenset("-._")


def _check_safe(name: str) -> None:
    safe = safe_name(name)
    assert 0 < len(safe.encode()) <= MAX_SAFE_NAME_BYTES
    assert not any(unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp", "Zs") for char in safe)
    assert not set(safe) & set("/\\:*?\"<>|%#&;'`$~\0"), "no separator, and nothing a shell or a URL reads"
    assert safe not in (".", "..")
    assert safe[0] != "."
    assert safe_name(safe) == safe, "what is safe stays as it is"
    published = stored_name(KEY, SID, "f", 1, 0.0, name)
    assert len(published.encode()) <= 255, "NAME_MAX of every file system in use"
    assert published.endswith(safe)


def _names(data: bytes) -> str:
    name = data.decode(errors="surrogateescape")
    answers = []
    try:
        check_file_name(name)
        assert name
        assert len(name.encode()) <= MAX_FILE_NAME_BYTES
        _check_safe(name)
    except GatewayError as error:
        answers.append(refused(error))
    return f"{answers} {is_category(name)} {name.count('.') > 1} {'/' in name} {name.isascii()}"


def _identities(data: bytes) -> str:
    text = data.decode(errors="surrogateescape")
    return " | ".join((_file_id(text), _reference(text)))


def _file_id(text: str) -> str:
    try:
        assert check_file_id(text) == text
    except GatewayError as error:
        assert not is_file_id(text)
        return refused(error)
    assert is_file_id(text)
    assert 0 < len(text) <= 128
    assert all(char.isascii() and (char.isalnum() or char in _PLAIN) for char in text)
    return "id"


def _reference(text: str) -> str:
    try:
        found = check_session_reference(text)
    except GatewayError as error:
        assert not is_watch_key(text)
        return refused(error)
    assert found == text.lower()
    assert found.isascii()
    assert check_session_reference(found) == found
    return f"{is_watch_key(found)}"


TARGETS = (
    Target(
        "names",
        "a file's name becomes one path segment of at most 255 bytes, without separators, control or "
        "invisible characters, not hidden, or is refused",
        (check_file_name, safe_name, stored_name, is_category),
        (
            b"movie.mp4",
            "文档 (1).tar.gz".encode(),
            b"C:\\dir\\a.txt",
            b"../../etc/passwd",
            b".htaccess",
            b"a" * 300 + b".jpeg",
            b"personal",
            "e\u0301\u202etxt.exe".encode(),
        ),
        _names,
        (
            b"/",
            b"\\",
            b"..",
            b".",
            b" ",
            b"\xe2\x80\xae",
            b"\xc2\x85",
            b"\xe2\x80\xa8",
            b"CON",
            b"\xcc\x80\xcc\x96",
        ),
        (b"a" * 10**6, b"\xcc\x80\xcc\x96" * 10**5),
    ),
    Target(
        "identities",
        "a file's id is 1 to 128 plain characters, a session's reference an id or a watch key, or refused",
        (check_file_id, is_file_id, check_session_reference, is_watch_key),
        (b"f-1", b"a.B_c-9" * 18, SID.encode(), SID.upper().encode(), b"w_" + b"0a" * 20),
        _identities,
        (b"w_", b"-4", b"\n", b"\xe2\x84\xaa", b"\xc4\xb0"),  # a KELVIN SIGN and an İ change when lowered
        (b"f" * 10**6,),
    ),
)
