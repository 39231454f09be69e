"""Every target for a short while, and that its corpus and its claims are worth something."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from penstock import protocol
from tests.fuzz.run import fuzz
from tests.fuzz.steps import calls_of
from tests.fuzz.target import Target
from tests.fuzz.targets import TARGETS

SEED = 1
TIMES = 100  # repetitions of a piece, and then four times as many

EACH = pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)

# What is given to these is no client's any more.
NO_CLIENT_TEXT = {
    "downloads.is_shown": "a media type that media_type has checked",
    "envelope.error_data": "a message id that parse_message has checked",
    "errors.error_named": "read by our own command-line client",
    "events.unpack": "what pack wrote into the database",
    "engineio.handshake.open_frame": "a sid of ours",
    "messages.as_seen": "a reference that was checked, and a language that choose_language has chosen",
    "messages.in_language": "a language that choose_language has chosen",
    "messages.message_text": "a status of ours, and such a language",
    "names.file_id": "a time and random bytes of ours",
    "names.public_id": "ids that were checked",
    "names.upload_id": "a time and random bytes of ours",
    "names.watch_key": "a session id of ours",
    "pushes.connection_status": "a client id that was checked",
    "socket_events.error_event": "an event's name as it is told back to its own client, in JSON",
    "socketio.packets.event_text": "names and JSON of ours",
    "socketio.packets.namespace_fault": "called by Decoder.feed",
    "socketio.packets.payload_fault": "called by Decoder.feed",
    "websocket_frames.text_frame": "a message that we have encoded",
}
_TEXT = re.compile(r"\b(str|bytes|object|Fields|Headers)\b")


@EACH
def test_keeps_its_promise(target: Target) -> None:
    """`make fuzz ARGS="NAME --seed 1"` has more patience, and shows what broke it in full."""
    result = fuzz(target, SEED, lambda done: done < target.short_runs)
    assert result.finding is None, f"{target.promise}: {result.finding!r}"
    assert result.runs == target.short_runs


@EACH
def test_the_corpus_gets_past_the_first_check(target: Target) -> None:
    assert len({target.check(data) for data in target.corpus}) > 1, "all its items are answered alike"


@EACH
def test_a_target_calls_what_it_covers(target: Target) -> None:
    _, entered = calls_of(lambda: [target.check(data) for data in target.corpus])
    assert not {parser.__qualname__ for parser in target.covers if parser.__code__ not in entered}


@EACH
def test_work_does_not_grow_with_the_square_of_the_input(target: Target) -> None:
    """In function calls, so on any machine: four times the input costs about four times as many."""
    data = target.corpus[0]
    for piece in {data, data[-1:], *target.tokens[:6]}:
        small, large = (_calls(target, data + piece * times) for times in (TIMES, 4 * TIMES))
        assert large <= 5 * small + 1000, (piece, small, large)


def _calls(target: Target, data: bytes) -> int:
    count, _ = calls_of(lambda: target.check(data))
    return count


def test_every_function_of_protocol_that_reads_text_is_covered() -> None:
    covered = {parser for target in TARGETS.values() for parser in target.covers}
    missing = {name for name, function in _readers() if function not in covered}
    assert missing == NO_CLIENT_TEXT.keys(), "give a new parser a target in tests/fuzz/targets"


def _readers() -> Iterator[tuple[str, Callable[..., Any]]]:
    """Public functions with a parameter that may hold text, or JSON, or header fields."""
    prefix = f"{protocol.__name__}."
    for found in pkgutil.walk_packages(protocol.__path__, prefix):
        module = importlib.import_module(found.name)
        for name, function in inspect.getmembers(module, inspect.isfunction):
            parameters = inspect.signature(function).parameters.values()
            reads = any(_TEXT.search(str(parameter.annotation)) for parameter in parameters)
            if function.__module__ == module.__name__ and not name.startswith("_") and reads:
                yield f"{found.name.removeprefix(prefix)}.{name}", function
