"""Single keys from the terminal, without Enter. The terminal is given back as it was, whatever happens."""

from __future__ import annotations

import os
import termios
import tty
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager

import trio

LOOK_AGAIN_S = 1.0  # while another program has the terminal


@contextmanager
def terminal() -> Iterator[int | None]:
    """The controlling terminal with keys as they are pressed; Ctrl-C stays a signal. None without one, or in
    the background: then nothing is touched."""
    try:
        descriptor = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        yield None
        return
    try:
        if not _is_ours(descriptor):
            yield None
            return
        before = termios.tcgetattr(descriptor)
        tty.setcbreak(descriptor, termios.TCSANOW)
        try:
            yield descriptor
        finally:
            if _is_ours(descriptor):  # else setting it would stop us (SIGTTOU)
                termios.tcsetattr(descriptor, termios.TCSANOW, before)
    finally:
        os.close(descriptor)


async def listen(descriptor: int, actions: Mapping[str, Callable[[], Awaitable[None]]]) -> None:
    """Run the action of each key, one after the other, until cancelled or the terminal is gone."""
    while True:
        await trio.lowlevel.wait_readable(descriptor)
        if not _is_ours(descriptor):  # reading would stop us (SIGTTIN)
            await trio.sleep(LOOK_AGAIN_S)
            continue
        try:
            pressed = os.read(descriptor, 64)
        except OSError:
            return
        if not pressed:
            return
        for key in pressed.decode("ascii", "replace").lower():
            if key in actions:
                await actions[key]()


def _is_ours(descriptor: int) -> bool:
    try:
        return os.tcgetpgrp(descriptor) == os.getpgrp()
    except OSError:
        return False
