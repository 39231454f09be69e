"""The application: which part of the server answers which request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from penstock.server.edge.asgi import ASGIApp, Receive, Scope, Send
from penstock.server.http.application import Application
from penstock.server.http.download import DownloadRoutes
from penstock.server.http.files import FileRoutes
from penstock.server.http.locations import Locations
from penstock.server.http.multipart import MultipartRoutes
from penstock.server.http.operations import OperationRoutes, Readiness, always_ready
from penstock.server.http.progress import ProgressRoutes
from penstock.server.http.resumable import ResumableRoutes
from penstock.server.http.rufh import DraftRoutes
from penstock.server.http.sessions import SessionRoutes
from penstock.server.http.tus import TusRoutes
from penstock.server.http.upload_front import UploadFront
from penstock.server.realtime.envelope_endpoint import EnvelopeEndpoint
from penstock.server.settings import Settings
from penstock.server.uploads.gateway import Gateway

POLICY_VIOLATION = 1008  # before the handshake is accepted any code means 403; this one says so best


def create_app(gateway: Gateway, settings: Settings, readiness: Readiness = always_ready) -> ASGIApp:
    """Everything Penstock speaks, as one ASGI application. `readiness` is asked by `/readyz`."""
    http = cast("ASGIApp", _http(gateway, settings, readiness))  # by hypercorn's typed dicts it is another
    return _Dispatcher(UploadFront(http), _websockets(gateway, settings))


def _http(gateway: Gateway, settings: Settings, readiness: Readiness) -> Application:
    app = Application()
    locations = Locations(settings)
    tus, draft = TusRoutes(gateway, settings, locations), DraftRoutes(gateway, settings, locations)
    forms = MultipartRoutes(gateway, settings)
    forms.mount(app)
    SessionRoutes(gateway, settings, forms).mount(app)
    FileRoutes(gateway).mount(app)
    ProgressRoutes(gateway).mount(app)
    DownloadRoutes(gateway).mount(app)
    ResumableRoutes(settings, tus=tus, draft=draft).mount(app)
    OperationRoutes(gateway, settings, readiness).mount(app)
    return app


def _websockets(gateway: Gateway, settings: Settings) -> dict[str, ASGIApp]:
    """By path."""
    return {"/api/v1/ws": EnvelopeEndpoint(gateway, settings)}


class _Dispatcher:
    def __init__(self, http: ASGIApp, websockets: Mapping[str, ASGIApp]) -> None:
        self._http = http
        self._websockets = websockets

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "websocket":
            await self._http(scope, receive, send)
        elif endpoint := self._websockets.get(scope["path"]):
            await endpoint(scope, receive, send)
        else:
            await _refuse_websocket(scope, receive, send)


async def _refuse_websocket(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()  # websocket.connect
    if "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close", "code": POLICY_VIOLATION})
        return
    text = b"there is no WebSocket at this address"
    headers = [(b"content-type", b"text/plain"), (b"content-length", str(len(text)).encode("ascii"))]
    await send({"type": "websocket.http.response.start", "status": 404, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": text})
