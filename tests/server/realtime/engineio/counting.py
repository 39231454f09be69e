"""What lives in this process, by kind."""

from __future__ import annotations

import gc
from collections import Counter

# Trio forgets the deadlines of scopes that have ended some thousand at a time.
FORGOTTEN_LATER = {"trio.CancelScope", "trio._core._run.CancelReason", "builtins.tuple"}


def objects() -> Counter[str]:
    """How many of each type; those that hold no others (text, numbers) are not counted."""
    gc.collect()
    kinds = Counter(map(type, gc.get_objects()))
    return Counter({f"{kind.__module__}.{kind.__name__}": count for kind, count in kinds.items()})
