"""One upload from its first request to the last look at its bytes."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Awaitable, Callable
from typing import Protocol

import trio

from tests.acceptance.content import Content
from tests.conformance.wire import Answer
from tests.soak.client import Client, Order, some_size
from tests.soak.command_line import CommandLine
from tests.soak.dialects import Draft, Put, Tus
from tests.soak.disturber import Disturber
from tests.soak.forms import Form
from tests.soak.ledger import Entry, Fate
from tests.soak.parallel import Parallel
from tests.soak.stored import compare_stored
from tests.soak.world import GaveUp, Gone, World

DIALECTS: dict[str, type[Client]] = {"PUT": Put, "tus": Tus, "draft": Draft, "tus parallel": Parallel}
WEIGHTS = {"PUT": 6, "tus": 6, "draft": 5, "tus parallel": 2, "form": 3, "penstock upload": 0.3}
LAST_LOOK_S = 5.0  # finished files are removed after 10 s


class Sender(Protocol):
    session_id: str | None  # once it is created

    async def create(self) -> None: ...

    async def run(self) -> None: ...


async def upload(world: World, dice: random.Random) -> None:
    """Any upload, until its files are over."""
    dialect = dice.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
    if dialect == "form":
        await _upload_form(Form(world, dice), world, dice)
        return
    size = some_size(dice)
    entry = world.enter(dialect, size)
    order = Order(world, entry, Content(size, seed=entry.number), dice)
    sender = CommandLine(order) if dialect == "penstock upload" else DIALECTS[dialect](order)
    await _upload_one(sender, order)


async def _upload_one(sender: Client | CommandLine, order: Order) -> None:
    world, entry, content, dice = order
    if not await _sent(sender, world, [entry], dice):
        return
    world.uploads_of_life += 1
    if entry.fate is Fate.UNDER_WAY:
        path = await sender.download_path()
        await _look(world, entry, content, path)
        entry.end(Fate.COMPLETED)
        if dice.random() < 0.2 and sender.upload_path is not None:
            await _last_look(world, entry, content.sha256(), sender.upload_path, dice)
    entry.let_go()


async def _upload_form(form: Form, world: World, dice: random.Random) -> None:
    if not await _sent(form, world, list(form.entries.values()), dice):
        return
    for name, entry in form.entries.items():
        world.uploads_of_life += 1
        if entry.fate is Fate.UNDER_WAY and name in form.upload_paths:
            entry.end(Fate.COMPLETED)
        elif entry.fate is Fate.UNDER_WAY:
            entry.end(Fate.CANCELLED)
        entry.let_go()


async def _sent(sender: Sender, world: World, entries: list[Entry], dice: random.Random) -> bool:
    """Send, while somebody may disturb; whether the files have ended. A file that is gone has to be one that
    was cancelled."""
    who = f"files from {entries[0].number} ({entries[0].dialect})"
    ended = True
    try:
        await sender.create()
        async with trio.open_nursery() as nursery:
            if sender.session_id is not None:
                nursery.start_soon(Disturber(world, sender.session_id, entries, dice).run)
            await sender.run()
    except* Gone:
        for entry in entries:
            entry.end(Fate.CANCELLED)
    except* (GaveUp, KeyError, AssertionError) as group:
        world.ledger.problem(who, "; ".join(repr(leaf) for leaf in leaves(group)))
        ended = False
    world.shown.pop(sender.session_id or "", None)
    return ended


# The last looks


async def _look(world: World, entry: Entry, content: Content, path: str) -> None:
    """Download all of it, and compare; or a range, and all of it from the disk."""
    answer = await world.insist(_get(world, path), f"GET of {entry}")
    entry.compare(content.sha256(), hashlib.sha256(answer.body).hexdigest(), "in its download")
    world.ledger.counts["downloads"] += 1
    if entry.size > 1:
        await _look_at_range(world, entry, content, path)


async def _look_at_range(world: World, entry: Entry, content: Content, path: str) -> None:
    start = entry.number * 7919 % (entry.size - 1)
    stop = min(start + 100_000, entry.size)
    fields = [("Range", f"bytes={start}-{stop - 1}")]
    answer = await world.ask("GET", path, fields)
    if answer is not None and answer.status == 206:
        world.ledger.counts["range downloads"] += 1
        if answer.body != b"".join(content.pieces(start, stop)):
            entry.problem(f"other bytes in the range from {start}")


def _get(world: World, path: str) -> Callable[[], Awaitable[Answer | None]]:
    return lambda: world.ask("GET", path)


async def _last_look(world: World, entry: Entry, sha256: str, upload_path: str, dice: random.Random) -> None:
    """Again a little later, on the disk: perhaps the server was killed meanwhile."""
    await trio.sleep(dice.uniform(0.5, LAST_LOOK_S))
    compare_stored(world, entry, sha256, upload_path)


def leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    return [
        leaf
        for one in group.exceptions
        for leaf in (leaves(one) if isinstance(one, BaseExceptionGroup) else [one])
    ]
