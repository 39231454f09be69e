"""HTTP/2 beside HTTP/1.1. curl sends both, so that only the protocol differs; `sendfile` cannot."""

from __future__ import annotations

import resource
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar

from bench.contestants import PENSTOCK_H2C, Contestant, Dialect
from bench.load import Outcome
from bench.sizes import GIB, MIB, size_text
from bench.uploads import requests
from bench.uploads.base import Size, UploadWorkload, source_in
from bench.uploads.exchange import LOAD_S
from bench.uploads.payload import Payload
from bench.workload import Entry, Failed, Ratio, Variant

PROTOCOLS = {"HTTP/1.1": "--http1.1", "HTTP/2": "--http2-prior-knowledge"}
QUIETLY = ("--silent", "--show-error", "--fail", "--output", "/dev/null")


class Http2(UploadWorkload, frozen=True, kw_only=True):
    """one PUT by curl over HTTP/1.1 and over HTTP/2 without TLS"""

    name: ClassVar = "http2"
    full: ClassVar = ({"size": GIB},)

    size: Size = 256 * MIB

    @property
    def title(self) -> str:
        return f"One PUT of {size_text(self.size)} by curl"

    @property
    def payload(self) -> Payload:
        return Payload(1, 1, self.size)

    @property
    def ratios(self) -> tuple[Ratio, ...]:
        return (Ratio(self.amount.rate.name, f"{PENSTOCK_H2C.name} HTTP/1.1", "× HTTP/1.1"),)

    def variants(self, contestants: Sequence[Contestant]) -> list[Variant]:
        return [Variant(one.name, how) for one in contestants if one is PENSTOCK_H2C for how in PROTOCOLS]

    def impossible(self) -> str:
        try:
            said = subprocess.run(["curl", "--version"], capture_output=True, text=True, check=True).stdout
        except FileNotFoundError:
            return "curl is not installed (apt-get install curl)"
        return "" if " HTTP2" in said else "this curl was built without HTTP/2"

    def ready(self, entry: Entry) -> Callable[[], Outcome]:
        (target,) = requests.make_targets(entry, Dialect.PUT, self.payload)
        url = f"http://{entry.server.host}:{entry.server.port}{target}"
        return lambda: _curl(PROTOCOLS[entry.variant.how], source_in(entry.shared), url)


def _curl(protocol: str, source: Path, url: str) -> Outcome:
    """Raises: Failed."""
    command = ["curl", protocol, *QUIETLY, "--write-out", "%{time_total}", "-T", str(source), url]
    cpu_s = _children_cpu_s()
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LOAD_S, check=True)
    except subprocess.CalledProcessError as error:
        raise Failed(error.stderr.strip()) from None
    except subprocess.TimeoutExpired:
        raise Failed(f"no answer within {LOAD_S:.0f} s") from None
    return Outcome(float(done.stdout), _children_cpu_s() - cpu_s)


def _children_cpu_s() -> float:
    """Of children that have ended: the servers have not."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
