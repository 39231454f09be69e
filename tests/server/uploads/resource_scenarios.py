"""Calls of upload resources that can be cut anywhere, and what a client does then."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest
import trio
import trio.testing

from penstock.protocol.errors import GatewayError, InvalidMessage, UploadCancelled
from penstock.protocol.lifecycle import State
from penstock.server.uploads.actor import ANYBODY
from penstock.server.uploads.digests import Digest
from penstock.server.uploads.idempotency import IdempotencyKey
from penstock.server.uploads.offsets import Manner
from penstock.server.uploads.resources import NewUpload, Place
from tests.server.uploads.rig import FedBody, Rig, whole_body
from tests.server.uploads.test_concatenation import concatenate, finished, partial, with_parts

WHOLE = b"x" * 70_000 + b"y" * 70_000
DIGEST = Digest("sha256", hashlib.sha256(WHOLE).digest())
KEY = IdempotencyKey("POST /files/", "k1", "print")
Places = list[Place]


class Scenario(NamedTuple):
    """What is there, the call that is cut, and what a client does then: in the end it has what it wanted."""

    prepare: Callable[[Rig], Awaitable[Places]]
    call: Callable[[Rig, Places], Awaitable[object]]
    finish: Callable[[Rig, Places], Awaitable[None]]
    settings: Mapping[str, Any] = MappingProxyType({})


async def nothing(rig: Rig) -> Places:
    return []


# Creations


async def create(rig: Rig, length: int) -> Place:
    return (await rig.gateway.resources.create(ANYBODY, NewUpload(length=length), KEY)).place


async def create_whole(rig: Rig, places: Places) -> None:
    await create(rig, len(WHOLE))


async def create_empty(rig: Rig, places: Places) -> None:
    await create(rig, 0)


async def create_again(rig: Rig, places: Places) -> None:
    place = await create(rig, len(WHOLE))
    assert (await rig.store.counts())["files"] == 1
    await go_on(rig, [place])


async def create_empty_again(rig: Rig, places: Places) -> None:
    place = await create(rig, 0)
    assert (await rig.store.counts())["files"] == 1
    assert await finished(rig, place) == b""


async def half_sent(rig: Rig) -> Places:
    """A registered file of unknown size, half of whose bytes are here."""
    session_id = await rig.one_file()
    await rig.put(session_id, whole_body(WHOLE[:70_000]), offset=0)
    return [Place(rig.file(session_id).row.upload_id, session_id, "f1")]


async def join(rig: Rig, places: Places) -> None:
    wanted = NewUpload(length=len(WHOLE), session_id=places[0].session_id, file_id="f1")
    assert (await rig.gateway.resources.create(ANYBODY, wanted)).offset == 70_000


async def join_and_go_on(rig: Rig, places: Places) -> None:
    await join(rig, places)
    await go_on(rig, places)


# Appends


async def upload(rig: Rig) -> Places:
    return [await rig.upload(len(WHOLE))]


async def deferred(rig: Rig) -> Places:
    return [await rig.upload(None)]


async def verified(rig: Rig, places: Places) -> None:
    await rig.patch(places[0], whole_body(WHOLE), digest=DIGEST)


async def falsified(rig: Rig, places: Places) -> None:
    await rig.patch(places[0], whole_body(WHOLE[::-1]), digest=DIGEST)


async def late_length(rig: Rig, places: Places) -> None:
    await rig.patch(places[0], whole_body(WHOLE), length=len(WHOLE))


async def in_two_parts(rig: Rig, places: Places) -> None:
    """The second takes over from the first, whose body has no end."""
    body = FedBody(WHOLE[:70_000])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(tolerant, rig.patch, places[0], body)
        await trio.testing.wait_all_tasks_blocked()
        report = await rig.head(places[0], Manner.FORCE)
        await rig.patch(places[0], whole_body(WHOLE[report.offset :]), offset=report.offset)


async def go_on(rig: Rig, places: Places) -> None:
    """As a client does, from the offset that it is told."""
    (place,) = places
    report = await rig.head(place)
    if not report.complete:
        assert WHOLE.startswith(stored(rig, place, report.offset))
        rest = whole_body(WHOLE[report.offset :])
        await rig.patch(place, rest, offset=report.offset, length=len(WHOLE))
    assert await finished(rig, place) == WHOLE
    assert rig.blobs.incoming_blobs == {}


def stored(rig: Rig, place: Place, offset: int) -> bytes:
    blob = rig.blobs.incoming_blobs.get(rig.file(place.session_id, place.file_id).row.blob_key)
    kept = bytes(blob.data[:offset]) if blob else b""
    assert len(kept) == offset
    return kept


async def tolerant(call: Callable[..., Awaitable[object]], *arguments: object) -> None:
    with suppress(GatewayError):
        await call(*arguments)


# Terminations


async def with_bytes(rig: Rig) -> Places:
    place = await rig.upload(len(WHOLE))
    await rig.patch(place, whole_body(WHOLE[:70_000]))
    return [place]


async def complete(rig: Rig) -> Places:
    place = await rig.upload(3)
    await rig.patch(place, whole_body(b"abc"))
    return [place]


async def with_partials(rig: Rig) -> Places:
    """A file and its partials; the file comes first."""
    session_id, places = await with_parts(rig, 3, 3)
    await rig.patch(places[0], whole_body(b"abc"))
    return [Place(rig.file(session_id).row.upload_id, session_id, "f1"), *places]


async def terminate(rig: Rig, places: Places) -> None:
    await rig.gateway.resources.terminate(ANYBODY, places[0])


async def terminate_writer(rig: Rig, places: Places) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(tolerant, append, rig, places[0])
        await trio.testing.wait_all_tasks_blocked()
        await terminate(rig, places)


async def append(rig: Rig, place: Place) -> None:
    await rig.patch(place, FedBody(b"z"), offset=70_000)


async def all_gone(rig: Rig, places: Places) -> None:
    with suppress(UploadCancelled):
        await terminate(rig, places)
    for place in places:
        with pytest.raises(UploadCancelled):
            await rig.head(place)
    assert (rig.blobs.incoming_blobs, rig.blobs.published_blobs) == ({}, {})
    assert rig.gateway.statistics().reserved_bytes == 0
    assert (await rig.store.counts())["finished"] == 0


# Concatenations


async def two_partials(rig: Rig) -> Places:
    return [await partial(rig, b"abc"), await partial(rig, b"def")]


async def partials_of_a_file(rig: Rig) -> Places:
    """A file that has other bytes, and its partials."""
    places = await with_partials(rig)
    await rig.patch(places[2], whole_body(b"def"))
    await rig.put(places[0].session_id, whole_body(b"zz"), offset=0)
    return places


async def put_together(rig: Rig, places: Places) -> Place:
    return await concatenate(rig, *places)


async def put_together_the_file(rig: Rig, places: Places) -> Place:
    return await concatenate(rig, *places[1:], session_id=places[0].session_id, file_id="f1")


async def together_again(rig: Rig, places: Places) -> None:
    final = await put_together(rig, places)
    assert await finished(rig, final) == b"abcdef"
    assert (await rig.store.counts())["files"] == 3
    assert len(rig.blobs.incoming_blobs) == (2 if rig.settings.keep_partials else 0)


async def the_file_again(rig: Rig, places: Places) -> None:
    final = await put_together_the_file(rig, places)
    assert final == places[0]
    assert await finished(rig, final) == b"abcdef"
    assert len(rig.blobs.incoming_blobs) == 2


async def all_together_gone(rig: Rig, places: Places) -> None:
    """The file is taken away instead, wherever its making was cut."""
    with suppress(UploadCancelled, InvalidMessage):
        await terminate(rig, places)
    state = rig.file(places[0].session_id).row.state
    assert state in (State.CANCELLED, State.COMPLETED)
    assert rig.blobs.published_blobs == {}
    if state is State.CANCELLED:
        assert rig.gateway.statistics().reserved_bytes == 0


SCENARIOS = {
    "create": Scenario(nothing, create_whole, create_again),
    "create-empty": Scenario(nothing, create_empty, create_empty_again),
    "join": Scenario(half_sent, join, join_and_go_on),
    "verified": Scenario(upload, verified, go_on),
    "falsified": Scenario(upload, falsified, go_on),
    "late-length": Scenario(deferred, late_length, go_on),
    "in-two-parts": Scenario(upload, in_two_parts, go_on),
    "terminate": Scenario(with_bytes, terminate, all_gone),
    "terminate-writer": Scenario(with_bytes, terminate_writer, all_gone),
    "terminate-complete": Scenario(complete, terminate, all_gone),
    "terminate-with-partials": Scenario(with_partials, terminate, all_gone),
    "concatenate": Scenario(two_partials, put_together, together_again),
    "concatenate-drop": Scenario(two_partials, put_together, together_again, {"keep_partials": False}),
    "concatenate-onto": Scenario(partials_of_a_file, put_together_the_file, the_file_again),
    "concatenate-terminate": Scenario(partials_of_a_file, put_together_the_file, all_together_gone),
}
