"""The IETF draft's requests as values, in all its dialects."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.protocol.errors import (
    FileNotFound,
    GatewayError,
    InconsistentLength,
    InvalidMessage,
    InvalidSession,
    OffsetMismatch,
    UnsupportedFormat,
    UploadAlreadyCompleted,
)
from penstock.protocol.header_fields import Fields
from penstock.protocol.rufh import (
    DIALECTS,
    Append,
    Creation,
    check_bare,
    completeness,
    is_repetition,
    limits,
    parse_append,
    parse_creation,
    spoken_by,
)
from penstock.protocol.rufh_problems import problem_members

MODEL = DIALECTS[8]
TYPED = {"Content-Type": "application/partial-upload"}
SHA256 = f"sha-256=:{base64.b64encode(hashlib.sha256(b'x').digest()).decode()}:"


def fields(**values: str | list[str]) -> Fields:
    """By names in snake_case."""
    return Fields(
        (name.replace("_", "-"), value)
        for name, lines in values.items()
        for value in (lines if isinstance(lines, list) else [lines])
    )


def creation(body_bytes: int | None = None, version: int = 8, **values: Any) -> Creation:
    return parse_creation(fields(**values), DIALECTS[version], body_bytes, 4096)


def append(body_bytes: int | None = None, version: int = 8, **values: Any) -> Append:
    return parse_append(
        Fields([*TYPED.items(), *((name.replace("_", "-"), str(value)) for name, value in values.items())]),
        DIALECTS[version],
        body_bytes,
    )


# Which dialect


@pytest.mark.parametrize("version", [3, 5, 6, 8])
def test_rufh_V1_a_known_version_selects_its_dialect(version: int) -> None:
    spoken = spoken_by(fields(upload_draft_interop_version=f"{version};p=1"))
    assert (spoken.dialect.version, spoken.named) == (version, True)


@pytest.mark.parametrize("said", [[], ["7"], ["4"], ["9"], ["8.0"], ["eight"], ["8", "8"], ["6", "8"], [""]])
def test_rufh_V3_any_other_version_is_served_as_the_newest_unnamed(said: list[str]) -> None:
    spoken = spoken_by(fields(upload_draft_interop_version=said, upload_complete="?1"))
    assert (spoken.dialect.version, spoken.named) == (8, False)


def test_rufh_V3_without_a_version_the_old_field_means_the_old_dialect() -> None:
    spoken = spoken_by(fields(upload_incomplete="?1"))
    assert (spoken.dialect.version, spoken.named) == (3, False)
    assert spoken_by(fields(upload_incomplete="?1", upload_complete="?1")).dialect.version == 8


# Fields


@pytest.mark.parametrize(
    "said", ["-1", "5.0", '"5"', "five", "(5)", "5, 6", "1" + "0" * 15, "", "٥", ["5", "5"], ["5", ""]]
)
def test_rufh_F1_what_is_no_offset_counts_as_absent(said: str | list[str]) -> None:
    assert creation(upload_complete="?1", upload_length=said).length is None
    with pytest.raises(InvalidMessage, match=r"^Upload-Offset: "):
        parse_append(
            fields(content_type=TYPED["Content-Type"], upload_complete="?1", upload_offset=said), MODEL, None
        )


@pytest.mark.parametrize("said", ["1", "true", "?2", "?1, ?1", "", ["?1", "?1"]])
@pytest.mark.parametrize("version", [3, 5, 6, 8])
def test_rufh_F2_what_is_no_boolean_never_completes_an_upload(said: str | list[str], version: int) -> None:
    values: dict[str, Any] = {DIALECTS[version].completeness.replace("-", "_"): said}
    with pytest.raises(InvalidMessage, match=r"\?0 or \?1 is expected"):
        creation(version=version, **values)


def test_rufh_F4_parameters_are_passed_over() -> None:
    found = append(upload_offset="5;a", upload_complete="?1;x=1", upload_length="9; why=because")
    assert found == Append(5, True, 9, None)


@given(st.text(), st.text(), st.text(), st.sampled_from([3, 5, 6, 8]))
def test_any_fields_are_a_request_or_refused(offset: str, complete: str, length: str, version: int) -> None:
    values = {"Upload-Offset": offset, DIALECTS[version].completeness: complete, "Upload-Length": length}
    for parse in (
        lambda pairs: parse_creation(Fields(pairs), DIALECTS[version], None, 4096),
        lambda pairs: parse_append(Fields(pairs), DIALECTS[version], None),
    ):
        try:
            found = parse([*values.items(), *TYPED.items()])
        except GatewayError:
            continue
        assert found.length is None or 0 <= found.length < 10**15


# Creation


@pytest.mark.parametrize(
    ("version", "name", "said", "complete"),
    [
        (8, "upload_complete", "?1", True),
        (8, "upload_complete", "?0", False),
        (6, "upload_complete", "?0", False),
        (5, "upload_complete", "?1", True),
        (3, "upload_incomplete", "?1", False),
        (3, "upload_incomplete", "?0", True),
        (3, "upload_complete", "?0", True),  # a field it does not know
    ],
)
def test_completeness_in_each_dialect(version: int, name: str, said: str, complete: bool) -> None:
    values: dict[str, Any] = {name: said}
    assert creation(version=version, **values).complete is complete


@pytest.mark.parametrize(("version", "completes"), [(3, True), (5, True), (6, False), (8, False)])
def test_without_completeness_the_older_dialects_bring_the_end(version: int, completes: bool) -> None:
    if completes:
        assert creation(version=version).complete
        assert append(version=version, upload_offset="3").complete
        return
    with pytest.raises(InvalidMessage):
        creation(version=version)
    with pytest.raises(InvalidMessage):
        append(version=version, upload_offset="3")


@pytest.mark.parametrize(
    ("complete", "length", "body_bytes", "known"),
    [
        ("?1", None, 7, 7),
        ("?1", "7", 7, 7),
        ("?1", "7", None, 7),
        ("?1", None, None, None),
        ("?1", None, 0, 0),
        ("?0", None, 7, None),
        ("?0", "9", 7, 9),
        ("?0", "7", 7, 7),
        ("?0", None, 0, None),
    ],
)
def test_rufh_C7_the_length_is_what_either_says(
    complete: str, length: str | None, body_bytes: int | None, known: int | None
) -> None:
    more: dict[str, Any] = {"upload_length": length} if length else {}
    assert creation(body_bytes, upload_complete=complete, **more).length == known


@pytest.mark.parametrize(
    ("complete", "length", "body_bytes"), [("?1", "8", 7), ("?1", "6", 7), ("?0", "6", 7)]
)
def test_rufh_C7_two_lengths_are_inconsistent(complete: str, length: str, body_bytes: int) -> None:
    with pytest.raises(InconsistentLength):
        creation(body_bytes, upload_complete=complete, upload_length=length)


def test_an_append_at_the_address_of_creations_is_refused() -> None:
    with pytest.raises(InvalidMessage, match="at its own URL"):
        creation(upload_complete="?1", upload_offset="5")
    assert creation(upload_complete="?1", upload_offset="0").complete


def test_rufh_C12_name_and_type_of_the_file() -> None:
    found = creation(
        upload_complete="?1",
        content_type="Text/Plain; charset=utf-8",
        content_disposition="inline; filename=x; filename*=UTF-8''%e2%82%ac",
    )
    assert (found.file_name, found.file_type) == ("€", "Text/Plain; charset=utf-8")


def test_the_type_of_a_piece_is_not_that_of_the_file() -> None:
    assert creation(upload_complete="?0", content_type="Application/Partial-Upload").file_type == ""


def test_what_tus_metadata_says_too() -> None:
    def encoded(text: str) -> str:
        return base64.b64encode(text.encode()).decode()

    session = "1b4e28ba-2fa1-41d2-883f-0016d3cca427"
    metadata = (
        f"filename {encoded('a.txt')},filetype {encoded('text/plain')},sessionId {encoded(session)},"
        f"fileId {encoded('f1')},category {encoded('scenic')},colour {encoded('red')}"
    )
    found = creation(upload_complete="?0", upload_metadata=metadata)
    assert (found.file_name, found.file_type, found.upload_metadata) == ("a.txt", "text/plain", metadata)
    described = found.described
    assert (described.session_id, described.file_id, described.category) == (session, "f1", "scenic")
    assert described.texts == {"colour": "red"}
    named = creation(
        upload_complete="?0",
        upload_metadata=metadata,
        content_type="image/png",
        content_disposition="inline; filename=b",
    )
    assert (named.file_name, named.file_type) == ("b", "image/png")
    with pytest.raises(InvalidMessage):
        creation(upload_complete="?0", upload_metadata="a ?")
    with pytest.raises(InvalidSession):
        creation(upload_complete="?0", upload_metadata=f"sessionId {encoded('x')}")


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        ({}, ""),
        ({"want_repr_digest": "sha-256=1"}, "sha-256"),
        ({"want_repr_digest": "md5=1"}, ""),
        ({"want_repr_digest": "?"}, ""),
        ({"repr_digest": SHA256}, SHA256),
        ({"repr_digest": SHA256, "want_repr_digest": "sha-512=1"}, SHA256),
        ({"repr_digest": ["md5=:AAAA:", SHA256]}, SHA256),
        ({"repr_digest": "md5=:AAAA:"}, ""),
        ({"repr_digest": "md5=:AAAA:", "want_repr_digest": "sha-512=1"}, "sha-512"),
    ],
)
def test_rufh_G1_G2_digests_of_the_whole(values: dict[str, Any], wanted: str) -> None:
    assert creation(upload_complete="?1", **values).digest_wanted == wanted


def test_a_malformed_digest_is_refused() -> None:
    with pytest.raises(InvalidMessage, match=r"^Repr-Digest"):
        creation(upload_complete="?1", repr_digest="sha-256=:AAAA:")


# Append


@pytest.mark.parametrize("said", ["", "application/octet-stream", "application/offset+octet-stream", "x"])
@pytest.mark.parametrize(("version", "refused"), [(3, False), (5, False), (6, True), (8, True)])
def test_rufh_P1_an_append_has_its_own_media_type(said: str, version: int, refused: bool) -> None:
    pairs = [("Upload-Offset", "3"), (DIALECTS[version].completeness, "?0"), ("Content-Type", said)]
    if not refused:
        assert parse_append(Fields(pairs), DIALECTS[version], None).offset == 3
        return
    with pytest.raises(UnsupportedFormat) as caught:
        parse_append(Fields(pairs), DIALECTS[version], None)
    assert caught.value.headers == {"Accept-Patch": "application/partial-upload"}


def test_rufh_P1_offset_and_completeness_are_needed() -> None:
    with pytest.raises(InvalidMessage, match="Upload-Offset"):
        append(upload_complete="?1")
    with pytest.raises(InvalidMessage, match="Upload-Complete"):
        append(upload_offset="0")


@pytest.mark.parametrize(
    ("complete", "length", "body_bytes", "known"),
    [
        ("?1", None, 7, 12),
        ("?1", "12", 7, 12),
        ("?0", None, 7, None),
        ("?0", "20", 7, 20),
        ("?1", None, None, None),
    ],
)
def test_rufh_P6_the_length_is_what_either_says(
    complete: str, length: str | None, body_bytes: int | None, known: int | None
) -> None:
    more: dict[str, Any] = {"upload_length": length} if length else {}
    found = append(body_bytes, upload_offset="5", upload_complete=complete, **more)
    assert found == Append(5, complete == "?1", known, body_bytes)


def test_rufh_P6_two_lengths_are_inconsistent() -> None:
    with pytest.raises(InconsistentLength):
        append(7, upload_offset="5", upload_complete="?1", upload_length="11")


@pytest.mark.parametrize(
    ("offset", "complete", "length", "body_bytes", "again"),
    [
        (4, True, None, 6, True),
        (4, True, 10, None, True),
        (4, True, None, 5, False),
        (4, False, None, 6, False),
        (4, True, 11, None, False),
        (3, True, None, 7, False),
        (10, True, None, 0, True),
        (10, True, None, None, False),
        (10, False, None, 0, False),
        (11, True, None, 0, False),
    ],
)
def test_rufh_P9_the_append_that_completed_an_upload_is_known_again(
    offset: int, complete: bool, length: int | None, body_bytes: int | None, again: bool
) -> None:
    assert is_repetition(Append(offset, complete, length, body_bytes), 10, final_offset=4) is again


def test_an_upload_completed_by_nobodys_append() -> None:
    assert not is_repetition(Append(0, True, None, None), 10, final_offset=None)


# HEAD and DELETE


@pytest.mark.parametrize("name", ["Upload-Offset", "Upload-Complete", "Upload-Incomplete", "Upload-Length"])
@pytest.mark.parametrize(("version", "refused"), [(3, True), (5, True), (6, True), (8, False)])
def test_rufh_H8_fields_of_an_upload_have_no_place(name: str, version: int, refused: bool) -> None:
    check_bare(Fields([]), DIALECTS[version])
    if not refused:
        check_bare(Fields([(name, "?1")]), DIALECTS[version])
        return
    with pytest.raises(InvalidMessage, match=f"^{name}"):
        check_bare(Fields([(name, "?1")]), DIALECTS[version])


# Answers


@pytest.mark.parametrize(
    ("max_bytes", "seconds_left", "version", "value"),
    [
        (0, None, 8, "min-size=0"),
        (5, None, 8, "max-size=5"),
        (5, 7.9, 8, "max-size=5, max-age=7"),
        (0, 60, 8, "max-age=60"),
        (0, 60, 6, "expires=60"),
        (0, 60, 3, "expires=60"),
        (0, -3, 8, "max-age=0"),
        (10**18, None, 8, "max-size=999999999999999"),
    ],
)
def test_rufh_O2_limits_are_never_empty(
    max_bytes: int, seconds_left: float | None, version: int, value: str
) -> None:
    assert limits(max_bytes, seconds_left, DIALECTS[version]) == value


@pytest.mark.parametrize(
    ("version", "complete", "field"),
    [
        (8, True, {"Upload-Complete": "?1"}),
        (5, False, {"Upload-Complete": "?0"}),
        (3, True, {"Upload-Incomplete": "?0"}),
        (3, False, {"Upload-Incomplete": "?1"}),
    ],
)
def test_completeness_is_said_as_it_is_read(version: int, complete: bool, field: dict[str, str]) -> None:
    assert completeness(DIALECTS[version], complete) == field


@pytest.mark.parametrize(
    ("error", "name", "more"),
    [
        (
            OffsetMismatch("", offset=7),
            "mismatching-upload-offset",
            {"expected-offset": 7, "provided-offset": 3},
        ),
        (UploadAlreadyCompleted(""), "completed-upload", {}),
        (InconsistentLength(""), "inconsistent-upload-length", {}),
    ],
)
def test_rufh_P2_problem_types(error: GatewayError, name: str, more: dict[str, int]) -> None:
    members = problem_members(error, 3)
    assert members.pop("type") == f"https://iana.org/assignments/http-problem-types#{name}"
    assert members.pop("title")
    assert members == more


def test_other_errors_keep_their_problem() -> None:
    assert problem_members(FileNotFound(""), 3) == {}
    assert problem_members(InvalidMessage(""), 3) == {}
