"""Where this server is, as its clients see it: the beginning of every URL that is handed out."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from urllib.parse import urlsplit

from penstock.protocol.forwarded import Front, seen_by_client
from penstock.protocol.header_fields import Fields
from penstock.protocol.upload_resources import UPLOADS
from penstock.server.http.application import Request
from penstock.server.settings import Settings

_DEFAULT_PORTS = (80, 443)
_UNKNOWN = Front()

Authority = tuple[str, int | None]  # host, and its port unless it is a default one


class Locations:
    """The setting `public_url` first; else what a trusted proxy says; else relative references, which are
    right behind any proxy that does not change the path."""

    def __init__(self, settings: Settings) -> None:
        self._public = settings.public_url.rstrip("/")
        self._proxies = [ipaddress.ip_network(proxy, strict=False) for proxy in settings.trusted_proxies]
        self._hosts = {found[0] for host in settings.allowed_hosts if (found := _authority(host))}

    def url(self, request: Request, upload_id: str) -> str:
        """Of an upload: absolute where that is known, else from the root."""
        return f"{self.base(request)}{UPLOADS}/{upload_id}"

    def base(self, request: Request) -> str:
        """What stands before a path of ours; without a slash at its end, maybe empty."""
        if self._public:
            return self._public
        scheme, host, prefix = self._front(request)
        return f"{scheme}://{host}{prefix}" if scheme and host else prefix

    def answers_for(self, request: Request) -> Callable[[str], bool]:
        """Whether a URL with an authority can be ours. Schemes do not count: TLS may end before us."""
        front = self._front(request).host or ""
        said = (request.headers.get("Host", ""), urlsplit(self._public).netloc, front)
        ours = {_authority(text) for text in said} - {None}

        def is_ours(authority: str) -> bool:
            wanted = _authority(authority)
            return wanted is not None and (wanted[0] in self._hosts or wanted in ours)

        return is_ours

    def _front(self, request: Request) -> Front:
        if not self._is_trusted(request.remote_addr or ""):
            return _UNKNOWN
        return seen_by_client(Fields(request.headers.items()), self._is_trusted)

    def _is_trusted(self, address: str) -> bool:
        try:
            found = ipaddress.ip_address(address.partition("%")[0])
        except ValueError:
            return False
        mapped = getattr(found, "ipv4_mapped", None) or found
        return any(mapped in network for network in self._proxies)


def _authority(text: str) -> Authority | None:
    """`host[:port]` in parts; None if it is none, or names a user."""
    try:
        parts = urlsplit(f"//{text}")
        port = parts.port
    except ValueError:
        return None
    if not parts.hostname or parts.netloc != text or "@" in text:
        return None
    return parts.hostname.rstrip("."), None if port in _DEFAULT_PORTS else port
