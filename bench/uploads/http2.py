"""HTTP/2 beside HTTP/1.1. curl sends both, so that only the protocol differs; `sendfile` cannot."""

from __future__ import annotations

import resource
import subprocess
from collections.abc import Sequence
from typing import ClassVar

from bench.contestants import PENSTOCK_H2C, Contestant, Dialect
from bench.load import Outcome, Plan, Request
from bench.sizes import GIB, MIB, size_text
from bench.uploads import requests
from bench.uploads.base import Size, UploadWorkload, source_in
from bench.uploads.exchange import LOAD_S
from bench.uploads.payload import Payload
from bench.workload import Entry, Failed, Ratio, Variant

PROTOCOLS = {"HTTP/1.1": "--http1.1", "HTTP/2": "--http2-prior-knowledge"}


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

    def plan(self, entry: Entry) -> Plan:
        """One target; curl makes the request of it."""
        (target,) = requests.make_targets(entry, Dialect.PUT, self.payload)
        return Plan(entry.server.host, entry.server.port, [[Request(target.encode())]])

    def load(self, entry: Entry, plan: Plan) -> Outcome:
        url = f"http://{plan.host}:{plan.port}{plan.connections[0][0].before.decode()}"
        answer = (
            "--output",
            "/dev/null",
            "--write-out",
            "%{time_total}",
            "--fail",
            "--silent",
            "--show-error",
        )
        command = ["curl", PROTOCOLS[entry.variant.how], *answer, "-T", str(source_in(entry.shared)), url]
        cpu_s = _children_cpu_s()
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=LOAD_S, check=True)
        except subprocess.SubprocessError as error:
            raise Failed(
                f"{error} {error.stderr if isinstance(error, subprocess.CalledProcessError) else ''}"
            ) from None
        return Outcome(float(done.stdout), _children_cpu_s() - cpu_s)


def _children_cpu_s() -> float:
    """Of children that have ended: the servers have not."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
