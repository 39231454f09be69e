"""Behind which addresses many clients may stand: limits per address do not hold for those."""

from __future__ import annotations

import ipaddress

from penstock.server.settings import Settings


class SharedAddresses:
    """Our own machine, and the proxies we trust."""

    def __init__(self, settings: Settings) -> None:
        self._proxies = [ipaddress.ip_network(proxy, strict=False) for proxy in settings.trusted_proxies]

    def __call__(self, host: str) -> bool:
        """Whether many clients may stand behind this address."""
        try:
            address = ipaddress.ip_address(host.partition("%")[0])
        except ValueError:
            return True  # no address: a socket of our own machine
        mapped = getattr(address, "ipv4_mapped", None) or address
        return mapped.is_loopback or any(mapped in network for network in self._proxies)
