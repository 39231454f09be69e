"""Commands, drains, joins, looks and the janitor, cut at every step.

Alone, together with the appends they act on, and while a drain begins.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import NamedTuple

import pytest
import trio
import trio.testing

from penstock.protocol.commands import FileSpec, Since
from penstock.protocol.errors import GatewayError, NetworkError
from penstock.protocol.lifecycle import State
from penstock.server.uploads.actor import ANYBODY
from penstock.server.uploads.offsets import Manner
from penstock.server.uploads.resources import Place
from tests.acceptance.sizes import full_or
from tests.server.uploads.crash import killed, without_power
from tests.server.uploads.cutting import AtStep, assert_at_rest, at_every_step, no_task_left
from tests.server.uploads.rig import FedBody, Rig, make_rig, whole_body

WHOLE = b"x" * 70_000 + b"y" * 70_000
SETTINGS = {"buffer_pool_bytes": 256 * 1024, "pause_hold_s": 20.0, "retry_wait_s": 60.0}


async def tolerant(call: Callable[..., Awaitable[object]], *arguments: object) -> None:
    with suppress(GatewayError):
        await call(*arguments)


class Scene:
    """A session with a file that is being sent (f1), one that is paused (f2) and one that failed (f3)."""

    def __init__(self, rig: Rig, session_id: str) -> None:
        self.rig = rig
        self.session_id = session_id
        self.sender = trio.CancelScope()
        self.body = FedBody(WHOLE[:70_000], length=len(WHOLE))
        self.held = FedBody(WHOLE[10:], length=len(WHOLE) - 10, ended=True)
        self.epoch, self.seq = "", 0

    async def send(self) -> None:
        """Both requests, until they end or their client is gone."""
        with self.sender:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(tolerant, self.put, "f1", self.body, 0)
                nursery.start_soon(tolerant, self.put, "f2", self.held, 10)

    async def put(self, file_id: str, body: FedBody, offset: int) -> None:
        await self.rig.put(self.session_id, body, offset=offset, file_id=file_id)

    @property
    def place(self) -> Place:
        return Place(self.rig.file(self.session_id).row.upload_id, self.session_id, "f1")


async def set_scene() -> Scene:
    rig = await make_rig(**SETTINGS)
    files = [{"fileName": name, "fileId": name, "fileSize": len(WHOLE)} for name in ("f1", "f2", "f3")]
    scene = Scene(rig, str((await rig.session(*files, open=True))["sessionId"]))
    await rig.put(scene.session_id, whole_body(WHOLE[:10]), offset=0, file_id="f2")
    await rig.command("upload-pause", scene.session_id, fileId="f2")
    await rig.put(scene.session_id, whole_body(b"bad"), offset=0, file_id="f3")
    rig.blobs.fail_sync = True
    with suppress(GatewayError):
        await rig.put(scene.session_id, whole_body(b"x"), offset=3, file_id="f3")
    rig.blobs.fail_sync = False
    assert rig.file(scene.session_id, "f3").row.state is State.FAILED
    return scene


Call = Callable[[Scene], Awaitable[object]]


async def command(name: str, scene: Scene, **fields: object) -> None:
    await scene.rig.command(name, scene.session_id, **fields)


async def start(file_id: str, scene: Scene) -> None:
    await command("upload-start", scene, fileIds=[file_id], category="personal")


async def pause_and_resume(scene: Scene) -> None:
    await command("upload-pause", scene)
    await command("upload-resume", scene)


async def terminate(scene: Scene) -> None:
    await scene.rig.gateway.resources.terminate(ANYBODY, scene.place)


async def register(scene: Scene) -> None:
    await scene.rig.gateway.register(ANYBODY, scene.session_id, [FileSpec(file_name="d", file_id="f4")])


async def close(scene: Scene) -> None:
    await scene.rig.gateway.complete_registration(ANYBODY, scene.session_id)


COMMANDS: dict[str, Call] = {
    "pause": partial(command, "upload-pause", fileId="f1"),
    "pause-all": partial(command, "upload-pause"),
    "pause-and-resume-all": pause_and_resume,
    "resume": partial(command, "upload-resume", fileId="f2"),
    "resume-all": partial(command, "upload-resume"),
    "cancel": partial(command, "upload-cancel", fileId="f1"),
    "cancel-held": partial(command, "upload-cancel", fileId="f2"),
    "cancel-all": partial(command, "upload-cancel"),
    "start": partial(start, "f1"),
    "start-failed": partial(start, "f3"),
    "terminate": terminate,
    "register": register,
    "complete-registration": close,
}


async def look(manner: Manner, scene: Scene) -> None:
    await scene.rig.offset(scene.session_id, manner)


async def join_and_follow(scene: Scene) -> None:
    """From where another one was cut off, into what is told next."""
    since = Since(epoch=scene.rig.store.epoch, seq=1)
    async with scene.rig.watcher(scene.session_id, since=since) as watcher:
        assert watcher.recovered
        await watcher.drain()
        await command("upload-pause", scene, fileId="f1")
        await watcher.drain()


async def tidy(scene: Scene) -> None:
    """Three rounds of the janitor: time has passed, more has, and nobody came back."""
    await scene.rig.gateway.janitor.round()
    scene.body.break_off()
    for passed_s in (100.0, scene.rig.settings.session_timeout_s + 100):
        await trio.sleep(passed_s)
        await scene.rig.gateway.janitor.round()


async def drain(scene: Scene) -> None:
    await scene.rig.gateway.drain()


OTHERS: dict[str, Call] = {
    "peek": partial(look, Manner.PEEK),
    "polite-look": partial(look, Manner.POLITE),
    "forced-look": partial(look, Manner.FORCE),
    "join": join_and_follow,
    "janitor": tidy,
    "drain": drain,
}


class Lives(NamedTuple):
    """Who is cut: the caller, those who send, both; or a drain begins."""

    caller: bool
    sender: bool
    drain: bool = False
    lag: int = 0  # steps from the first cut to the second


CUTS = {
    "caller": Lives(caller=True, sender=False),
    "sender": Lives(caller=False, sender=True),
    "both": Lives(caller=True, sender=True),
    "caller-then-sender": Lives(caller=True, sender=True, lag=3),
    "amid-a-drain": Lives(caller=False, sender=False, drain=True),
}


@pytest.mark.parametrize("who", CUTS)
@pytest.mark.parametrize("name", [*COMMANDS, *OTHERS])
def test_a_call_is_cut_at_any_step(name: str, who: str) -> None:
    lives = CUTS[who]

    async def run(cut: AtStep) -> None:
        scene = await set_scene()
        with no_task_left():
            await call_once(scene, {**COMMANDS, **OTHERS}[name], cut, lives)
        assert_at_rest(scene.rig)
        if lives.drain or name == "drain":
            await scene.rig.open()
        await finish(scene)

    at_every_step(run, at_least=12, most=full_or(6, None), lags=(0, lives.lag))


async def call_once(scene: Scene, call: Call, cut: AtStep, lives: Lives) -> None:
    caller, draining = trio.CancelScope(), trio.Event()
    acts: list[Callable[[], object]] = [caller.cancel] if lives.caller else []
    acts += [scene.sender.cancel] if lives.sender else []
    acts += [draining.set] if lives.drain else []

    async with trio.open_nursery() as nursery:
        nursery.start_soon(scene.send)
        await trio.testing.wait_all_tasks_blocked()
        if lives.drain:
            nursery.start_soon(drain_at, scene.rig, draining)
        cut.arm(*acts)
        scene.body.feed(WHOLE[70_000:135_000])  # so that the call finds it moving
        with caller:
            await tolerant(call, scene)
        scene.body.feed(WHOLE[135_000:])
        await trio.testing.wait_all_tasks_blocked()
        cut.disarm()
        scene.body.break_off()
        draining.set()  # at the latest


async def drain_at(rig: Rig, moment: trio.Event) -> None:
    await moment.wait()
    await rig.gateway.drain()


async def finish(scene: Scene) -> None:
    """Go on as a client would: nothing may be lost or doubled, and what is cancelled is gone."""
    rig = scene.rig
    with suppress(GatewayError):
        await rig.command("upload-resume", scene.session_id)
    for file in list((await rig.gateway.snapshot(ANYBODY, scene.session_id)).files):
        await finish_file(rig, scene.session_id, file.file_id)
    assert rig.blobs.incoming_blobs == {}
    assert_at_rest(rig)


async def finish_file(rig: Rig, session_id: str, file_id: str) -> None:
    row = rig.file(session_id, file_id).row
    if row.state is State.CANCELLED:
        return
    if row.state is State.FAILED:
        await rig.put(session_id, whole_body(WHOLE), file_id=file_id)
    else:
        report = await rig.offset(session_id, file_id=file_id)
        assert not report.busy
        if report.status != "completed":
            kept = rig.blobs.incoming_blobs.get(rig.file(session_id, file_id).row.blob_key)
            assert bytes(kept.data if kept else b"") == WHOLE[: report.offset]
            rest = whole_body(WHOLE[report.offset :])
            await rig.put(session_id, rest, offset=report.offset, file_id=file_id, ends_file=True)
    assert await rig.finished_bytes(session_id, file_id) == WHOLE


# Recovery


@pytest.mark.parametrize("fsync", ["append", "complete"])
@pytest.mark.parametrize("crash", [killed, without_power])
def test_recovery_is_cut_at_any_step(crash: Callable[[Rig], Rig], fsync: str) -> None:
    """The first touch after a crash, by several at once, of whom one goes away."""

    async def run(cut: AtStep) -> None:
        rig = await make_rig(**SETTINGS, fsync=fsync)
        session_id = await rig.one_file(len(WHOLE))
        body = FedBody(WHOLE[:100_000], length=len(WHOLE))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(until_broken, rig, session_id, body)
            await trio.testing.wait_all_tasks_blocked()
            after = crash(rig)
            body.break_off()
        await after.open()
        with no_task_left():
            await touch_once(after, session_id, cut)
        assert_at_rest(after)
        await finish_file(after, session_id, "f1")
        assert_at_rest(after)

    at_every_step(run, at_least=15)


async def until_broken(rig: Rig, session_id: str, body: FedBody) -> None:
    with pytest.raises(NetworkError):
        await rig.put(session_id, body, offset=0)


async def touch_once(rig: Rig, session_id: str, cut: AtStep) -> None:
    caller = trio.CancelScope()
    cut.arm(caller.cancel)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(tolerant, rig.command, "upload-pause", session_id)
        nursery.start_soon(tolerant, rig.offset, session_id)
        with caller, suppress(GatewayError):
            await rig.offset(session_id, Manner.FORCE)
            await rig.gateway.janitor.round()
    cut.disarm()
    with suppress(GatewayError):
        await rig.command("upload-resume", session_id)
