"""A disk that answers nothing: what waits for it, what does not, and what happens when it comes back."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from penstock.storage.disk import Disk
from penstock.storage.state.base import AddFact
from penstock.storage.state.database import Database
from penstock.storage.state.sqlite import SqliteState
from tests.storage.faulty_connection import Statements
from tests.storage.gate import Gate
from tests.storage.operations import BLOB, KEY, OPERATIONS, Operation, World, world


async def calls_of(path: Path, operation: Operation) -> int:
    async with world(path) as there:
        await operation.act(there)
        return len(there.kernel.calls)


async def check_cancelled_while_stuck(there: World, operation: Operation, nth: int) -> None:
    """Its time is counted, the other thread of the device works on, and what had begun is finished."""
    disk, gate, goal = there.store.disk, Gate(), operation.after(there.files())
    outcomes: list[object] = []

    async def act() -> None:
        outcomes.append(await operation.act(there))

    there.kernel.hold(gate, nth=nth)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(act)
        await gate.wait_inside()
        nursery.cancel_scope.cancel()
        with trio.CancelScope(shield=True):
            stuck_s = disk.longest_running_s()
            assert await there.store.size(KEY) is not None
            assert disk.longest_running_s() > stuck_s > 0
            await trio.testing.wait_all_tasks_blocked()
            assert outcomes == []
            gate.let_go()
    assert outcomes == [operation.gives]
    assert there.files() == goal
    assert disk.longest_running_s() == 0


@pytest.mark.parametrize("name", OPERATIONS)
async def test_a_stuck_call_is_waited_for(memory: Path, name: str) -> None:
    calls = await calls_of(memory / "well", OPERATIONS[name])
    for nth in range(1, calls + 1):
        async with world(memory / str(nth)) as there:
            await check_cancelled_while_stuck(there, OPERATIONS[name], nth)


async def test_who_waits_for_a_stuck_disk_can_give_up(memory: Path) -> None:
    """Both threads are stuck. A third call has not begun and is cancelled; a fourth waits and is made."""
    async with world(memory) as there:
        gates, sizes = (Gate(), Gate()), []
        there.kernel.hold(gates[0], nth=1, name="fdatasync")
        there.kernel.hold(gates[1], nth=1, name="pread")

        async def ask() -> None:
            sizes.append(await there.store.size(KEY))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(there.writer.sync)
            nursery.start_soon(there.reader.read_at, 0, 10)
            for gate in gates:
                await gate.wait_inside()
            with trio.CancelScope() as impatient:
                nursery.start_soon(ask)
                await trio.testing.wait_all_tasks_blocked()
                impatient.cancel()
                await ask()
            assert impatient.cancelled_caught
            assert sizes == []
            for gate in gates:
                gate.let_go()
        assert sizes == [len(BLOB)]


async def test_a_stuck_sync_of_the_database_holds_up_all_and_loses_none(memory: Path) -> None:
    """A commit under way is not abandoned; who asks meanwhile waits, and goes next, in one transaction."""
    statements, gate = Statements(), Gate()
    database = Database(memory / "state.db", "boot-1", connection=statements.connection())
    async with SqliteState(database, Disk(1), "boot-1", 100) as state:
        statements.hold(gate, containing="COMMIT")
        committed: list[int] = []

        async def commit(seq: int) -> None:
            await state.commit((AddFact("s1", seq, b""),), hard=True)
            committed.append(seq)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(commit, 1)
            await gate.wait_inside()
            for seq in (2, 3):
                nursery.start_soon(commit, seq)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
            with trio.CancelScope(shield=True):
                assert state.thread.longest_running_s() > 0
                with trio.move_on_after(0) as impatient:
                    await state.counts()
                assert impatient.cancelled_caught
                assert committed == []
                gate.let_go()
        assert sorted(committed) == [1, 2, 3]
        assert state.statistics.groups == 2
        assert len(await state.facts("s1", after=0, limit=9)) == 3
