"""Upload URLs, and which protocol a request to one speaks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.protocol.header_fields import Fields
from penstock.protocol.upload_resources import is_draft, is_upload_id, media_type, upload_id_in

ID = "0123456789abcdef" * 2


@pytest.mark.parametrize(
    ("text", "accepted"),
    [
        (ID, True),
        ("0" * 32, True),
        ("0" * 12 + ID, True),
        ("0" * 11 + ID, False),
        ("0" * 13 + ID, False),
        (ID.upper(), False),
        (ID[1:], False),
        (ID + "0", False),
        (ID + "\n", False),
        ("g" * 32, False),
        ("٣" * 32, False),
        ("", False),
    ],
)
def test_ids(text: str, accepted: bool) -> None:
    assert is_upload_id(text) is accepted


@pytest.mark.parametrize(
    ("pairs", "draft"),
    [
        ([], False),
        ([("Tus-Resumable", "1.0.0")], False),
        ([("Content-Type", "application/offset+octet-stream")], False),
        ([("Upload-Draft-Interop-Version", "8")], True),
        ([("upload-complete", "?0")], True),
        ([("Upload-Incomplete", "?1")], True),
        ([("Content-Type", "Application/Partial-Upload; a=b")], True),
        ([("Tus-Resumable", "1.0.0"), ("Upload-Complete", "garbage")], True),
    ],
)
def test_which_protocol(pairs: list[tuple[str, str]], draft: bool) -> None:
    assert is_draft(Fields(pairs)) is draft


@pytest.mark.parametrize(
    ("values", "kind"),
    [([], ""), (["Text/Plain"], "text/plain"), (["a/b ; c=d"], "a/b"), (["a/b", "c/d"], "a/b,c/d")],
)
def test_media_types(values: list[str], kind: str) -> None:
    assert media_type(Fields(("Content-Type", value) for value in values)) == kind


@pytest.mark.parametrize(
    "url",
    [
        f"/files/{ID}",
        f"https://up.example/files/{ID}",
        f"HTTP://up.example/files/{ID}",
        f"//up.example/files/{ID}",
        f"https://up.example/behind/a/proxy/files/{ID}",
        f"/behind/files/{ID}",
        ID,
        f"./{ID}",
        f"../files/{ID}",
    ],
)
def test_urls_of_uploads(url: str) -> None:
    assert upload_id_in(url, lambda authority: authority == "up.example") == ID


@pytest.mark.parametrize(
    "url",
    [
        "",
        "/",
        "/files/",
        "files",
        f"/files/{ID}/",
        f"/files/{ID}/x",
        f"/files/{ID}0",
        f"/files/{ID.upper()}",
        f"/uploads/{ID}",
        f"/notfiles/{ID}",
        f"/files%2F{ID}",
        f"/files/{ID}?x=1",
        f"/files/{ID}#x",
        f"/files/../{ID}",
        "/files/../../etc/passwd",
        f"https://evil.example/files/{ID}",
        f"//evil.example/files/{ID}",
        f"https:///files/{ID}",
        f"https:/files/{ID}",
        f"ftp://up.example/files/{ID}",
        f"file:///files/{ID}",
        f"javascript:/files/{ID}",
        f"https://up.example@evil.example/files/{ID}",
        f"https://[/files/{ID}",
        f"/files/{ID}\n",
        f"/files/{ID},/files/{ID}",
        f"/files/{ID};/files/{ID}",
        f"/fi les/{ID}",
        f"\x00/files/{ID}",
        f"\\\\evil.example/files/{ID}x",
    ],
)
def test_urls_of_nothing_of_ours(url: str) -> None:
    assert upload_id_in(url, lambda authority: authority == "up.example") is None


@given(st.text())
def test_any_text_names_an_upload_or_nothing(url: str) -> None:
    found = upload_id_in(url, lambda _: True)
    assert found is None or is_upload_id(found)
