"""Logs: one JSON object a line on stderr, or readable lines if stderr is a terminal.

A line has `timestamp`, `level`, `event`; `sessionId`, `fileId` and `userId` where they apply; everything
else is under `data`. Code logs through structlog with snake_case fields (`file_id=…`); what libraries log
through `logging` takes the same way. Tokens never appear: see `SECRET`.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import threading
from contextlib import suppress
from typing import TextIO

import structlog
from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
SECRET = re.compile(r"token|authori[sz]ation|cookie|secret|password|watch_?key|signature", re.IGNORECASE)
TOP_LEVEL = {"session_id": "sessionId", "file_id": "fileId", "user_id": "userId"}
PLAIN = ("timestamp", "level", "event")
WRITING = threading.Lock()  # one for all: loggers are made anew for each line


def configure(level: str, stream: TextIO | None = None) -> None:
    """Send everything at or above `level` to `stream` (stderr), from here and from libraries."""
    stream = stream or sys.stderr
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _hide_secrets,
            *_rendering(stream),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=lambda *_names: _Lines(stream),
        cache_logger_on_first_use=False,  # module-level loggers must follow a later call of this
    )
    logging.basicConfig(handlers=[_ToStructlog()], level=LEVELS[level], force=True)
    logging.captureWarnings(True)


def _rendering(stream: TextIO) -> list[Processor]:
    if stream.isatty():
        # repr: a file name must not be able to send escape sequences to the operator's terminal
        return [structlog.dev.ConsoleRenderer(repr_native_str=True)]
    return [structlog.processors.format_exc_info, _log_entry, _to_json]


def _hide_secrets(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    return {key: "[hidden]" if SECRET.search(key) else value for key, value in event.items()}


def _log_entry(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """The shape of a log line: known fields on top, in camelCase, the rest under `data`."""
    entry: EventDict = {key: event.pop(key) for key in PLAIN}
    entry["timestamp"] = entry["timestamp"][:-4] + "Z"  # milliseconds, as in every time we write
    entry["level"] = {"warning": "warn", "critical": "error"}.get(entry["level"], entry["level"])
    for key, name in TOP_LEVEL.items():
        if key in event:
            entry[name] = event.pop(key)
    if event:
        entry["data"] = event
    return entry


def _to_json(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    return json.dumps(event, ensure_ascii=False, default=repr, separators=(",", ":"))


class _Lines:
    """Writes whole lines, from any thread. When nobody reads them any more, they are dropped."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, line: str) -> None:
        with WRITING, suppress(OSError):
            self._stream.write(line + "\n")
            self._stream.flush()

    debug = info = warning = error = critical = write


class _ToStructlog(logging.Handler):
    """Hands what libraries log to structlog, with the library's logger as a field."""

    def emit(self, record: logging.LogRecord) -> None:
        logger: FilteringBoundLogger = structlog.get_logger()
        try:
            # As a field, never as the format string: the text is the library's, percent signs and all.
            logger.log(record.levelno, record.getMessage(), exc_info=record.exc_info, logger=record.name)
        except Exception:  # a log line must never be the end of what it tells about
            self.handleError(record)
