"""The catalogue of messages, and which of its languages somebody gets."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from penstock.protocol.events import CurrentFile, UploadProgress
from penstock.protocol.lifecycle import State
from penstock.protocol.messages import LANGUAGES, choose_language, in_language, message_text
from penstock.protocol.overall import OverallStatus

SEEN_STATES = [state for state in State if state is not State.RETRYING]  # which is shown as failed


def current(name: str, status: str = "uploading") -> CurrentFile:
    return CurrentFile(id="f", original_name=name, progress=1.0, status=status, upload_speed=0.0)


def progress(file: CurrentFile | None, overall: str = "uploading") -> UploadProgress:
    return UploadProgress(
        session_id="s",
        seq=1,
        epoch="e",
        file_id=None if file is None else file.id,
        progress=1.0,
        speed=0.0,
        uploaded_bytes=1,
        total_bytes=100,
        estimated_time_remaining=-1.0,
        timestamp="2026-01-15T10:30:00.000Z",
        overall_status=overall,
        total_progress=1.0,
        completed_files=0,
        failed_files=0,
        current_file=UNSET if file is None else file,
        message="",
        durable_bytes=1,
        attempt=1,
    )


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("overall", OverallStatus)
def test_every_status_has_a_text_of_its_own(overall: OverallStatus, language: str) -> None:
    texts = {status: message_text(status, None, language) for status in OverallStatus}
    assert texts[overall].strip()
    assert list(texts.values()).count(texts[overall]) == 1


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("status", SEEN_STATES)
def test_every_status_of_a_file_has_a_text_that_names_it(status: State, language: str) -> None:
    texts = [message_text("uploading", current("a.mp4", one), language) for one in SEEN_STATES]
    mine = message_text("uploading", current("a.mp4", status), language)
    assert "a.mp4" in mine
    assert texts.count(mine) == 1


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("overall", OverallStatus)
def test_the_file_is_named_only_while_files_move(overall: OverallStatus, language: str) -> None:
    text = message_text(overall, current("a.mp4"), language)
    assert ("a.mp4" in text) == (overall in ("uploading", "pending"))


def test_the_languages_differ() -> None:
    for overall in OverallStatus:
        english, chinese = (message_text(overall, None, language) for language in ("en", "zh"))
        assert english.isascii()
        assert not chinese.isascii()


@pytest.mark.parametrize("language", LANGUAGES)
@given(
    name=st.text() | st.sampled_from(["{0}", "{name}", "{", "}}", "{name.__class__}", "%s%n", "{0!r:>99}"])
)
def test_a_file_name_is_never_a_format(language: str, name: str) -> None:
    plain = message_text("uploading", current("@"), language)
    assert message_text("uploading", current(name), language) == plain.replace("@", name)


@pytest.mark.parametrize(
    ("wanted", "language"),
    [
        ("", "en"),
        ("zh", "zh"),
        ("en", "en"),
        ("ZH-hans-CN", "zh"),
        ("zh_CN", "zh"),
        ("zh-CN,zh;q=0.9,en;q=0.8", "zh"),
        ("en-GB, zh;q=0.5", "en"),
        ("fr-FR, zh;q=0.9, en;q=0.8", "zh"),
        ("de", "en"),
        ("*", "en"),
        ("zhx", "en"),
        (";;,,;q=1", "en"),
        (" zh ;q=1", "zh"),
    ],
)
def test_choose_language(wanted: str, language: str) -> None:
    assert choose_language(wanted) == language


@given(st.text())
def test_whatever_is_wanted_we_have_what_is_chosen(wanted: str) -> None:
    assert choose_language(wanted) in LANGUAGES


@pytest.mark.parametrize("file", [None, current("a.mp4")])
def test_in_another_language_only_the_message_is_another(file: CurrentFile | None) -> None:
    event = progress(file)
    chinese = in_language(event, "zh")
    assert chinese.message == message_text("uploading", file, "zh") != event.message
    assert msgspec.structs.replace(chinese, message="") == event
