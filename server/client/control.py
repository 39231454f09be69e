"""`penstock pause`, `resume`, `cancel` and `sessions`: one question, one answer."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import trio

from penstock.protocol.snapshot import FileView
from penstock.server.client.api import Api, open_api
from penstock.server.client.errors import Again, ClientError, Refused
from penstock.server.client.patience import patiently, reach
from penstock.server.client.records import Record, Records, as_json
from penstock.server.client.texts import clean, percent_text
from penstock.server.exits import Exit

RETRY_S = 15.0
ASKED_AT_ONCE = 4


async def command(
    name: str, session: str, files: Sequence[str], url: str, reason: str | None, *, json_wanted: bool
) -> Exit:
    """`upload-pause` and so on, of a session or of some of its files. Raises: ClientError."""
    async with open_api(url) as api:
        if not files:
            answer = await reach(partial(api.command, session, name, None, reason), api.url)
            _tell(name, "session", answer, json_wanted=json_wanted)
            return Exit.OK
        views = [view for page in await reach(partial(api.pages, session), api.url) for view in page.files]
        for file in [_find(text, views) for text in files]:
            answer = await patiently(partial(api.command, session, name, file.file_id, reason), RETRY_S)
            _tell(name, file.file_name, answer, json_wanted=json_wanted)
    return Exit.OK


def _find(text: str, views: Sequence[FileView]) -> FileView:
    """A file by its id, else by its name. Raises: ClientError."""
    found = [view for view in views if view.file_id == text]
    found = found or [view for view in views if view.file_name == text]
    if len(found) == 1:
        return found[0]
    if found:
        ids = ", ".join(view.file_id for view in found[:10])
        raise ClientError(f"{text}: {len(found)} files are called that", f"give the id: {ids}", Exit.USAGE)
    names = ", ".join(f"{view.file_id} ({clean(view.file_name)})" for view in views[:10])
    raise ClientError(f"{text}: the session has no such file", f"it has {names or 'none'}", Exit.USAGE)


def _tell(name: str, what: str, answer: dict[str, Any], *, json_wanted: bool) -> None:
    if json_wanted:
        print(json.dumps({"event": name, **answer}))
    else:
        print(f"{clean(what)}: {answer.get('status') or answer.get('overallStatus')}")


class Line(NamedTuple):
    """A session and how it is now; `progress` in percent, None where nobody knows."""

    record: Record
    status: str
    progress: float | None = None


async def sessions(records: Records, *, json_wanted: bool) -> Exit:
    """List the sessions begun on this machine, and forget those their servers have forgotten.

    Raises: ClientError.
    """
    known = records.all()
    lines: list[Line | None] = [None] * len(known)
    limit = trio.CapacityLimiter(ASKED_AT_ONCE)
    async with trio.open_nursery() as nursery:
        for number, record in enumerate(known):
            nursery.start_soon(_ask_into, lines, number, record, limit)
    shown = [line for line in lines if line is not None]
    for line in shown:
        if line.status == "expired":
            records.forget(line.record.session_id)
    if json_wanted:
        for line in shown:
            print(json.dumps({**as_json(line.record), "status": line.status, "progress": line.progress}))
    elif shown:
        _print_table(shown)
    else:
        print("no sessions; `penstock upload FILE` begins one")
    return Exit.OK


async def _ask_into(
    lines: list[Line | None], number: int, record: Record, limit: trio.CapacityLimiter
) -> None:
    async with limit, open_api(record.server) as api:
        lines[number] = await _ask(api, record)


async def _ask(api: Api, record: Record) -> Line:
    try:
        snapshot = await api.snapshot(record.session_id)
    except Again:
        return Line(record, "unreachable")
    except Refused as error:
        return Line(record, "expired" if error.status == 404 else error.message)
    return Line(record, snapshot.overall_status, snapshot.total_progress)


def _print_table(lines: Sequence[Line]) -> None:
    print(f"{'SESSION':36}  {'STATUS':11}  {'DONE':>6}  {'FILES':>5}  {'SERVER':28}  FIRST FILE")
    for record, status, progress in lines:
        done = "" if progress is None else percent_text(progress)
        first = clean(record.files[0].name) if record.files else ""
        numbers = f"{clean(status):11}  {done:>6}  {len(record.files):5}"
        print(f"{record.session_id}  {numbers}  {record.server:28}  {first}")
