"""Errors become answers in one place; bodies are pulled; what a handler held is given back."""

from __future__ import annotations

import pytest
import trio

from penstock.protocol.errors import FileNotFound, UploadLocked
from penstock.server.http.answers import Response, json_answer
from penstock.server.http.application import Application, Request
from tests.server.edge.harness import connected, serving, until
from tests.server.http.clients import Answer, Conversation, rendered


async def asked(app: Application, path: str = "/x", method: str = "GET") -> Answer:
    conversation = Conversation(app, method, path)  # type: ignore[arg-type]  # hypercorn's typed dicts
    await conversation.run()
    return conversation.answer


def raising(error: BaseException) -> Application:
    async def view(request: Request) -> Response:
        raise error

    app = Application()
    app.add("GET", "/x", view)
    return app


async def test_a_known_error() -> None:
    answer = await asked(raising(UploadLocked("busy", details={"offset": 3}, headers={"Upload-Offset": "3"})))
    assert answer.code == (423, "UPLOAD_LOCKED")
    assert (answer.headers["upload-offset"], answer.json["details"]) == ("3", {"offset": 3})


@pytest.mark.parametrize(
    "error", [KeyError("secret"), ExceptionGroup("", [KeyError("secret"), OSError("secret")])]
)
async def test_an_unknown_error_is_logged_and_not_told(
    error: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = await asked(raising(error))
    assert answer.code == (500, "SERVER_ERROR")
    assert b"secret" not in answer.body
    assert "secret" in capsys.readouterr().out


async def test_of_a_group_every_leaf_is_logged_and_the_known_one_answers(
    capsys: pytest.CaptureFixture[str],
) -> None:
    inner = ExceptionGroup("", [FileNotFound("gone"), KeyError("another")])
    answer = await asked(raising(ExceptionGroup("", [ValueError("first"), inner])))
    assert answer.code == (404, "FILE_NOT_FOUND")
    logged = capsys.readouterr().out
    assert "first" in logged
    assert "another" in logged


async def test_a_single_known_error_in_a_group_is_no_fault(capsys: pytest.CaptureFixture[str]) -> None:
    assert (await asked(raising(ExceptionGroup("", [FileNotFound("gone")])))).code == (404, "FILE_NOT_FOUND")
    assert capsys.readouterr().out == ""


async def test_quarts_own_body_is_out_of_bounds() -> None:
    async def view(request: Request) -> Response:
        with pytest.raises(RuntimeError, match="pulled"):
            await request.body
        return json_answer({})

    app = Application()
    app.add("POST", "/x", view)
    assert (await asked(app, method="POST")).status == 200


@pytest.mark.parametrize("ending", ["answers", "fails", "is left"])
async def test_resources_are_given_back(ending: str, autojump_clock: trio.abc.Clock) -> None:
    closed: list[str] = []

    async def close() -> None:
        await trio.sleep(0.1)  # also in a cancelled scope
        closed.append(ending)

    async def view(request: Request) -> Response:
        request.resources.push_async_callback(close)
        if ending == "fails":
            raise KeyError
        if ending == "is left":
            await trio.sleep_forever()
        return json_answer({})

    app = Application()
    app.add("GET", "/x", view)
    conversation = Conversation(app, "GET", "/x")  # type: ignore[arg-type]  # hypercorn's typed dicts
    async with trio.open_nursery() as nursery:
        nursery.start_soon(conversation.run)
        await trio.sleep(1)
        conversation.leave()
    assert closed == [ending]
    assert conversation.answered is (ending != "is left")


@pytest.mark.parametrize("fast_path", [True, False])
async def test_a_handler_that_has_its_body_is_cancelled_when_the_peer_goes(fast_path: bool) -> None:
    ended: list[str] = []
    started = trio.Event()

    async def view(request: Request) -> Response:
        body = request.incoming.body()
        await body.wait_readable()
        buffer = memoryview(bytearray(1 << 20))
        while body.receive_nowait(buffer[:3]):
            await body.wait_readable()
        started.set()
        try:
            await trio.sleep_forever()
        finally:
            ended.append("cancelled")
        raise AssertionError("slept")

    app = Application()
    app.add("POST", "/x", view)
    async with serving(app, fast_path=fast_path) as edge:  # type: ignore[arg-type]  # as above
        async with connected(edge) as raw:
            await raw.send(b"".join(rendered("POST", "/x", b"abcd")))
            await started.wait()
        await until(lambda: ended)


async def test_what_nobody_takes_is_not_read() -> None:
    """Quart on its own would take all of it into memory."""
    done = trio.Event()

    async def view(request: Request) -> Response:
        await done.wait()
        return json_answer({})

    app = Application()
    app.add("POST", "/x", view)
    async with serving(app) as edge:  # type: ignore[arg-type]  # as above
        async with connected(edge) as raw:
            await raw.send(b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 1073741824\r\n\r\n")
            with trio.move_on_after(0.3):  # to push as much as anybody takes
                while True:
                    await raw.send(bytes(1 << 20))
            assert edge.statistics()["bytes_read"] < 2 << 20
            done.set()
            assert (await raw.answer())[0] == 200
