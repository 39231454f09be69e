"""Bugs in what is told and kept: facts, finishing, commands, the janitor, and what a crash leaves."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

COMMANDS = "server/uploads/commands.py"
CREATION = "server/uploads/creation.py"
FINISHING = "server/uploads/finishing.py"
GATEWAY = "server/uploads/gateway.py"
JANITOR = "server/uploads/janitor.py"
OFFSETS = "server/uploads/offsets.py"
RECOVERY = "server/uploads/recovery.py"
REGISTRY = "server/uploads/registry.py"
SESSION = "server/uploads/session.py"

MUTANTS = (
    Mutant(
        "command-without-shield",
        "a command whose caller goes away stops half way",
        GATEWAY,
        "with trio.CancelScope(shield=True), session.in_use():\n            return await self._run(",
        "with trio.CancelScope(), session.in_use():\n            return await self._run(",
        "tests/server/uploads/test_invariants.py::test_caller_cancelled_at_every_step[hops-cancel]",
    ),
    Mutant(
        "received-for-durable",
        "an offset counts bytes that are not stored",
        OFFSETS,
        "        offset=file.durable,\n",
        "        offset=file.received,\n",
        "tests/server/uploads/test_append.py::test_unverified_bytes_are_not_announced",
    ),
    Mutant(
        "fact-before-commit",
        "facts are told before they are committed",
        SESSION,
        "                await self._store.commit([*changes, *extra], hard=hard)\n",
        "                settled[0] = True\n                self._publish_settled()\n"
        "                await self._store.commit([*changes, *extra], hard=hard)\n",
        "tests/server/uploads/test_watch.py::test_facts_go_out_only_after_their_commit",
    ),
    Mutant(
        "completed-twice",
        "session-completed is told again",
        SESSION,
        "        if self.row.ended_at is not None or self.row.open or self.adding:\n",
        "        if self.row.open or self.adding:\n",
        "tests/server/uploads/test_janitor.py::test_retrying_files_lapse_and_complete_the_session_once",
    ),
    Mutant(
        "broken-session-lives",
        "memory that is ahead of a failed commit is gone on with",
        REGISTRY,
        "        self.drop(session)\n        visits",
        "        visits",
        "tests/server/uploads/test_watch.py::test_a_broken_store_tells_the_watchers_and_is_loaded_anew",
    ),
    Mutant(
        "soft-finishing",
        "a power cut leaves a finished name that no row knows",
        FINISHING,
        "        await session.record([file], hard=True)  # or a power cut",
        "        await session.record([file], hard=False)  # or a power cut",
        "tests/server/uploads/test_invariants.py::test_power_cut_while_finishing_loses_nothing",
    ),
    Mutant(
        "completed-before-published",
        "upload-completed is told before the file is in its place",
        FINISHING,
        "            await self._blobs.publish(row.blob_key, session.row.category, row.stored_name)\n"
        "        except (BlobFault, BlobMissing) as error:\n",
        "            key, name = row.blob_key, row.stored_name\n"
        "            await session.record([file], [partial(facts.completed, file, session.row.category)])\n"
        "            await self._blobs.publish(key, session.row.category, name)\n"
        "        except (BlobFault, BlobMissing) as error:\n",
        "tests/server/uploads/test_append.py::test_completed_is_told_when_the_file_is_in_its_place",
    ),
    Mutant(
        "pause-does-not-wait",
        "a pause is acknowledged while bytes are still being written",
        COMMANDS,
        "                await append.wait_parked()",
        "                return",
        "tests/server/uploads/test_append.py::test_pause_while_the_disk_is_stuck_waits_for_it_alone",
    ),
    Mutant(
        "soft-cancel",
        "a power cut brings a cancelled file back without its bytes",
        COMMANDS,
        "            await session.record(ended, makers, hard=True)\n",
        "            await session.record(ended, makers, hard=False)\n",
        "tests/server/uploads/test_recovery.py::test_a_power_cut_brings_back_nothing_that_was_cancelled",
    ),
    Mutant(
        "cancel-leaves-bytes",
        "a cancelled file's bytes stay",
        COMMANDS,
        "            for file in ended:\n                await self._blobs.delete(file.row.blob_key)\n",
        "",
        "tests/server/uploads/test_append.py::test_cancel_leaves_nothing",
    ),
    Mutant(
        "soft-creation",
        "a power cut takes a session whose id was answered",
        CREATION,
        "session.session_id, answer, now), hard=True)",
        "session.session_id, answer, now))",
        "tests/server/uploads/test_recovery.py::test_a_power_cut_takes_nothing_that_was_registered",
    ),
    Mutant(
        "soft-registration",
        "a power cut takes files whose ids were answered",
        CREATION,
        "        await session.record(files, extra=extra, hard=True)\n",
        "        await session.record(files, extra=extra)\n",
        "tests/server/uploads/test_recovery.py::test_a_power_cut_takes_nothing_that_was_registered",
    ),
    Mutant(
        "young-orphans-swept",
        "bytes whose row is just being committed are removed",
        JANITOR,
        "ORPHAN_AGE_S = 600.0",
        "ORPHAN_AGE_S = 0.0",
        "tests/server/uploads/test_janitor.py::test_young_bytes_may_have_a_row_soon",
    ),
    Mutant(
        "boot-id-ignored",
        "after a reboot the file's size is taken for what is stored",
        RECOVERY,
        "        if row.boot_id == self.boot_id:\n            return min",
        "        if True:\n            return min",
        "tests/server/uploads/test_resource_cuts.py::test_the_process_dies_at_any_step[in-two-parts-without_power-append]",
    ),
    Mutant(
        "unsynced-is-kept",
        "after a reboot bytes that were never synced are gone on with",
        RECOVERY,
        '        return row.boot_id == self.boot_id or row.promise == "append"\n',
        "        return True\n",
        "tests/server/uploads/test_invariants.py::test_power_cut_without_sync_never_rolls_an_offset_back",
    ),
    Mutant(
        "recovered-without-commit",
        "an offset is answered that no row knows",
        RECOVERY,
        "            row.synced, row.floor, row.boot_id = end, None, self.boot_id\n"
        "            await session.record([file], hard=True)\n",
        "            row.synced, row.floor, row.boot_id = end, None, self.boot_id\n",
        "tests/server/uploads/test_recovery.py::test_what_a_recovery_has_announced_survives_a_power_cut",
    ),
    Mutant(
        "offset-goes-down",
        "lost bytes are papered over with a smaller offset",
        RECOVERY,
        "        elif size < max(end, row.synced):\n",
        "        elif size < end:\n",
        "tests/server/uploads/test_recovery.py::test_missing_synced_bytes_fail_the_file",
    ),
    Mutant(
        "recovered-without-cut",
        "unverified bytes are still there when the next ones come",
        RECOVERY,
        "                await self._blobs.cut(row.blob_key, end)\n",
        "                await self._blobs.size(row.blob_key)\n",
        "tests/server/uploads/test_recovery.py::test_unverified_bytes_are_cut_off",
    ),
)
