"""What settings must be beyond their own type: shapes of names, and fields that contradict each other.

Each check yields (field, what is wrong and what to do); nothing is resolved or connected to.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from ipaddress import ip_address, ip_network
from pathlib import Path
from urllib.parse import urlsplit

from penstock.server.settings import Settings

CATEGORY = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
FORMAT = re.compile(r"[a-z0-9][a-z0-9+_-]*|[a-z]+/([a-z0-9.+_-]+|\*)")
HOST = re.compile(r"[^\s/@,]+")

Problem = tuple[str, str]


def contradictions(settings: Settings) -> Iterator[Problem]:
    """Everything about these settings that cannot work or must not be done by accident."""
    for check in CHECKS:
        yield from check(settings)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the address. A name is not resolved: only `localhost` is known."""
    if host == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _public_bind(settings: Settings) -> Iterator[Problem]:
    if settings.host.startswith("["):
        yield "host", f"{settings.host!r} is not an address; write it without brackets"
    if not is_loopback(settings.host) and not settings.allow_public:
        yield (
            "host",
            f"{settings.host!r} is reachable from other machines, and nobody has to log in: anyone there"
            " could upload. Keep 127.0.0.1 behind a proxy that authenticates, or say --allow-public",
        )


def _tls(settings: Settings) -> Iterator[Problem]:
    if (settings.tls_key is None) != (settings.tls_certificate is None):
        missing = "tls_key" if settings.tls_key is None else "tls_certificate"
        given = "tls_certificate" if settings.tls_key is None else "tls_key"
        yield missing, f"{given} is set, so {missing} is needed too; set both or neither"
    for name in ("tls_certificate", "tls_key"):
        path: Path | None = getattr(settings, name)
        if path is not None and not path.is_file():
            yield name, f"{str(path)!r} is not a file; give the path of a PEM file"


def _data_dir(settings: Settings) -> Iterator[Problem]:
    if settings.data_dir.exists() and not settings.data_dir.is_dir():
        yield "data_dir", f"{str(settings.data_dir)!r} is not a directory; choose another path"


def _categories(settings: Settings) -> Iterator[Problem]:
    if not settings.categories:
        yield "categories", "the list is empty; name at least one, such as personal"
    for name in settings.categories:
        if not CATEGORY.fullmatch(name):
            yield (
                "categories",
                f"{name!r} is not allowed; 1 to 32 of a-z, 0-9, _ and -, not beginning with _ or -",
            )


def _formats(settings: Settings) -> Iterator[Problem]:
    for name in settings.allowed_formats:
        if not FORMAT.fullmatch(name):
            yield (
                "allowed_formats",
                f"{name!r} is not allowed; write an extension without dot (mp4) or a media type (video/mp4)",
            )


def _origins(settings: Settings) -> Iterator[Problem]:
    for origin in settings.allowed_origins:
        if origin != "null" and not _is_origin(origin):  # null: sandboxed pages, RFC 6454 section 7.3
            yield (
                "allowed_origins",
                f"{origin!r} is not an origin; write scheme://host or scheme://host:port, without a path",
            )


def _hosts(settings: Settings) -> Iterator[Problem]:
    for host in settings.allowed_hosts:
        if not HOST.fullmatch(host):
            yield "allowed_hosts", f"{host!r} is not a host; write a name such as upload.example.org"


def _proxies(settings: Settings) -> Iterator[Problem]:
    for address in settings.trusted_proxies:
        try:
            ip_network(address, strict=False)
        except ValueError:
            yield "trusted_proxies", f"{address!r} is no IP address; write 127.0.0.1 or a range, 10.0.0.0/8"


def _public_url(settings: Settings) -> Iterator[Problem]:
    url = settings.public_url
    if url and not _is_origin(url.rstrip("/")):
        yield "public_url", f"{url!r} is not allowed; write http(s)://host, without a path"


def _progress(settings: Settings) -> Iterator[Problem]:
    if settings.progress_at_least_s < settings.progress_interval_s:
        yield "progress_at_least_s", f"must not be below progress_interval_s ({settings.progress_interval_s})"


def _no_doubles(settings: Settings) -> Iterator[Problem]:
    for name in ("categories", "allowed_formats", "allowed_hosts", "allowed_origins", "trusted_proxies"):
        for item, times in Counter(getattr(settings, name)).items():
            if times > 1:
                yield name, f"{item!r} is there {times} times; once is enough"


def _is_origin(text: str) -> bool:
    """`scheme://host[:port]` (RFC 6454 section 6.2), for the web's two schemes."""
    try:
        parts = urlsplit(text)
        return (
            parts.scheme in ("http", "https")
            and bool(parts.hostname)
            and parts.port != 0
            and f"{parts.scheme}://{parts.netloc}" == text
            and "@" not in parts.netloc
        )
    except ValueError:
        return False


CHECKS: tuple[Callable[[Settings], Iterator[Problem]], ...] = (
    _public_bind,
    _tls,
    _data_dir,
    _categories,
    _formats,
    _origins,
    _hosts,
    _proxies,
    _public_url,
    _progress,
    _no_doubles,
)
