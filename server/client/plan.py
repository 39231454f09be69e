"""What an upload consists of, before it runs: a new session, or one that this machine has begun before."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

from penstock.protocol.commands import FileSpec
from penstock.protocol.snapshot import FileView
from penstock.server.client.api import Api, Registered
from penstock.server.client.dialect import Target
from penstock.server.client.errors import ClientError, Refused
from penstock.server.client.numbers import FileNumbers
from penstock.server.client.patience import patiently, reach
from penstock.server.client.records import Record, RecordedFile
from penstock.server.client.sources import FileSource, Source
from penstock.server.client.texts import clean
from penstock.server.exits import Exit

BATCH_FILES = 1000  # registered with one request


class Options(NamedTuple):
    """`url` is None where the session or the default decides; `give_up_s` without any progress."""

    category: str | None
    give_up_s: float
    as_json: bool


class Job(NamedTuple):
    """A file on its way."""

    source: Source
    numbers: FileNumbers
    target: Target
    is_new: bool


class Plan(NamedTuple):
    """A session, the files to be sent by this run, and the numbers of all its files."""

    record: Record
    jobs: list[Job]
    files: list[FileNumbers]


async def begin(api: Api, sources: Sequence[Source], options: Options) -> Plan:
    """A new session. Raises: ClientError."""
    record, registered = await _register(api, sources, options)
    jobs = [
        Job(
            source,
            FileNumbers(file.file_id, source.name, source.size),
            Target(file.tus_url, file.upload_url, is_deferred=source.size is None),
            is_new=True,
        )
        for source, file in zip(sources, registered, strict=True)
    ]
    return Plan(record, jobs, [job.numbers for job in jobs])


async def take_up(api: Api, record: Record) -> Plan:
    """What is left of a session. Raises: ClientError, also when a file is not what it was."""
    files = {file.file_id: FileNumbers(file.file_id, file.name, file.size) for file in record.files}
    views: dict[str, FileView] = {}
    for page in await reach(partial(api.pages, record.session_id), api.url):
        for view in page.files:
            if view.file_id in files:
                files[view.file_id].note_view(view)
                views[view.file_id] = view
    left = [file for file in record.files if files[file.file_id].status not in ("completed", "cancelled")]
    _check_unchanged(record, left)
    jobs = [
        Job(_source(file), files[file.file_id], _target(file, views.get(file.file_id)), is_new=False)
        for file in left
    ]
    return Plan(record, jobs, list(files.values()))


def _target(file: RecordedFile, view: FileView | None) -> Target:
    """Where the session wants a file's bytes. Raises: Refused."""
    if view is None or not (view.tus_url and view.upload_url):
        raise Refused(
            f"the server names no address for {clean(file.name)}", "upload the file again", status=0
        )
    return Target(view.tus_url, view.upload_url, is_deferred=file.size is None)


async def _register(api: Api, sources: Sequence[Source], options: Options) -> tuple[Record, list[Registered]]:
    """A session with all files; what they are called there is their number."""
    specs = [
        FileSpec(file_name=source.name, file_id=str(number), file_size=source.size)
        for number, source in enumerate(sources, 1)
    ]
    batches = [specs[first : first + BATCH_FILES] for first in range(0, len(specs), BATCH_FILES)]
    several = len(batches) > 1
    create = partial(api.create, options.category, batches[0], is_open=several, key=str(uuid4()))
    created = await reach(create, api.url)
    registered = list(created.files)
    for batch in batches[1:]:
        more = partial(api.register, created.session_id, batch, str(uuid4()))
        registered += (await patiently(more, options.give_up_s)).files
    if several:
        await patiently(partial(api.complete, created.session_id), options.give_up_s)
    record = Record(
        session_id=created.session_id,
        watch_key=created.watch_key,
        server=api.url,
        category=options.category,
        created_at=time.time(),
        files=[_recorded(source, file.file_id) for source, file in zip(sources, registered, strict=True)],
    )
    return record, registered


def _recorded(source: Source, file_id: str) -> RecordedFile:
    path, mtime_ns = (str(source.path), source.mtime_ns) if isinstance(source, FileSource) else ("", 0)
    return RecordedFile(file_id=file_id, name=source.name, path=path, size=source.size, mtime_ns=mtime_ns)


def _source(file: RecordedFile) -> FileSource:
    assert file.size is not None
    return FileSource(Path(file.path), file.name, file.size, file.mtime_ns)


def _check_unchanged(record: Record, files: Sequence[RecordedFile]) -> None:
    """Raises: ClientError naming every file that is not what it was."""
    problems = [f"\n  {clean(file.name)}: {problem}" for file in files if (problem := _change_of(file))]
    if problems:
        raise ClientError(
            f"session {record.session_id} cannot be resumed as it is:{''.join(problems)}",
            f"cancel these with `penstock cancel {record.session_id} FILE` and resume again, or upload anew",
            Exit.FAILED,
        )


def _change_of(file: RecordedFile) -> str:
    """What has happened to a file since it was registered; empty if nothing."""
    if not file.path:
        return "it came from standard input and cannot be read again"
    try:
        return "" if _source(file).is_unchanged() else "it has changed since"
    except OSError as error:
        return f"it cannot be read: {error.strerror}"
