"""`penstock upload`: files into one session, a few at once, until all have ended or the user leaves."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import partial

import trio

from penstock.server.client import keys
from penstock.server.client.api import Api, open_api
from penstock.server.client.dialect import TusDialect
from penstock.server.client.display import Bars, Display, Json, Lines
from penstock.server.client.errors import Again, ClientError, Refused, SourceError, Stopped, Unreachable
from penstock.server.client.follow import Follower
from penstock.server.client.numbers import FileNumbers, Numbers
from penstock.server.client.patience import patiently
from penstock.server.client.plan import Job, Options, Plan, begin, take_up
from penstock.server.client.records import Record, Records
from penstock.server.client.sources import PipeSource, Source
from penstock.server.client.texts import clean, size_text, time_text
from penstock.server.client.transfer import Transfer
from penstock.server.exits import Exit

AT_ONCE = 4  # files under way; more would only share the same line
COMMAND_S = 15.0  # for a key's command to be taken
LAST_WORDS_S = 3.0  # for the session's last events, when all files are done


async def upload(sources: Sequence[Source], url: str, options: Options, records: Records) -> Exit:
    """Send everything. Raises: ClientError."""
    async with open_api(url) as api:
        plan = await begin(api, sources, options)
        records.save(plan.record)
        return await Upload(api, plan, options).run()


async def resume(record: Record, options: Options) -> Exit:
    """Go on with a session of this machine. Raises: ClientError, also when a file is not what it was."""
    async with open_api(record.server) as api:
        return await Upload(api, await take_up(api, record), options).run()


class Upload:
    """A plan carried out."""

    def __init__(self, api: Api, plan: Plan, options: Options) -> None:
        self._api = api
        self._record, self._jobs, files = plan
        self._numbers = Numbers(files)
        self._options = options
        self._dialect = TusDialect(api)
        self._display: Display = Json()
        self._told_all = trio.Event()
        self._interrupted = False
        self._gave_up: Unreachable | None = None
        self._began_at = trio.current_time()

    async def run(self) -> Exit:
        """Until every job has ended, the server is given up, or SIGINT or SIGTERM."""
        # First of all: whoever sees that Ctrl-C may be pressed may press it.
        signals = trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM)
        with signals as received, self._keyboard() as keyboard:
            self._display = self._choose_display(keyboard)
            with self._display.show():
                self._announce()
                await self._run(received, keyboard)
            return self._conclude()

    async def _run(self, signals: AsyncIterator[int], keyboard: int | None) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._heed, signals, nursery.cancel_scope)
            nursery.start_soon(self._display.run)
            nursery.start_soon(self._follow)
            if keyboard is not None:
                nursery.start_soon(keys.listen, keyboard, self._actions())
            await self._work()
            if self._gave_up is None:
                with trio.move_on_after(LAST_WORDS_S):
                    await self._told_all.wait()
            nursery.cancel_scope.cancel(reason="all files have ended")

    # Files

    async def _work(self) -> None:
        waiting = iter(self._jobs)
        async with trio.open_nursery() as nursery:
            for _ in range(min(AT_ONCE, len(self._jobs))):
                nursery.start_soon(self._send_in_turn, waiting)

    async def _send_in_turn(self, waiting: Iterator[Job]) -> None:
        for job in waiting:
            if self._gave_up is not None:
                return
            self._numbers.active.append(job.numbers)
            try:
                await self._send(job)
            finally:
                self._numbers.active.remove(job.numbers)
                job.source.close()

    async def _send(self, job: Job) -> None:
        file = job.numbers
        transfer = Transfer(
            self._dialect,
            job.source,
            job.target,
            file,
            is_new=job.is_new,
            give_up_s=self._options.give_up_s,
        )
        with trio.CancelScope() as scope:
            file.on_cancelled = partial(scope.cancel, reason="cancelled by a command")
            try:
                if file.status != "cancelled":
                    file.note_view(await transfer.run())
            except Stopped:
                file.set_status("cancelled")
            except Unreachable as error:
                self._gave_up = error
            except Refused as error:
                self._fail(file, f"{error.message}; {error.advice}")
            except SourceError as error:
                self._fail(file, str(error))
                await self._drop(file, str(error))
        file.on_cancelled = None
        if file.status == "completed":
            self._display.result(file, self._api.absolute(file.upload_path))

    def _fail(self, file: FileNumbers, problem: str) -> None:
        file.fail(problem)
        self._display.say(f"{clean(file.name)}: {clean(problem)}")
        self._display.told("file-failed", {"fileId": file.file_id, "fileName": file.name, "message": problem})

    async def _drop(self, file: FileNumbers, reason: str) -> None:
        """What cannot become whole is not kept waiting at the server."""
        with suppress(Again, ClientError), trio.move_on_after(COMMAND_S):
            await self._api.command(self._record.session_id, "upload-cancel", file.file_id, reason)

    # Beside them

    async def _follow(self) -> None:
        """News of the session; without any the files go on all the same."""
        follower = Follower(self._api, self._record.session_id, self._told, give_up_s=float("inf"))
        with suppress(ClientError):
            await follower.run()
        self._told_all.set()

    def _told(self, event: str, payload: dict[str, object]) -> None:
        self._numbers.note(event, payload)
        self._display.told(event, payload)

    def _actions(self) -> dict[str, Callable[[], Awaitable[None]]]:
        return {
            "p": partial(self._command, "upload-pause"),
            "r": partial(self._command, "upload-resume"),
            "c": partial(self._command, "upload-cancel"),
        }

    async def _command(self, command: str) -> None:
        call = partial(self._api.command, self._record.session_id, command)
        try:
            with trio.move_on_after(COMMAND_S) as waiting:
                await patiently(call, COMMAND_S)
        except ClientError as error:
            self._display.say(f"{command}: {clean(error.message)}; {error.advice}")
        else:
            if waiting.cancelled_caught:
                self._display.say(f"{command}: the server did not answer; press the key again")

    async def _heed(self, signals: AsyncIterator[int], scope: trio.CancelScope) -> None:
        async for _ in signals:
            self._interrupted = True
            scope.cancel(reason="interrupted")
            return

    # Beginning and end

    def _keyboard(self) -> AbstractContextManager[int | None]:
        """Keys are for those who are shown which there are, and whose typing is not what is uploaded."""
        typed = os.isatty(0) and any(isinstance(job.source, PipeSource) for job in self._jobs)
        return keys.terminal() if self._has_screen() and not typed else nullcontext()

    def _has_screen(self) -> bool:
        return not self._options.as_json and os.isatty(2) and os.environ.get("TERM") != "dumb"

    def _choose_display(self, keyboard: int | None) -> Display:
        if self._options.as_json:
            return Json()
        if self._has_screen():
            return Bars(self._numbers, keys=keyboard is not None)
        return Lines(self._numbers)

    def _announce(self) -> None:
        record = self._record
        self._display.say(f"session {record.session_id} at {record.server}")
        self._display.say(f"to let others watch: penstock watch {record.watch_key} --to {record.server}")
        about = {
            "sessionId": record.session_id,
            "watchKey": record.watch_key,
            "server": record.server,
            "files": [
                {"fileId": file.file_id, "fileName": file.name, "fileSize": file.size}
                for file in self._numbers.files.values()
            ],
        }
        self._display.told("session", about)

    def _conclude(self) -> Exit:
        code = self._exit_code()
        numbers = self._numbers
        counts = {status: numbers.count(status) for status in ("completed", "failed", "cancelled")}
        left = len(numbers.files) - sum(counts.values())
        resume = f"penstock upload --resume {self._record.session_id}" if left else None
        took_s = trio.current_time() - self._began_at
        words = [f"{count} {status}" for status, count in {**counts, "unfinished": left}.items() if count]
        self._display.say(f"{', '.join(words)}; {size_text(numbers.uploaded)} in {time_text(took_s)}")
        if self._gave_up is not None:
            self._display.say(f"penstock: {clean(self._gave_up.message)}")
        if resume:
            self._display.say(f"to go on: {resume}{self._not_resumable()}")
        summary = {
            "sessionId": self._record.session_id,
            **counts,
            "unfinished": left,
            "uploadedBytes": numbers.uploaded,
            "seconds": round(took_s, 3),
            "exitCode": int(code),
            "resume": resume,
            "files": [_outcome(self._api, file) for file in numbers.files.values()],
        }
        self._display.told("summary", summary)
        return code

    def _not_resumable(self) -> str:
        lost = [
            job.source.name
            for job in self._jobs
            if isinstance(job.source, PipeSource) and job.numbers.status != "completed"
        ]
        return f" (but standard input, {clean(lost[0])}, cannot be read again)" if lost else ""

    def _exit_code(self) -> Exit:
        numbers = self._numbers
        if self._interrupted:
            return Exit.INTERRUPTED
        if self._gave_up is not None:
            return Exit.UNREACHABLE
        if numbers.count("failed"):
            return Exit.FAILED
        return Exit.CANCELLED if numbers.count("cancelled") else Exit.OK


def _outcome(api: Api, file: FileNumbers) -> dict[str, object]:
    return {
        "fileId": file.file_id,
        "fileName": file.name,
        "status": file.status,
        "url": api.absolute(file.upload_path) if file.upload_path else None,
        "problem": file.problem or None,
    }
