"""How often the disk is waited for: counted by strace, in a run that nobody times."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from http.client import HTTPException
from pathlib import Path
from typing import Annotated, ClassVar
from uuid import uuid4

import msgspec

from bench.contestants import Contestant, Dialect, Elsewhere, Floor
from bench.processes import StartFailed, running
from bench.sizes import GIB, KIB, MIB, size_text
from bench.uploads import requests
from bench.uploads.base import Size
from bench.uploads.exchange import send
from bench.uploads.payload import Payload
from bench.workload import Entry, Failed, Metric, Variant, Workload

CALLS = ("fdatasync", "fsync", "sync", "syncfs", "sync_file_range", "msync")
CALL = re.compile(rf"^\d+ +({'|'.join(CALLS)})\(", re.MULTILINE)  # what is resumed later was counted already
STRACE = ("strace", "-D", "-f", "--seccomp-bpf", "-qq", "-e", "signal=none", "-e", f"trace={','.join(CALLS)}")
LARGE, SMALL = "large", "small"


class Syncs(Workload, frozen=True, kw_only=True):
    """fdatasyncs and fsyncs, per file and per GiB, of one large upload and of a form of small files"""

    name: ClassVar = "syncs"
    full: ClassVar = ({"size": GIB, "files": 20_000},)

    size: Size = 256 * MIB
    files: Annotated[int, msgspec.Meta(ge=2)] = 2000
    small: Size = 4 * KIB

    @property
    def title(self) -> str:
        large, small = size_text(self.size), size_text(self.small)
        return f"Syncs of a large upload ({large}) and of {self.files} small files ({small}) in a form"

    @property
    def metrics(self) -> tuple[Metric, ...]:
        return (
            Metric("syncs/file", better="less"),
            Metric("syncs/GiB", better="less"),
            Metric("fdatasync/file", better="less"),
            Metric("fsync/file", better="less"),
        )

    def variants(self, contestants: Sequence[Contestant]) -> list[Variant]:
        """Who syncs nothing by its own account is counted too: it should be seen."""
        ours = [one for one in contestants if not isinstance(one, Elsewhere)]
        return [Variant(one.name, how) for how in (LARGE, SMALL) for one in ours if _dialect(one, how)]

    def impossible(self) -> str:
        if shutil.which("strace") is None:
            return "strace is not installed (apt-get install strace)"
        tried = subprocess.run(
            [*STRACE, "-o", "/dev/null", "true"], capture_output=True, text=True, check=False
        )
        return (
            f"strace may not trace here: {tried.stderr.strip()}" if tried.returncode or tried.stderr else ""
        )

    def prepare(self, directory: Path) -> None:
        for how in (LARGE, SMALL):
            self._payload(how).write(directory / how)

    def sample(self, entry: Entry) -> Mapping[str, float]:
        """In a server of its own, which strace has started."""
        place = entry.directory.parent / uuid4().hex
        place.mkdir()
        log = place / "strace"
        try:
            with running([*STRACE, "-o", str(log), *entry.contestant.command(place)], place) as server:
                before = _calls(log)
                self._upload(entry._replace(server=server))
                server.settled_cpu_s()
                calls = _calls(log)[len(before) :]
        except (StartFailed, OSError, HTTPException) as error:
            raise Failed(str(error)) from error
        return self._counted(calls, self._payload(entry.variant.how))

    def _payload(self, how: str) -> Payload:
        return Payload(1, 1, self.size) if how == LARGE else Payload(1, self.files, self.small)

    def _upload(self, entry: Entry) -> None:
        how = entry.variant.how
        dialect = _dialect(entry.contestant, how)
        assert dialect is not None
        send(requests.plan(entry, dialect, self._payload(how), entry.shared / how))

    def _counted(self, calls: Sequence[str], payload: Payload) -> Mapping[str, float]:
        return {
            "syncs/file": len(calls) / payload.total_files,
            "syncs/GiB": len(calls) / payload.total_bytes * GIB,
            "fdatasync/file": calls.count("fdatasync") / payload.total_files,
            "fsync/file": calls.count("fsync") / payload.total_files,
        }


def _dialect(contestant: Contestant, how: str) -> Dialect | None:
    """What it takes such uploads by."""
    large = (Dialect.PUT,) if isinstance(contestant, Floor) else (Dialect.TUS, Dialect.PUT)
    wanted = large if how == LARGE else (Dialect.FORM,)
    return next((dialect for dialect in wanted if dialect in contestant.takes), None)


def _calls(log: Path) -> list[str]:
    """What was called so far."""
    return CALL.findall(log.read_text(encoding="utf-8", errors="replace"))
