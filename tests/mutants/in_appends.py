"""Bugs on the way of the bytes: promises, floors, leases, buffers, and what must not be cancelled."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

ADMISSION = "server/uploads/admission.py"
SESSION = "server/uploads/session.py"
SINK = "server/uploads/sink.py"
TRANSFER = "server/uploads/transfer.py"

MUTANTS = (
    Mutant(
        "commit-before-data",
        "bytes are promised, then synced",
        SINK,
        "        await self.writer.sync()\n        await self._promise(self.writer)\n",
        "        await self._promise(self.writer)\n        await self.writer.sync()\n",
        "tests/server/uploads/test_resource_cuts.py::test_the_process_dies_at_any_step[in-two-parts-without_power-append]",
    ),
    Mutant(
        "promise-without-commit",
        "an offset is announced that no row knows",
        SINK,
        "            self._file.row.synced = written\n"
        "            await self._session.record([self._file], hard=True)\n",
        "            self._file.row.synced = written\n",
        "tests/server/uploads/test_recovery.py::test_a_power_cut_keeps_what_was_promised",
    ),
    Mutant(
        "soft-promise",
        "an offset is announced that a power cut takes back",
        SINK,
        "            await self._session.record([self._file], hard=True)\n",
        "            await self._session.record([self._file], hard=False)\n",
        "tests/server/uploads/test_recovery.py::test_a_power_cut_keeps_what_was_promised",
    ),
    Mutant(
        "floor-not-kept",
        "bytes are promised before their digest is verified",
        SINK,
        "        if self.keeps_floor:\n            return\n",
        "",
        "tests/server/uploads/test_append.py::test_unverified_bytes_are_not_announced",
    ),
    Mutant(
        "floor-not-committed",
        "a crash keeps bytes whose digest was never verified",
        ADMISSION,
        "        row.floor = visit.file.durable if claim.digest else None\n",
        "        row.floor = None\n",
        "tests/server/uploads/test_recovery.py::test_unverified_bytes_are_cut_off",
    ),
    Mutant(
        "soft-restart",
        "a power cut takes a new attempt back to bytes that are gone",
        ADMISSION,
        "        hard = row.floor is not None or old_key is not None",
        "        hard = row.floor is not None",
        "tests/server/uploads/test_resource_outages.py::test_a_power_cut_in_a_new_attempt_keeps_what_it_says_is_kept",
    ),
    Mutant(
        "unverified-bytes-stay",
        "what does not have its digest is not cut off",
        TRANSFER,
        "        await self._blobs.cut(self.file.row.blob_key, floor)\n",
        "",
        "tests/server/uploads/test_append.py::test_digest_that_does_not_fit_leaves_offset_and_bytes_as_they_were",
    ),
    Mutant(
        "lease-not-freed",
        "nobody may write after one has",
        ADMISSION,
        "            visit.session.set_append(visit.file, None)\n",
        "",
        "tests/server/uploads/test_append.py::test_caller_cancelled_keeps_the_bytes",
    ),
    Mutant(
        "taken-over-too-early",
        "a newcomer does not wait for the one it supersedes",
        ADMISSION,
        "            await holder.done.wait()\n",
        "            self.release(holder)\n            await trio.lowlevel.checkpoint()\n",
        "tests/server/uploads/test_append.py::test_after_a_take_over_the_offset_is_read_again",
    ),
    Mutant(
        "buffer-not-given-back",
        "buffers of an append that ends early are lost to the pool",
        SINK,
        "            self._pool.give_back(self._queue.popleft().buffer)\n",
        "            self._queue.popleft()\n",
        "tests/server/test_cut_commands.py::test_a_call_is_cut_at_any_step[cancel-both]",
    ),
    Mutant(
        "descriptor-not-closed",
        "an append keeps its blob open",
        SINK,
        "            await self.writer.aclose()\n",
        "            await trio.lowlevel.checkpoint()\n",
        "tests/server/uploads/test_append.py::test_cancel_leaves_nothing",
    ),
    Mutant(
        "reservation-not-released",
        "stored bytes stay reserved as bytes to come",
        SESSION,
        "                if not self.gone:\n                    self._space.release(count)\n",
        "",
        "tests/server/uploads/test_invariants.py::test_caller_cancelled_at_every_step[hops-new-attempt]",
    ),
    Mutant(
        "settled-without-shield",
        "a request that goes away loses what was taken of it",
        TRANSFER,
        "with trio.CancelScope(shield=True):\n                error = await self._settle(error)\n",
        "with trio.CancelScope():\n                error = await self._settle(error)\n",
        "tests/server/uploads/test_append.py::test_caller_cancelled_keeps_the_bytes",
    ),
    Mutant(
        "commit-without-shield",
        "a commit whose caller goes away is not waited for",
        SESSION,
        "        with trio.CancelScope(shield=True), self.in_use():\n",
        "        with trio.CancelScope(), self.in_use():\n",
        "tests/server/test_cut_commands.py::test_recovery_is_cut_at_any_step",
    ),
)
