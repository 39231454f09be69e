"""The requests during which a store fails, one function a kind: prepare, let the fault strike, ask.

Each is called with a scene whose file is registered and has no byte yet, or, after a restart, half of them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple

import trio

from penstock.server.settings import KIB
from tests.acceptance.api import SESSIONS, Answer
from tests.faults.scenes import Scene
from tests.faults.senders import DIALECTS, DRAFT, File, Request, ask, first_half
from tests.faults.store_world import BUFFER_BYTES
from tests.running import PATIENCE_S
from tests.server.edge.harness import until
from tests.server.http.forms import FORM, file, form
from tests.server.http.tus_client import TUS, metadata

Strike = Callable[[], None]


class Play(NamedTuple):
    """A request while the fault lasts, its answer, and what the same request is answered without a fault."""

    request: Request
    answer: Answer
    done: int


async def send(scene: Scene, sender: str, strike: Strike) -> Play:
    """All of the file in one request."""
    dialect = DIALECTS[sender]
    strike()
    request = dialect.request(scene.upload, 0)
    return Play(request, await ask(scene.world.api, request), dialect.done)


async def go_on(scene: Scene, sender: str, strike: Strike) -> Play:
    """The second half of a file whose first one is here."""
    await first_half(scene.world.api, scene.upload)
    return await rest(scene, sender, strike)


async def rest(scene: Scene, sender: str, strike: Strike) -> Play:
    """The second half, the first request after a restart that touches the file."""
    dialect = DIALECTS[sender]
    strike()
    request = dialect.request(scene.upload, scene.upload.told)
    return Play(request, await ask(scene.world.api, request), dialect.done)


async def pause(scene: Scene, sender: str, strike: Strike, answered: tuple[str, ...] = ("ack",)) -> Play:
    """A pause in the middle of the body: the command is acknowledged, and then the request is answered."""
    world, dialect = scene.world, DIALECTS[sender]
    request, before = dialect.request(scene.upload, 0), world.blobs.statistics.written_bytes
    headers = {**request.headers, "Content-Length": str(len(request.body))}
    async with world.api.exchange(request.method, request.path, headers) as exchange:
        await exchange.send(request.body[:-KIB])
        await until(lambda: world.blobs.statistics.written_bytes >= before + BUFFER_BYTES)
        strike()
        command = {"sessionId": scene.upload.session_id, "fileId": scene.upload.file_id}
        ack = await scene.watcher.send("upload-pause", command)
        assert ack["type"] in answered, ack
        with trio.fail_after(PATIENCE_S):
            return Play(request, await exchange.answer(), dialect.done)


async def refused_pause(scene: Scene, sender: str, strike: Strike) -> Play:
    """As `pause`, but the command fails."""
    return await pause(scene, sender, strike, answered=("error",))


async def any_pause(scene: Scene, sender: str, strike: Strike) -> Play:
    """As `pause`, whatever becomes of the command; the request is answered when its hold is over."""
    play = await pause(scene, sender, strike, answered=("ack", "error"))
    return play._replace(done=423)


_CANCELS: dict[str, Callable[[File], Request]] = {
    "DELETE": lambda upload: Request("DELETE", upload.url, {}, b""),
    "tus DELETE": lambda upload: Request("DELETE", upload.tus_url, TUS, b""),
    "draft DELETE": lambda upload: Request("DELETE", upload.tus_url, DRAFT, b""),
}


async def cancel(scene: Scene, sender: str, strike: Strike) -> Play:
    """A file with half of its bytes is cancelled."""
    await first_half(scene.world.api, scene.upload)
    strike()
    request = _CANCELS[sender](scene.upload)
    return Play(request, await ask(scene.world.api, request), 204)


async def download(scene: Scene, sender: str, strike: Strike) -> Play:
    """A finished file is asked for."""
    await scene.complete(DIALECTS["PUT"].request(scene.upload, 0), DIALECTS["PUT"])
    path = (await scene.upload.view())["uploadPath"]
    strike()
    request = Request(sender, path, {}, b"")
    return Play(request, await ask(scene.world.api, request), 200)


_LOOKS: dict[str, Callable[[File], Request]] = {
    "GET of the session": lambda upload: Request("GET", f"{SESSIONS}/{upload.session_id}", {}, b""),
    "polling": lambda upload: Request("GET", f"/api/upload/progress/{upload.session_id}", {}, b""),
}


async def look(scene: Scene, sender: str, strike: Strike) -> Play:
    """How things stand; the session is in memory."""
    strike()
    request = _LOOKS[sender](scene.upload)
    return Play(request, await ask(scene.world.api, request), 200)


CREATIONS: dict[str, Request] = {
    "POST of a session": Request("POST", SESSIONS, {}, b'{"files": [{"fileName": "n.bin", "fileSize": 5}]}'),
    "tus POST": Request("POST", "/files/", {**TUS, "Upload-Length": "5"}, b""),
    "draft POST": Request("POST", "/files/", {**DRAFT, "Upload-Complete": "?0", "Upload-Length": "5"}, b""),
    "form to /api/upload": Request("POST", "/api/upload", FORM, form(file("file", b"hello"))),
}


async def create(scene: Scene, sender: str, strike: Strike) -> Play:
    """Something new is begun."""
    strike()
    request = CREATIONS[sender]
    return Play(request, await ask(scene.world.api, request), 200 if request.path == "/api/upload" else 201)


async def concatenate(scene: Scene, sender: str, strike: Strike) -> Play:
    """A tus final is put together from two partials."""
    api, upload = scene.world.api, scene.upload
    cut = upload.content.size // 2
    urls = []
    for piece in (upload.bytes_from(0)[:cut], upload.bytes_from(cut)):
        made = await api.call(
            "POST",
            "/files/",
            body=piece,
            headers={
                **TUS,
                "Upload-Length": str(len(piece)),
                "Upload-Concat": "partial",
                "Content-Type": "application/offset+octet-stream",
            },
        )
        assert made.status == 201, made
        urls.append(made.headers["location"])
    strike()
    joins = metadata(sessionId=upload.session_id, fileId=upload.file_id)
    headers = {**TUS, "Upload-Concat": f"final;{' '.join(urls)}", "Upload-Metadata": joins}
    request = Request("POST", "/files/", headers, b"")
    return Play(request, await ask(api, request), 201)


REQUESTS: dict[str, Callable[[Scene, str, Strike], Awaitable[Play]]] = {
    "send": send,
    "go on": go_on,
    "rest": rest,
    "pause": pause,
    "refused pause": refused_pause,
    "any pause": any_pause,
    "cancel": cancel,
    "download": download,
    "look": look,
    "create": create,
    "concatenate": concatenate,
}
