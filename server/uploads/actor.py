"""Who asks: every call of the gateway takes one, from the first day."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class Scope(StrEnum):
    UPLOAD = "upload"
    WATCH = "watch"
    PUBLISH = "publish"
    ADMIN = "admin"


class Actor(NamedTuple):
    """A subject and what it may do. `""` is nobody in particular: the session id is the capability then."""

    subject: str
    scopes: frozenset[Scope]


ANYBODY = Actor("", frozenset({Scope.UPLOAD, Scope.WATCH}))


class Role(StrEnum):
    """What a reference gives: a session id lets its holder write, a watch key only look."""

    WRITER = "writer"
    WATCHER = "watcher"
