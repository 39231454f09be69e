"""A kernel whose calls are counted, and fail, come up short or get stuck when a test says so."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from penstock.storage.kernel import Kernel
from tests.storage.gate import Gate

CALLS = tuple(name for name in vars(Kernel) if not name.startswith("_"))


class Call(NamedTuple):
    """A call, and the path of what it is about: of a copy the target, of a name the one that is given."""

    name: str
    path: str


class Order:
    """What happens at the `nth` call that is meant; `lasting`: and at all that follow."""

    def __init__(
        self, happens: Callable[[], None], nth: int, name: str | None, path: str, lasting: bool
    ) -> None:
        self.happened = False
        self._happens = happens
        self._nth = nth
        self._name = name
        self._path = path
        self._lasting = lasting
        self._seen = 0

    def look_at(self, call: Call) -> None:
        if self._name not in (None, call.name) or self._path not in call.path:
            return
        self._seen += 1
        if self._seen == self._nth or (self._lasting and self._seen > self._nth):
            self.happened = True
            self._happens()


class FaultyKernel(Kernel):
    """The kernel itself until told otherwise. `calls` is all that was asked of it, refused or not.

    `most_bytes`: no write takes more at once. `syncs`: off where no power is cut, for it is most of the time.
    """

    def __init__(self, *, syncs: bool = True) -> None:
        self._syncs = syncs
        self.calls: list[Call] = []
        self.most_bytes: int | None = None
        self._orders: list[Order] = []
        for name in CALLS:
            setattr(self, name, partial(self._call, name, getattr(super(), name)))

    def fail(
        self, error: int, *, nth: int = 1, name: str | None = None, path: str = "", lasting: bool = False
    ) -> Order:
        """Let the `nth` call from now (of this name, on a path with this in it) fail with this errno."""

        def happens() -> None:
            raise OSError(error, os.strerror(error))

        return self._ordered(Order(happens, nth, name, path, lasting))

    def hold(self, gate: Gate, *, nth: int = 1, name: str | None = None, path: str = "") -> Order:
        """Let the `nth` such call be stuck at the gate until that is let go."""
        return self._ordered(Order(gate, nth, name, path, lasting=False))

    def heal(self) -> None:
        """No more faults, and a fresh log."""
        self._orders.clear()
        self.most_bytes = None
        self.calls.clear()

    def _ordered(self, order: Order) -> Order:
        self._orders.append(order)
        return order

    def _call(self, name: str, real: Callable[..., Any], *args: Any, **named: Any) -> Any:
        call = Call(name, _path(name, args, named))
        self.calls.append(call)
        if name == "close":  # Linux gives the descriptor back whatever it says
            real(*args)
        for order in tuple(self._orders):
            order.look_at(call)
        if name == "close" or (name in ("fsync", "fdatasync") and not self._syncs):
            return None
        if name == "pwrite" and self.most_bytes is not None:
            fd, data, offset = args
            return real(fd, data[: self.most_bytes], offset)
        return real(*args, **named)


def _path(name: str, args: tuple[Any, ...], named: dict[str, Any]) -> str:
    match name:
        case "link" | "rename":
            return _under(named["dst_dir_fd"], args[1])
        case "copy_file_range":
            return _of(args[1])
        case "clone_range":
            return _of(args[3])
        case "open" | "mkdir" | "unlink" | "stat":
            return _under(named.get("dir_fd"), args[0])
        case _:
            return _of(args[0])


def _of(fd: int) -> str:
    return os.readlink(f"/proc/self/fd/{fd}")


def _under(directory_fd: int | None, name: str | Path) -> str:
    return str(name) if directory_fd is None else f"{_of(directory_fd)}/{name}"
