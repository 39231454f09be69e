"""The server's numbers, in whatever order they come."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing

from penstock.protocol.snapshot import FileView
from penstock.server.client.display import total_text
from penstock.server.client.numbers import FileNumbers, Numbers
from penstock.server.client.texts import clean, size_text, time_text

COMMON = {"sessionId": "s", "seq": 1, "epoch": "e", "fileId": "1", "attempt": 1}


def progress(
    uploaded: int, *, status: str = "uploading", attempt: int = 1, speed: float = 10.0
) -> dict[str, Any]:
    current = {"id": "1", "originalName": "a", "progress": 0, "status": status, "uploadSpeed": speed}
    numbers = {"uploadedBytes": uploaded, "totalBytes": 100, "durableBytes": 0, "progress": 0, "speed": speed}
    session = {"overallStatus": "uploading", "totalProgress": 0, "completedFiles": 0, "failedFiles": 0}
    rest = {"estimatedTimeRemaining": 1, "timestamp": "", "message": "", "currentFile": current}
    return COMMON | numbers | session | rest | {"attempt": attempt}


def view(uploaded: int, status: str = "uploading", **more: Any) -> FileView:
    known = {"file_id": "1", "file_name": "a", "file_size": 100, "file_type": "", "can_retry": False}
    numbers = {"progress": 0.0, "uploaded_bytes": uploaded, "durable_bytes": uploaded, "attempt": 1}
    return FileView(**known | numbers | {"status": status} | more)  # type: ignore[arg-type]  # one dict


@pytest.fixture
def numbers() -> Numbers:
    return Numbers([FileNumbers("1", "a", 100)])


def test_within_an_attempt_nothing_goes_back(numbers: Numbers) -> None:
    file = numbers.files["1"]
    numbers.note("upload-progress", progress(50))
    numbers.note("upload-progress", progress(40))
    file.note_offset(30, paused=False)
    file.note_view(view(20))
    assert file.uploaded == 50


def test_a_new_attempt_begins_anew_and_the_old_one_is_over(numbers: Numbers) -> None:
    numbers.note("upload-progress", progress(50))
    numbers.note("upload-progress", progress(5, attempt=2))
    numbers.note("upload-progress", progress(60))
    assert numbers.uploaded == 5


def test_the_end_is_final_and_late_news_change_nothing(numbers: Numbers) -> None:
    file = numbers.files["1"]
    file.note_view(view(100, "completed", upload_path="/upload/a"))
    numbers.note("upload-progress", progress(90))
    assert (file.status, file.uploaded, file.upload_path) == ("completed", 100, "/upload/a")


def test_what_this_client_gave_up_stays_failed(numbers: Numbers) -> None:
    file = numbers.files["1"]
    file.fail("it has changed")
    cancelled = {"reason": "", "cancelledAt": "", "uploadedBytes": 0}
    numbers.note("upload-cancelled", COMMON | cancelled)
    assert (file.status, file.problem) == ("failed", "it has changed")


def test_a_break_is_no_failure(numbers: Numbers) -> None:
    numbers.note("upload-progress", progress(50, status="failed"))
    assert numbers.files["1"].status == "retrying"


def test_a_request_hears_of_pauses_while_it_runs(numbers: Numbers) -> None:
    heard: list[bool] = []
    with numbers.files["1"].sending(heard.append):
        numbers.note("upload-progress", progress(1, status="paused"))
        numbers.note("upload-progress", progress(1, status="paused"))
        numbers.note("upload-progress", progress(1))
    numbers.note("upload-progress", progress(1, status="paused"))
    assert heard == [False, True, False]


async def test_a_resume_ends_the_wait(numbers: Numbers, autojump_clock: object) -> None:
    file = numbers.files["1"]
    file.note_offset(1, paused=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(file.wait_resumed)
        await trio.testing.wait_all_tasks_blocked()
        file.note_offset(1, paused=False)


def test_files_and_events_of_others_are_ignored(numbers: Numbers) -> None:
    numbers.note("upload-progress", progress(50) | {"fileId": "2"})
    numbers.note("upload-progress", progress(50) | {"fileId": None})
    numbers.note("something-new", {})
    assert numbers.uploaded == 0


def test_the_total_in_one_line(numbers: Numbers) -> None:
    numbers.active.append(numbers.files["1"])
    numbers.note("upload-progress", progress(50))
    assert total_text(numbers) == "50.0%, 50 B of 100 B, 10 B/s, 0:00:05 left, 0 of 1 files done"


@pytest.mark.parametrize(
    ("shown", "wanted"),
    [
        (size_text(0), "0 B"),
        (size_text(999), "999 B"),
        (size_text(1_500_000), "1.5 MB"),
        (size_text(2e15), "2000.0 TB"),
        (time_text(3725), "1:02:05"),
        (time_text(-1), "-:--:--"),
        (clean("a\x1b[0m\n\u202eb"), "a\ufffd[0m\ufffd\ufffdb"),
        (clean("影片 é"), "影片 é"),
    ],
)
def test_texts(shown: str, wanted: str) -> None:
    assert shown == wanted
