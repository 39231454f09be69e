"""The crowd of watchers, a process of its own: what it is asked comes on stdin, what it says goes to stdout.

It must never be what is measured: one epoll, one buffer, and no look into a payload. It takes more than
300 000 small frames a second on one core: `fanout` tells how busy it was with those of the frame writer.
"""

from __future__ import annotations

import select
import sys
import time
from collections.abc import Callable, Iterator

import msgspec

from bench.live import wire
from bench.live.limits import allow_many_files
from bench.live.messages import Asked, Count, Counted, Open, Opened, Ready, Record, Recorded, Tell
from bench.live.watcher import Buffer, Lost, Step, Watcher

STDIN = 0
PER_ADDRESS = 10_000  # connections: the range of ports of an address is not much larger
MAX_FAILURES = 5


class Crowd:
    def __init__(self) -> None:
        self._buffer = Buffer()
        self._epoll = select.epoll()
        self._watchers: dict[int, Watcher] = {}
        self._failures: list[str] = []
        self._told: Callable[[Watcher, int], None] | None = None

    # Opening

    def open(self, asked: Open) -> Opened:
        """All connected, joined and greeted, or what went wrong."""
        started_at, cpu_s = time.monotonic(), time.process_time()
        waiting, coming = self._to_come(asked), set[Watcher]()
        while not self._failures:
            while len(coming) < asked.at_once and (watcher := next(waiting, None)):
                coming.add(self._add(watcher))
            if not coming:
                break
            self._turn(0.1)
            coming = {one for one in coming if one.step is not Step.JOINED or one.events < asked.greetings}
            if time.monotonic() - started_at > asked.most_s:
                self._fail(f"{len(coming)} watchers have not joined within {asked.most_s:.0f} s")
        return Opened(time.monotonic() - started_at, time.process_time() - cpu_s, self._failures)

    def _to_come(self, asked: Open) -> Iterator[Watcher]:
        address, local = (asked.host, asked.port), asked.host.startswith("127.")
        for index, target in enumerate(asked.targets, len(self._watchers)):
            source = f"127.0.0.{2 + index // PER_ADDRESS}" if local else ""
            upgrade = wire.upgrade(target, asked.port, deflate=asked.deflate)
            yield Watcher(self._buffer, address, source, upgrade)

    def _add(self, watcher: Watcher) -> Watcher:
        fd = watcher.socket.fileno()
        self._watchers[fd] = watcher
        self._epoll.register(fd, select.EPOLLIN | select.EPOLLOUT)
        return watcher

    # Counting

    def count(self, asked: Count) -> Counted:
        """Until the number is there; `failures` if it is another one for anybody."""
        wanted, cpu_s = asked.events * len(self._watchers), time.process_time()
        deadline = time.monotonic() + asked.most_s
        events, last_at = 0, 0.0
        while events < wanted and not self._failures:
            if asked.nap_s:
                time.sleep(asked.nap_s)
            if came := self._turn(0.1):
                events, last_at = events + came, time.monotonic()
            elif time.monotonic() > deadline:
                break
        cpu_s = time.process_time() - cpu_s
        events += self._listen(asked.linger_s)
        self._check(asked.events)
        return Counted(events, self._bytes(), last_at, cpu_s, self._failures)

    def record(self, asked: Record) -> Recorded:
        """Everything that comes for a while."""
        cpu_s, gaps_s = time.process_time(), list[float]()
        before: dict[Watcher, float] = {}

        def told(watcher: Watcher, found: int) -> None:
            now = time.monotonic()
            if watcher in before:
                gaps_s.append(now - before[watcher])
            gaps_s.extend([0.0] * (found - 1))
            before[watcher] = now

        self._told = told
        events = self._listen(asked.seconds)
        self._told = None
        return Recorded(events, self._bytes(), time.process_time() - cpu_s, gaps_s, self._failures)

    def tell(self) -> Counted:
        events = sum(watcher.events for watcher in self._watchers.values())
        return Counted(events, self._bytes(), time.monotonic(), 0.0, self._failures)

    def _listen(self, seconds: float) -> int:
        until, events = time.monotonic() + seconds, 0
        while not self._failures and (left := until - time.monotonic()) > 0:
            events += self._turn(left)
        return events

    def _begin(self) -> None:
        """Count from here, and say so: now it may come."""
        for watcher in self._watchers.values():
            watcher.events = watcher.bytes = 0
        _say(Ready())

    def _bytes(self) -> int:
        return sum(watcher.bytes for watcher in self._watchers.values())

    def _check(self, events: int) -> None:
        wrong = [one.events for one in self._watchers.values() if one.events != events]
        if wrong and not self._failures:
            self._fail(f"{len(wrong)} watchers got {min(wrong)} to {max(wrong)} events instead of {events}")

    # The one loop

    def _turn(self, wait_s: float) -> int:
        """Read whatever is there; the number of events in it."""
        events, watchers, told = 0, self._watchers, self._told
        for fd, what in self._epoll.poll(wait_s, len(watchers) or 1):
            watcher = watchers[fd]
            try:
                if what & select.EPOLLOUT:
                    watcher.writable()
                    self._epoll.modify(fd, select.EPOLLIN)
                elif found := watcher.readable():
                    events += found
                    if told:
                        told(watcher, found)
            except (Lost, OSError) as error:
                self._fail(f"{error}")
                self._epoll.unregister(fd)
        return events

    def _fail(self, why: str) -> None:
        if len(self._failures) < MAX_FAILURES:
            self._failures.append(why)

    def close(self) -> None:
        self._epoll.close()
        for watcher in self._watchers.values():
            watcher.socket.close()

    # What is asked

    def serve(self) -> None:
        """Until stdin ends. Pings are answered meanwhile."""
        while True:
            ready, _, _ = select.select([STDIN, self._epoll.fileno()], [], [])
            if STDIN not in ready:
                self._turn(0)
            elif line := sys.stdin.buffer.readline():
                _say(self._answer(msgspec.json.decode(line, type=Asked)))
            else:
                return

    def _answer(self, asked: Asked) -> Opened | Counted | Recorded:
        match asked:
            case Open():
                return self.open(asked)
            case Count():
                self._begin()
                return self.count(asked)
            case Record():
                self._begin()
                return self.record(asked)
            case Tell():
                return self.tell()


def _say(told: msgspec.Struct) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(told) + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    allow_many_files()
    Crowd().serve()
