"""A request's header fields by name, whatever their case, where it matters how often one came."""

from __future__ import annotations

from collections.abc import Iterable

from penstock.protocol.errors import InvalidMessage


class Fields:
    """Values as the client sent them, one entry a field line (RFC 9110 §5.3)."""

    def __init__(self, pairs: Iterable[tuple[str, str]]) -> None:
        self._values: dict[str, list[str]] = {}
        for name, value in pairs:
            self._values.setdefault(name.lower(), []).append(value)

    def __contains__(self, name: str) -> bool:
        return name.lower() in self._values

    def one(self, name: str) -> str | None:
        """The value of a field that may come once; None where it is absent. Raises: InvalidMessage."""
        values = self.all(name)
        if len(values) > 1:
            raise InvalidMessage(f"{name}: came {len(values)} times; send it once")
        return values[0] if values else None

    def all(self, name: str) -> list[str]:
        """Every line's value, in order."""
        return list(self._values.get(name.lower(), ()))
