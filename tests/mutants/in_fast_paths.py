"""Bugs on the two fast paths: turns of fast bodies in threads, and events written straight to sockets."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

APPEND = "server/uploads/append.py"
DIRECT = "server/edge/direct.py"
FANOUT = "server/uploads/fanout.py"
REFILL = "server/uploads/refill.py"
SESSION = "server/realtime/engineio/session.py"
TRANSPORT = "server/edge/transport.py"
WATCH = "server/uploads/watch.py"

BODIES = "tests/server/edge/test_bodies.py"
FRAMES = "tests/server/edge/test_ready_frames.py"
ROUNDS = "tests/server/uploads/test_fanout.py"
TURNS = "tests/server/uploads/test_refill.py"
WATCHERS = "tests/server/realtime/test_socket_watchers.py::test_no_event_overtakes_the_answer_to_its_join"

MUTANTS = (
    Mutant(
        "turn-past-the-gate",
        "a pause does not hold a body that is read in a thread",
        REFILL,
        " and self.taken < self._most_bytes and self._may_take():",
        " and self.taken < self._most_bytes:",
        f"{TURNS}::test_a_stop_ends_it_before_the_next_byte",
    ),
    Mutant(
        "turn-past-the-end",
        "a body read in a thread takes bytes of the next request",
        REFILL,
        "            room = min(len(buffer) - self.filled, self._most_bytes - self.taken)\n",
        "            room = len(buffer) - self.filled\n",
        f"{TURNS}::test_it_takes_no_more_than_it_may",
    ),
    Mutant(
        "turn-without-count",
        "what a thread has taken is in no sum",
        APPEND,
        "                self._count(refill.taken)\n",
        "",
        "tests/server/uploads/test_append.py::test_pause_closes_the_gate_and_resume_goes_on",
    ),
    Mutant(
        "turn-written-twice",
        "what a thread has written is written again",
        APPEND,
        "                self._filled = refill.filled\n",
        "",
        "tests/server/uploads/test_append.py::test_every_size",
    ),
    Mutant(
        "descriptor-closed-under-a-thread",
        "a thread may read from another connection's socket",
        TRANSPORT,
        "        if self._lent:\n            with suppress(OSError):\n",
        "        if False:\n            with suppress(OSError):\n",
        f"{BODIES}::test_what_is_closed_while_a_thread_reads_keeps_its_descriptor_until_then",
    ),
    Mutant(
        "break-told-in-a-thread",
        "the scheduler is called from a thread that is not its own",
        DIRECT,
        "        self._broken = why\n        return why\n",
        "        self._broken = why\n        self._settle()\n        return why\n",
        f"{BODIES}::test_a_break_seen_in_a_thread_is_told_when_the_thread_is_done",
    ),
    Mutant(
        "frames-between-bytes",
        "a frame is written into the middle of another",
        TRANSPORT,
        "not self.plain or self._write_lock.locked():",
        "not self.plain:",
        f"{FRAMES}::test_nothing_goes_between_though_the_kernel_would_take_it",
    ),
    Mutant(
        "half-a-frame-forgotten",
        "what the kernel did not take of a frame is lost",
        TRANSPORT,
        "        self._rest = data[sent:]\n",
        "",
        f"{FRAMES}::test_what_the_kernel_took_in_part_comes_first_and_whole",
    ),
    Mutant(
        "told-twice",
        "who was told by the short way pulls the same again",
        WATCH,
        "        self._cursor = seq\n        for file_id in sampled:",
        "        for file_id in sampled:",
        f"{ROUNDS}::test_everybody_is_told_everything_in_order",
    ),
    Mutant(
        "told-past-a-pull",
        "a fact is told while its watcher's own writer is about to tell it",
        WATCH,
        "if facts is None or self._pulling or self.session.gone:",
        "if facts is None or self.session.gone:",
        f"{ROUNDS}::test_nothing_is_told_past_a_pull_that_is_under_way",
    ),
    Mutant(
        "told-what-is-old",
        "what was looked up before a fact came is told after it",
        FANOUT,
        "                stretches.clear()  # what was looked up is out of date\n",
        "                pass\n",
        f"{ROUNDS}::test_progress_that_comes_in_the_middle_of_a_round_reaches_all",
    ),
    Mutant(
        "past-what-waits",
        "events overtake the answers that wait for a slow client",
        SESSION,
        "self._writing or core.buffered_bytes or core.closed",
        "self._writing or core.closed",
        WATCHERS,
    ),
)
