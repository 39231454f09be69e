"""A crowd of watchers and one that never reads: that one goes, the others miss nothing."""

from __future__ import annotations

import json
import resource
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import cycle
from pathlib import Path

import pytest
import trio
from wsproto import ConnectionType, WSConnection
from wsproto.events import Request, TextMessage

from tests.acceptance.api import Answer, Api, Upload
from tests.acceptance.content import Content
from tests.acceptance.gateway import Gateway, running, until
from tests.acceptance.sizes import MIB, full_or, tell
from tests.acceptance.watcher import PATH, Watcher, check_facts, crowd, watching

pytestmark = pytest.mark.acceptance

WATCHERS = full_or(200, 1000)
UPLOADS = 20
CONTENT = Content(full_or(1, 16) * MIB)
BYTES_PER_S = full_or(0.5, 4) * MIB
NOISY_FILES = 300
SEND_TIMEOUT_S = 1
DESCRIPTORS = 4 * 1000


@pytest.fixture(autouse=True)
def enough_descriptors() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < DESCRIPTORS:
        pytest.skip(f"at most {hard} descriptors a process here: a crowd is NOT tested")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, DESCRIPTORS), hard))


class Deaf:
    """A watcher with a small receive buffer that writes, and never reads."""

    def __init__(self, socket: trio.socket.SocketType) -> None:
        self.socket = socket
        self.gone = False
        self._machine = WSConnection(ConnectionType.CLIENT)

    async def shake_hands(self, host: str) -> None:
        """Reads the head of the answer and no more."""
        await self.socket.send(self._machine.send(Request(host=host, target=PATH)))
        answer = b""
        while not answer.endswith(b"\r\n\r\n"):
            answer += await self.socket.recv(1)
        self._machine.receive_data(answer)

    async def send(self, kind: str, **data: object) -> None:
        await self.socket.send(self._machine.send(TextMessage(json.dumps({"type": kind, "data": data}))))

    async def beat(self) -> None:
        """Heartbeats until the server is tired of it."""
        try:
            while True:
                await self.send("heartbeat")
                await trio.sleep(0.1)
        except OSError:
            self.gone = True


@asynccontextmanager
async def deaf_watcher(api: Api, session_id: str) -> AsyncIterator[Deaf]:
    with trio.socket.socket() as socket:
        socket.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_RCVBUF, 2048)
        await socket.connect((api.gateway.host, api.gateway.port))
        deaf = Deaf(socket)
        await deaf.shake_hands(api.host)
        await deaf.send("subscribe", topic=f"session:{session_id}")
        yield deaf


async def test_one_that_never_reads_goes_and_the_others_miss_nothing(tmp_path: Path) -> None:
    async with running(tmp_path, "--send-timeout-s", str(SEND_TIMEOUT_S)) as gateway:
        api = Api(gateway)
        uploads = [await api.create_one(CONTENT.size) for _ in range(UPLOADS)]
        noisy = await api.create(*({"fileName": f"{n}.bin", "fileSize": 1} for n in range(NOISY_FILES)))
        references = [
            (upload.session_id, upload.watch_key)[number % 2]
            for number, upload in zip(range(WATCHERS), cycle(uploads), strict=False)
        ]
        async with crowd(api, references) as watchers, watching(api, noisy["sessionId"]) as hearing:
            tell(f"{WATCHERS} watchers, {gateway.peak_memory_bytes() // MIB} MiB")
            async with deaf_watcher(api, noisy["sessionId"]) as deaf, trio.open_nursery() as nursery:
                nursery.start_soon(deaf.beat)
                for upload in uploads:
                    nursery.start_soon(put, upload)
                rounds = await make_noise(api, noisy["sessionId"], gateway)
                await until(lambda: deaf.gone)
            for watcher in watchers:
                await watcher.until_last_word()
            await hearing.until(lambda: len(hearing.facts) >= 2 * rounds * NOISY_FILES)
            assert {watcher.closed for watcher in (*watchers, hearing)} == {None}
        check_watchers(watchers, hearing, rounds)
        assert len(ended_as_slow(gateway)) == 1
        tell(f"peak {gateway.peak_memory_bytes() // MIB} MiB")


async def put(upload: Upload) -> None:
    async with upload.putting(CONTENT) as putting:
        await putting.send_all(bytes_per_s=BYTES_PER_S)
        answer: Answer = await putting.answer()
    assert answer.status == 200, answer


async def make_noise(api: Api, session_id: str, gateway: Gateway) -> int:
    """Pause and resume everything until a watcher was ended for being slow; how often."""
    rounds = 0
    while not ended_as_slow(gateway):
        assert (await api.command(session_id, "upload-pause")).status == 200
        assert (await api.command(session_id, "upload-resume")).status == 200
        rounds += 1
    return rounds


def ended_as_slow(gateway: Gateway) -> list[dict[str, object]]:
    return [entry for entry in gateway.log("watcher-ended") if entry["data"]["reason"] == "slow_consumer"]


def check_watchers(watchers: list[Watcher], hearing: Watcher, rounds: int) -> None:
    for watcher in watchers:
        check_facts(watcher)
        assert [e.name for e in watcher.facts] == ["upload-started", "upload-completed", "session-completed"]
    check_facts(hearing)
    statuses = [event.payload["currentFile"]["status"] for event in hearing.facts]
    one_round = ["paused"] * NOISY_FILES + ["uploading"] * NOISY_FILES
    assert statuses == one_round * rounds
