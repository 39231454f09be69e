"""Every setting, with its default, its limits and what it means: one frozen object.

Order: command line over environment (`PENSTOCK_*`) over TOML file over default; loading lives in
`server/configuration.py`, the checks that need more than one field in `server/consistency.py`. Names carry
their unit. A field's description is its line in `--help`, in `penstock check` and in `docs/settings.md`: it
is written here and nowhere else.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

KIB = 1024
MIB = 1024 * KIB

Seconds = Annotated[float, Meta(gt=0)]
Count = Annotated[int, Meta(ge=1)]
Bytes = Annotated[int, Meta(ge=0)]
PositiveBytes = Annotated[int, Meta(ge=1)]
PoolBytes = Annotated[int, Meta(ge=64 * KIB)]  # the smallest buffer an append is ever given
# The answer to one join-session may be nearly as long: with less, its client would be cut for it.
UnsentBytes = Annotated[int, Meta(ge=64 * KIB)]
Percent = Annotated[float, Meta(ge=0, le=100)]


def _about(text: str) -> Meta:
    return Meta(description=text)


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The effective settings of one process."""

    host: Annotated[str, _about("address to listen on")] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535), _about("port to listen on; 0 takes a free one")] = 8005
    allow_public: Annotated[
        bool, _about("listen on other than loopback addresses, though nobody has to log in")
    ] = False
    allowed_hosts: Annotated[
        tuple[str, ...],
        _about("further names in the Host header; loopback names and the bound address are always allowed"),
    ] = ()
    allowed_origins: Annotated[
        tuple[str, ...],
        _about("further web origins (https://example.org); the page's own is always allowed"),
    ] = ()
    trusted_proxies: Annotated[
        tuple[str, ...],
        _about("addresses or ranges (10.0.0.0/8) of proxies whose Forwarded and X-Forwarded-* are believed"),
    ] = ()
    public_url: Annotated[
        str, _about("how clients reach the gateway; empty: as a trusted proxy says, else URLs are relative")
    ] = ""
    tls_certificate: Annotated[Path | None, _about("certificate chain (PEM); needs tls_key")] = None
    tls_key: Annotated[Path | None, _about("private key (PEM); needs tls_certificate")] = None
    h2c: Annotated[bool, _about("HTTP/2 without TLS")] = False

    data_dir: Annotated[Path, _about("directory for files and state; made if it does not exist")] = Path(
        "data"
    )
    fsync: Annotated[
        Literal["append", "complete", "never"],
        _about(
            "what survives a power cut: append = every announced offset, "
            "complete = finished files, never = nothing is promised"
        ),
    ] = "append"
    disk_threads: Annotated[Count, _about("disk operations at once")] = 8
    disk_stall_s: Annotated[
        Seconds, _about("a disk operation this long turns /readyz red and refuses new appends")
    ] = 30.0
    sync_every_bytes: Annotated[
        PositiveBytes, _about("a running append syncs and promises its offset after this many bytes")
    ] = 64 * MIB
    sync_every_s: Annotated[Seconds, _about("... or after this long, whichever comes first")] = 5.0

    categories: Annotated[
        tuple[str, ...], _about("where finished files may go; the first is used when none is asked for")
    ] = ("personal", "scenic")
    allowed_formats: Annotated[
        tuple[str, ...], _about("extensions without dot (mp4) or media types (video/mp4); empty: all")
    ] = ()
    max_file_bytes: Annotated[Bytes, _about("largest file; 0: no limit")] = 0
    max_concat_copy_bytes: Annotated[
        Bytes,
        _about(
            "a tus concatenation copies at most this much while its client waits; "
            "what the file system can share (reflink) does not count"
        ),
    ] = 16 * 1024 * MIB
    keep_partials: Annotated[
        bool, _about("partial uploads stay until they expire, so that they can be concatenated again")
    ] = True
    terminate_finished: Annotated[
        bool, _about("DELETE on an upload URL also removes a file that is finished; false: 403")
    ] = True
    max_session_files: Annotated[Count, _about("files per session")] = 50_000
    max_metadata_bytes: Annotated[Bytes, _about("metadata per file or session")] = 4 * KIB
    max_message_bytes: Annotated[PositiveBytes, _about("one WebSocket message, after inflation")] = 64 * KIB
    max_json_bytes: Annotated[
        PositiveBytes, _about("one JSON request body; registrations of many files are long")
    ] = 16 * MIB
    messages_per_s: Annotated[Count, _about("messages per second and connection, on average")] = 50
    messages_burst: Annotated[Count, _about("messages a connection may send at once")] = 300
    max_appends: Annotated[
        Count, _about("appends that take bytes at once; paused ones count as connections only")
    ] = 512
    max_connections_per_address: Annotated[
        Count, _about("connections per client address; loopback is not limited")
    ] = 200
    max_connections: Annotated[Count, _about("connections in total")] = 20_000
    buffer_pool_bytes: Annotated[PoolBytes, _about("memory for bytes on their way to the disk, in total")] = (
        64 * MIB
    )

    pause_hold_s: Annotated[
        Seconds, _about("a paused append keeps its connection this long, then it is ended and its bytes stay")
    ] = 50.0
    cancel_grace_s: Annotated[
        Seconds,
        _about(
            "after a cancel by command, HEAD on the upload URL says 423 this long, and 410 only then: "
            "tus clients answer 410 by uploading everything again"
        ),
    ] = 60.0
    session_timeout_s: Annotated[Seconds, _about("a session without any activity ends")] = 30 * 60.0
    retry_wait_s: Annotated[Seconds, _about("a broken upload waits this long for its client")] = 10 * 60.0
    retention_s: Annotated[Seconds, _about("bytes of an unfinished file are kept")] = 24 * 3600.0
    ended_retention_s: Annotated[Seconds, _about("an ended session can still be read")] = 24 * 3600.0
    finished_retention_s: Annotated[float, Meta(ge=0), _about("finished files are kept; 0: for good")] = 0.0
    idempotency_s: Annotated[Seconds, _about("an Idempotency-Key is remembered")] = 24 * 3600.0
    janitor_every_s: Annotated[Seconds, _about("pause between two rounds of tidying up")] = 30.0
    drain_timeout_s: Annotated[Seconds, _about("shutdown waits this long for running requests")] = 10.0
    max_retries: Annotated[int, Meta(ge=0), _about("breaks after which an upload counts as failed")] = 3

    head_timeout_s: Annotated[Seconds, _about("time for a complete request head")] = 10.0
    body_idle_timeout_s: Annotated[Seconds, _about("time without one byte of a body")] = 60.0
    send_timeout_s: Annotated[Seconds, _about("time in which a peer takes no byte of what we send")] = 20.0
    keep_alive_timeout_s: Annotated[
        Seconds, _about("an idle connection stays open; keep it above the idle time of a proxy in front")
    ] = 75.0
    keep_alive_max_requests: Annotated[Count, _about("requests on one connection")] = 1_000_000
    linger_s: Annotated[Seconds, _about("after an early answer, time given to a client to stop sending")] = (
        2.0
    )
    linger_bytes: Annotated[PositiveBytes, _about("... and bytes thrown away in that time")] = 16 * MIB
    heartbeat_interval_s: Annotated[
        Seconds, _about("time between two heartbeats to a watcher on plain WebSocket")
    ] = 30.0
    heartbeat_timeout_s: Annotated[Seconds, _about("time for it to answer one")] = 5.0
    ping_interval_s: Annotated[Seconds, _about("time between two pings to a Socket.IO client")] = 25.0
    ping_timeout_s: Annotated[Seconds, _about("time for it to answer one")] = 20.0
    upgrade_timeout_s: Annotated[
        Seconds, _about("time for a Socket.IO client to change over from polling to a WebSocket")
    ] = 10.0
    connect_timeout_s: Annotated[Seconds, _about("time for a Socket.IO client to connect to a namespace")] = (
        45.0
    )
    takeover_idle_s: Annotated[
        Seconds, _about("a writer idle this long is taken over by its owner's HEAD")
    ] = 1.0
    takeover_probe_s: Annotated[
        Seconds, _about("... and so is one that moves no byte within this time after the HEAD")
    ] = 0.15
    lease_wait_s: Annotated[Seconds, _about("time for a stopped writer to let go of its file")] = 5.0

    progress_interval_s: Annotated[Seconds, _about("shortest time between two progress events of a file")] = (
        0.5
    )
    progress_min_percent: Annotated[Percent, _about("smallest step between two progress events")] = 1.0
    progress_at_least_s: Annotated[Seconds, _about("... but one after this long in any case")] = 5.0
    max_unsent_bytes: Annotated[
        UnsentBytes, _about("answers and events that wait for a Socket.IO client; beyond, it is cut")
    ] = MIB
    ring_facts: Annotated[Count, _about("events per session kept in memory for replay")] = 1024
    ring_bytes: Annotated[PositiveBytes, _about("... and their size")] = MIB
    kept_facts: Annotated[Count, _about("events per session kept in the database for replay")] = 100_000

    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], _about("least important level that is logged")
    ] = "info"
    fast_path: Annotated[bool, _about("take HTTP/1.1 bodies straight from the socket")] = True


# The headings of `--help`, `penstock check` and `docs/settings.md`: each begins at the field it names.
HEADINGS = {
    "host": "Where it listens",
    "data_dir": "Where things lie",
    "categories": "What is accepted",
    "pause_hold_s": "How long things last",
    "head_timeout_s": "How long a peer may take",
    "progress_interval_s": "What watchers get",
    "log_level": "For operators",
}
