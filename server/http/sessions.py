"""Sessions over REST: make one, register files, look at it, command it, cancel it."""

from __future__ import annotations

from penstock.protocol.commands import Command, CreateSession, RegisterFiles, UploadCancel, parse_command
from penstock.protocol.errors import InsufficientPermissions, InvalidMessage
from penstock.protocol.multipart_form import is_form
from penstock.protocol.snapshot import parse_cursor
from penstock.server.http.answers import Response, empty_answer, json_answer
from penstock.server.http.application import Application, Request
from penstock.server.http.multipart import MultipartRoutes
from penstock.server.http.requests import actor_of, read_json, read_struct
from penstock.server.settings import Settings
from penstock.server.uploads.gateway import FIRST_PAGE, Gateway

SESSIONS = "/api/upload/sessions"


class SessionRoutes:
    """`sid` is a session id, or, where something is only looked at, a watch key."""

    def __init__(self, gateway: Gateway, settings: Settings, forms: MultipartRoutes) -> None:
        self._gateway = gateway
        self._settings = settings
        self._forms = forms

    def mount(self, app: Application) -> None:
        app.add("POST", SESSIONS, self.create)
        app.add("GET", SESSIONS, self.list_mine)
        app.add("GET", f"{SESSIONS}/<sid>", self.show)
        app.add("DELETE", f"{SESSIONS}/<sid>", self.cancel)
        app.add("POST", f"{SESSIONS}/<sid>/files", self.register)
        app.add("POST", f"{SESSIONS}/<sid>/complete", self.complete)
        app.add("POST", f"{SESSIONS}/<sid>/commands", self.command)

    async def create(self, request: Request) -> Response:
        wanted, key = await read_struct(request, self._settings, CreateSession)
        created = await self._gateway.create_session(actor_of(request), wanted, key)
        return json_answer(created, 201, {"Location": f"{SESSIONS}/{created['sessionId']}"})

    async def list_mine(self, request: Request) -> Response:
        raise InsufficientPermissions(
            "sessions are listed to those who log in; here the session id is the key: keep it"
        )

    async def show(self, request: Request, sid: str) -> Response:
        cursor = request.args.get("cursor")
        page = parse_cursor(cursor) if cursor else FIRST_PAGE
        return json_answer(await self._gateway.snapshot(actor_of(request), sid, page))

    async def register(self, request: Request, sid: str) -> Response:
        """By a list in JSON; a form brings the files themselves."""
        if is_form(request.headers.get("Content-Type", "")):
            return await self._forms.add_files(request, sid)
        wanted, key = await read_struct(request, self._settings, RegisterFiles)
        created = await self._gateway.register(actor_of(request), sid, wanted.files, key)
        return json_answer(created, 201, {"Location": f"{SESSIONS}/{created['sessionId']}"})

    async def complete(self, request: Request, sid: str) -> Response:
        return json_answer(await self._gateway.complete_registration(actor_of(request), sid))

    async def command(self, request: Request, sid: str) -> Response:
        command = _command(await read_json(request, self._settings), sid)
        return json_answer({"ok": True, **await self._gateway.command(actor_of(request), command)})

    async def cancel(self, request: Request, sid: str) -> Response:
        await self._gateway.command(actor_of(request), UploadCancel(session_id=sid))
        return empty_answer()


def _command(body: object, sid: str) -> Command:
    """`{type, …}` about the session in the path. Raises: InvalidMessage."""
    if not isinstance(body, dict):
        raise InvalidMessage("body: a JSON object is expected")
    fields = {"sessionId": sid, **body}
    name = fields.pop("type", None)
    if not isinstance(name, str):
        raise InvalidMessage("type: the name of a command is expected, such as upload-pause")
    if fields["sessionId"] != sid:
        raise InvalidMessage("sessionId: is not the one in the address; leave it out")
    return parse_command(name, fields)
