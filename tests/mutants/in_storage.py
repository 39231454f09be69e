"""Bugs in the two stores: what a power cut, a full disk or a failed sync would show."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

LOCAL = "storage/blobs/local.py"
PUBLISHING = "storage/blobs/publishing.py"
SMALL = "storage/blobs/small.py"
DATABASE = "storage/state/database.py"
QUERIES = "storage/state/queries.py"

MUTANTS = (
    Mutant(
        "write-without-sync",
        "a write that was asked to sync does not",
        LOCAL,
        "        if sync:\n            self._sync()\n",
        "",
        "tests/storage/test_order_of_syncs.py::test_a_blob_from_its_creation_to_its_place",
    ),
    Mutant(
        "sync-that-is-none",
        "fdatasync is not called",
        LOCAL,
        "self.kernel.fdatasync(fd)",
        "pass",
        "tests/storage/test_local_blobs.py::test_a_failed_sync_stops_cutting_and_publishing",
    ),
    Mutant(
        "created-name-not-synced",
        "a new blob's name may be lost",
        LOCAL,
        "files.sync_name(self.kernel, key, self._incoming_fd)",
        "pass",
        "tests/storage/test_order_of_syncs.py::test_a_blob_whose_maker_died_is_named_durably_by_the_next",
    ),
    Mutant(
        "cut-not-synced",
        "what was rolled back is there again after a power cut",
        LOCAL,
        "            if self.syncs_appends:\n                self.sync_data(fd)\n",
        "",
        "tests/storage/test_local_blobs.py::test_what_is_synced_when",
    ),
    Mutant(
        "sync-tried-again",
        "a failed fdatasync is repeated, and believed",
        LOCAL,
        "            self._broken = True\n",
        "            pass\n",
        "tests/storage/test_local_blobs.py::test_a_failed_sync_is_never_papered_over",
    ),
    Mutant(
        "half-a-write",
        "ENOSPC leaves what did fit behind the written bytes",
        LOCAL,
        "            self._ragged = True\n            self._cut_off()\n",
        "",
        "tests/storage/test_local_blobs.py::test_a_full_disk_cuts_off_what_did_fit",
    ),
    Mutant(
        "descriptor-of-a-failed-open",
        "a writer that cannot be opened keeps its descriptor",
        LOCAL,
        "            self.kernel.close(fd)\n            raise\n        return fd\n",
        "            raise\n        return fd\n",
        "tests/storage/test_local_blobs.py::test_no_descriptor_is_left_open",
    ),
    Mutant(
        "complete-syncs-nothing",
        "with fsync = complete, finished files are not synced",
        LOCAL,
        'self._syncs_published = fsync != "never"',
        'self._syncs_published = fsync == "append"',
        "tests/storage/test_order_of_syncs.py::test_only_what_is_finished_is_synced_where_so_asked",
    ),
    Mutant(
        "published-name-not-synced",
        "a finished file's name may be lost",
        PUBLISHING,
        "    if sync is not None:\n        kernel.fsync(category_fd)\n",
        "",
        "tests/storage/test_order_of_syncs.py::test_a_blob_from_its_creation_to_its_place",
    ),
    Mutant(
        "link-before-sync",
        "a finished name may stand for bytes that are not on disk",
        PUBLISHING,
        "            if sync is not None:\n                sync(fd)\n"
        "            _link(kernel, key, kernel.fstat(fd).st_ino, incoming_fd, name, category_fd)\n",
        "            _link(kernel, key, kernel.fstat(fd).st_ino, incoming_fd, name, category_fd)\n"
        "            if sync is not None:\n                sync(fd)\n",
        "tests/storage/test_order_of_syncs.py::test_a_blob_from_its_creation_to_its_place",
    ),
    Mutant(
        "old-name-goes-first",
        "the incoming name goes before the final one is durable",
        PUBLISHING,
        "    if sync is not None:\n        kernel.fsync(category_fd)\n"
        "    files.unlink(kernel, key, incoming_fd)\n",
        "    files.unlink(kernel, key, incoming_fd)\n"
        "    if sync is not None:\n        kernel.fsync(category_fd)\n",
        "tests/storage/test_order_of_syncs.py::test_a_blob_from_its_creation_to_its_place",
    ),
    Mutant(
        "small-not-synced",
        "small files are linked without a sync",
        SMALL,
        "                sync(fd)\n",
        "                pass\n",
        "tests/storage/test_local_blobs.py::test_small_blobs_are_synced_each",
    ),
    Mutant(
        "small-linked-first",
        "small files are linked before they are synced",
        SMALL,
        "        _write(kernel, blobs, incoming_fd, sync, made)\n        for blob in blobs:\n"
        "            _publish(kernel, blob, incoming_fd, category_fd, made)\n",
        "        _write(kernel, blobs, incoming_fd, None, made)\n        for blob in blobs:\n"
        "            _publish(kernel, blob, incoming_fd, category_fd, made)\n"
        "        for blob in blobs if sync is not None else ():\n"
        "            sync(kernel.open(blob.name, os.O_RDWR, dir_fd=category_fd))\n",
        "tests/storage/test_order_of_syncs.py::test_small_blobs_are_linked_once_all_are_synced",
    ),
    Mutant(
        "small-names-not-synced",
        "small files' names may be lost",
        SMALL,
        "            kernel.fsync(category_fd)\n",
        "            pass\n",
        "tests/storage/test_order_of_syncs.py::test_small_blobs_are_linked_once_all_are_synced",
    ),
    Mutant(
        "never-hard",
        "no commit is synced",
        DATABASE,
        "        self._be_durable(hard)\n",
        "        self._be_durable(False)\n",
        "tests/storage/test_sqlite.py::test_hard_is_full_and_soft_is_normal",
    ),
    Mutant(
        "commits-after-a-failed-sync",
        "commits behind a gap in the log are taken for durable",
        DATABASE,
        '            self._unsynced = getattr(error, "sqlite_errorcode", None) in _SYNC_FAILED\n',
        "            self._unsynced = False\n",
        "tests/storage/test_state_faults.py::test_a_commit_fails_whole",
    ),
    Mutant(
        "half-a-commit",
        "a refused commit leaves its first rows",
        DATABASE,
        '            self._db.execute("ROLLBACK TO attempt")\n',
        "",
        "tests/contract/test_state.py::test_a_stale_fence_refuses_the_whole_commit",
    ),
    Mutant(
        "stale-fence",
        "a writer that lost its lease commits all the same",
        DATABASE,
        "if batch.fenced and changed < len(batch.parameters):",
        "if False:",
        "tests/contract/test_state.py::test_a_stale_fence_refuses_the_whole_commit",
    ),
    Mutant(
        "same-epoch",
        "after an unclean reboot facts repeat a seq in the same epoch",
        DATABASE,
        '        lost = meta.get("clean") != "1" and meta.get("boot_id") != boot_id\n',
        '        lost = "epoch" not in meta\n',
        "tests/storage/test_sqlite.py::test_only_an_unclean_reboot_makes_a_new_epoch",
    ),
    Mutant(
        "finishing-is-an-orphan",
        "a file that is being finished is swept from its final place",
        QUERIES,
        "WHERE state = 'finishing' AND stored_name",
        "WHERE state = 'unheard of' AND stored_name",
        "tests/contract/test_state.py::test_whose_names_are_known",
    ),
)
