"""The requests that carry the bytes, in each dialect; what a contestant wants before them is made here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from bench.contestants import Dialect
from bench.load import Plan, Request
from bench.uploads.payload import BOUNDARY, END, Payload, Stretch, part_head
from bench.workload import Entry

CLOSE = {"Connection": "close"}
TUS = {"Tus-Resumable": "1.0.0", "Content-Type": "application/offset+octet-stream"}


def plan(entry: Entry, dialect: Dialect, payload: Payload, source: Path) -> Plan:
    """Every upload in one request, each on its own connection."""
    make = {Dialect.TUS: patch, Dialect.PUT: put, Dialect.FORM: form}[dialect]
    targets = make_targets(entry, dialect, payload)
    requests = [[make(entry, target, payload, source, index)] for index, target in enumerate(targets)]
    return Plan(entry.server.host, entry.server.port, requests)


def make_targets(entry: Entry, dialect: Dialect, payload: Payload) -> list[str]:
    """Sessions and creations; not part of what is measured."""
    return [
        entry.contestant.target(dialect, entry.server, index, payload.file_bytes)
        for index in range(payload.uploads)
    ]


def patch(entry: Entry, target: str, payload: Payload, source: Path, index: int) -> Request:
    return patch_of(entry, target, source, payload.body(index), 0, CLOSE)


def patch_of(
    entry: Entry, target: str, source: Path, bytes_: Stretch, offset: int, fields: Mapping[str, str]
) -> Request:
    """Some bytes of an upload, which go to `offset` of it."""
    fields = {**TUS, "Upload-Offset": str(offset), "Content-Length": str(bytes_.length), **fields}
    return Request(head(entry, "PATCH", target, fields), b"", str(source), *bytes_)


def put(entry: Entry, target: str, payload: Payload, source: Path, index: int) -> Request:
    bytes_ = payload.body(index)
    fields = {"Content-Type": "application/octet-stream", "Content-Length": str(bytes_.length), **CLOSE}
    return Request(head(entry, "PUT", target, fields), b"", str(source), *bytes_)


def form(entry: Entry, target: str, payload: Payload, source: Path, index: int) -> Request:
    bytes_ = payload.body(index)
    # The form of many files lies ready with its heads and its end.
    first, last = (part_head(index), END) if payload.files == 1 else (b"", b"")
    fields = {
        "Content-Type": f"multipart/form-data; boundary={BOUNDARY}",
        "Content-Length": str(len(first) + bytes_.length + len(last)),
        **CLOSE,
    }
    return Request(head(entry, "POST", target, fields) + first, last, str(source), *bytes_)


def head(entry: Entry, method: str, target: str, fields: Mapping[str, str]) -> bytes:
    host = {"Host": f"{entry.server.host}:{entry.server.port}"}
    lines = "".join(f"{name}: {value}\r\n" for name, value in {**host, **fields}.items())
    return f"{method} {target} HTTP/1.1\r\n{lines}\r\n".encode()
