"""The application: which part of the server answers which request."""

from __future__ import annotations

from collections.abc import Mapping

from penstock.server.edge.asgi import ASGIApp, Receive, Scope, Send
from penstock.server.http.application import Application
from penstock.server.http.download import DownloadRoutes
from penstock.server.http.files import FileRoutes
from penstock.server.http.multipart import MultipartRoutes
from penstock.server.http.operations import OperationRoutes, Readiness, always_ready
from penstock.server.http.progress import ProgressRoutes
from penstock.server.http.sessions import SessionRoutes
from penstock.server.realtime.envelope_endpoint import EnvelopeEndpoint
from penstock.server.settings import Settings
from penstock.server.uploads.gateway import Gateway

POLICY_VIOLATION = 1008  # before the handshake is accepted any code means 403; this one says so best


def create_app(gateway: Gateway, settings: Settings, readiness: Readiness = always_ready) -> ASGIApp:
    """Everything Penstock speaks, as one ASGI application. `readiness` is asked by `/readyz`."""
    return _Dispatcher(_http(gateway, settings, readiness), _websockets(gateway, settings))


def _http(gateway: Gateway, settings: Settings, readiness: Readiness) -> Application:
    app = Application()
    forms = MultipartRoutes(gateway, settings)
    forms.mount(app)
    SessionRoutes(gateway, settings, forms).mount(app)
    FileRoutes(gateway).mount(app)
    ProgressRoutes(gateway).mount(app)
    DownloadRoutes(gateway).mount(app)
    OperationRoutes(gateway, settings, readiness).mount(app)
    return app


def _websockets(gateway: Gateway, settings: Settings) -> dict[str, ASGIApp]:
    """By path."""
    return {"/api/v1/ws": EnvelopeEndpoint(gateway, settings)}


class _Dispatcher:
    def __init__(self, http: Application, websockets: Mapping[str, ASGIApp]) -> None:
        self._http = http
        self._websockets = websockets

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "websocket":
            await self._http(scope, receive, send)  # type: ignore[arg-type]  # hypercorn's typed dicts
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
