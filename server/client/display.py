"""What an upload shows while it runs: bars on a terminal, a line now and then without one, JSON for scripts.

Results (where each file can be downloaded) and JSON go to stdout, all else to stderr.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import trio
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from penstock.server.client.numbers import FileNumbers, Numbers
from penstock.server.client.texts import clean, percent_text, size_text, time_text

FRAME_S = 0.2
LINE_S = 5.0
MAX_ROWS = 8  # beyond it only files under way have a bar
KEYS = "p pause   r resume   c cancel   Ctrl-C leave, to resume later"


class Display(Protocol):
    """How an upload tells what it does."""

    def show(self) -> Any:  # Any: a context manager, whatever it yields
        """As long as the numbers are shown."""
        ...

    async def run(self) -> None:
        """Keep what is shown up to date, until cancelled."""
        ...

    def told(self, event: str, payload: dict[str, Any]) -> None:
        """An event, of the server's or the client's own."""
        ...

    def result(self, file: FileNumbers, url: str) -> None: ...

    def say(self, text: str) -> None:
        """For people only."""
        ...


class Json:
    """One object a line: the server's events as they come, and the client's own."""

    @contextmanager
    def show(self) -> Iterator[None]:
        yield

    async def run(self) -> None:
        await trio.sleep_forever()

    def told(self, event: str, payload: dict[str, Any]) -> None:
        print(json.dumps({"event": event, **payload}), flush=True)

    def result(self, file: FileNumbers, url: str) -> None:
        self.told("file-uploaded", {"fileId": file.file_id, "fileName": file.name, "url": url})

    def say(self, text: str) -> None:
        """Nothing: what matters is told as an object."""


class Lines:
    """Without a terminal: a line every few seconds, if something has changed."""

    def __init__(self, numbers: Numbers) -> None:
        self._numbers = numbers

    @contextmanager
    def show(self) -> Iterator[None]:
        yield

    async def run(self) -> None:
        shown = ""
        while True:
            await trio.sleep(LINE_S)
            line = total_text(self._numbers)
            if line != shown:
                self.say(line)
            shown = line

    def told(self, event: str, payload: dict[str, Any]) -> None:
        """Nothing: results and problems have lines of their own."""

    def result(self, file: FileNumbers, url: str) -> None:
        print(result_text(file, url), flush=True)

    def say(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)


class Bars:
    """A bar for each file and one for all, fed with the server's numbers."""

    def __init__(self, numbers: Numbers, *, keys: bool) -> None:
        self._numbers = numbers
        self._keys = keys
        self._console = Console(file=sys.stderr)
        self._live = Live(console=self._console, auto_refresh=False, get_renderable=self._render)

    @contextmanager
    def show(self) -> Iterator[None]:
        with self._live:
            yield
            self._live.refresh()

    async def run(self) -> None:
        while True:
            self._live.refresh()
            await trio.sleep(FRAME_S)

    def told(self, event: str, payload: dict[str, Any]) -> None:
        """Nothing: the bars show it."""

    def result(self, file: FileNumbers, url: str) -> None:
        if sys.stdout.isatty():
            self.say(result_text(file, url))
        else:
            print(result_text(file, url), flush=True)

    def say(self, text: str) -> None:
        self._console.print(Text(text), soft_wrap=True)

    def _render(self) -> RenderableType:
        numbers = self._numbers
        grid = Table.grid(padding=(0, 1), expand=True)
        grid.add_column(ratio=2, no_wrap=True, overflow="ellipsis")
        grid.add_column(ratio=3, min_width=10)
        for _ in range(4):
            grid.add_column(justify="right", no_wrap=True)
        few = len(numbers.files) <= MAX_ROWS
        for file in numbers.files.values() if few else numbers.active[:MAX_ROWS]:
            _add_row(grid, clean(file.name), file.size, file.uploaded, _speed(file), _left(file))
        speed = f"{size_text(numbers.speed)}/s" if numbers.speed else ""
        left = time_text(numbers.left_s)
        _add_row(grid, f"total, {_files_text(numbers)}", numbers.size, numbers.uploaded, speed, left)
        return Group(grid, Text(KEYS, style="dim")) if self._keys else grid


def _add_row(grid: Table, name: str, size: int | None, uploaded: int, speed: str, left: str) -> None:
    percent = percent_text(uploaded * 100 / size) if size else ""
    bar = ProgressBar(total=size or 1, completed=uploaded if size else 0)
    grid.add_row(Text(name), bar, percent, _bytes_text(uploaded, size), speed, left)


def _speed(file: FileNumbers) -> str:
    return f"{size_text(file.speed)}/s" if file.status == "uploading" and file.speed else file.status


def _left(file: FileNumbers) -> str:
    return time_text(file.left_s) if file.status == "uploading" else ""


def _bytes_text(uploaded: int, size: int | None) -> str:
    return size_text(uploaded) if size is None else f"{size_text(uploaded)} of {size_text(size)}"


def _files_text(numbers: Numbers) -> str:
    return f"{numbers.count('completed')} of {len(numbers.files)} files done"


def total_text(numbers: Numbers) -> str:
    """All numbers of a session in one line."""
    parts = [_bytes_text(numbers.uploaded, numbers.size)]
    if numbers.size:
        parts.insert(0, percent_text(numbers.uploaded * 100 / numbers.size))
    if numbers.speed:
        parts.append(f"{size_text(numbers.speed)}/s, {time_text(numbers.left_s)} left")
    if paused := numbers.count("paused"):
        parts.append(f"{paused} paused")
    return ", ".join([*parts, _files_text(numbers)])


def result_text(file: FileNumbers, url: str) -> str:
    return f"{url}\t{clean(file.name)}"
