"""A bug on purpose, and the test that finds it."""

from __future__ import annotations

from typing import NamedTuple


class Mutant(NamedTuple):
    """`old` occurs once in the file. `killer`: the node id of a test that must fail on it."""

    name: str
    breaks: str
    file: str
    old: str
    new: str
    killer: str

    def applied_to(self, text: str) -> str:
        """Raises: ValueError when the source is not (or no longer) what the mutant is made for."""
        if text.count(self.old) != 1:
            raise ValueError(
                f"mutant {self.name}: its text occurs {text.count(self.old)} times in {self.file}"
            )
        return text.replace(self.old, self.new)
