"""Log lines: their shape, what must never be in them, and that libraries' lines are like ours."""

from __future__ import annotations

import io
import json
import logging
import re
from collections.abc import Iterator

import pytest
import structlog
import trio

from penstock.server import log


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Broken(io.StringIO):
    def write(self, text: str) -> int:
        raise BrokenPipeError


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    root = logging.getLogger()
    before = (root.level, root.handlers[:])
    yield
    structlog.reset_defaults()
    logging.captureWarnings(False)
    root.setLevel(before[0])
    root.handlers[:] = before[1]


@pytest.fixture
def out() -> io.StringIO:
    stream = io.StringIO()
    log.configure("info", stream)
    return stream


def entries(out: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_a_line_is_one_object_with_known_fields_on_top(out: io.StringIO) -> None:
    structlog.get_logger().info("upload-paused", session_id="s", file_id="f", user_id="u", offset=3)
    (line,) = entries(out)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", str(line.pop("timestamp")))
    assert line == {
        "level": "info",
        "event": "upload-paused",
        "sessionId": "s",
        "fileId": "f",
        "userId": "u",
        "data": {"offset": 3},
    }


def test_levels_are_filtered_and_named(out: io.StringIO) -> None:
    logger = structlog.get_logger()
    for level in ("debug", "info", "warning", "error"):
        logger.log(log.LEVELS[level], "x")
    assert [line["level"] for line in entries(out)] == ["info", "warn", "error"]


@pytest.mark.parametrize(
    "name", ["token", "access_token", "Authorization", "cookie", "watch_key", "watchKey", "password"]
)
def test_secrets_are_hidden(out: io.StringIO, name: str) -> None:
    structlog.get_logger().info("x", **{name: "w_5ecret"})
    assert "5ecret" not in out.getvalue()


def test_what_a_client_named_stays_one_line(out: io.StringIO) -> None:
    structlog.get_logger().info("x", name='a\n"b"\x1b[31m中文\udc80', thing=object)
    (line,) = entries(out)
    assert isinstance(line["data"], dict)
    assert line["data"]["name"] == 'a\n"b"\x1b[31m中文\udc80'
    assert "\x1b" not in out.getvalue()


def test_exceptions_are_told_with_their_trace(out: io.StringIO) -> None:
    try:
        raise ExceptionGroup("several", [ValueError("the inner one")])
    except ExceptionGroup as error:
        structlog.get_logger().error("failed", exc_info=error)
    (line,) = entries(out)
    assert isinstance(line["data"], dict)
    assert "ValueError: the inner one" in line["data"]["exception"]


def test_libraries_take_the_same_way(out: io.StringIO) -> None:
    logging.getLogger("hypercorn.error").warning("100%% of %s", "it")
    logging.getLogger("noisy").debug("no")
    (line,) = entries(out)
    assert (line["level"], line["event"], line["data"]) == (
        "warn",
        "100% of it",
        {"logger": "hypercorn.error"},
    )


def test_a_terminal_gets_readable_lines_without_foreign_escapes() -> None:
    stream = Terminal()
    log.configure("info", stream)
    structlog.get_logger().info("x", name="\x1b[31mred", watch_key="w_5ecret")
    text = re.sub(r"\x1b\[\d*m", "", stream.getvalue())
    assert r"name='\x1b[31mred'" in text
    assert "5ecret" not in text


def test_a_log_nobody_reads_ends_nothing() -> None:
    log.configure("info", Broken())
    structlog.get_logger().info("x")


async def test_context_follows_tasks_and_threads(out: io.StringIO) -> None:
    async def child() -> None:
        await trio.to_thread.run_sync(lambda: structlog.get_logger().info("in-thread"))

    with structlog.contextvars.bound_contextvars(session_id="s"):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(child)
    assert [line["sessionId"] for line in entries(out)] == ["s"]
