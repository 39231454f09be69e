"""The application: everything that is mounted, over one gateway."""

from __future__ import annotations

from typing import cast

from penstock.server.edge.asgi import ASGIApp
from penstock.server.endpoints import App
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
from penstock.server.realtime.socketio.server import socket_server
from penstock.server.realtime.upload_namespace import UploadNamespace
from penstock.server.settings import Settings
from penstock.server.uploads.gateway import Gateway


def create_app(gateway: Gateway, settings: Settings, readiness: Readiness = always_ready) -> App:
    """Everything Penstock speaks, as one ASGI application. `readiness` is asked by `/readyz`."""
    http = cast("ASGIApp", _http(gateway, settings, readiness))  # by hypercorn's typed dicts it is another
    return App(
        UploadFront(http),
        {"/socket.io/": socket_server([UploadNamespace(gateway, settings)], settings)},
        {"/api/v1/ws": EnvelopeEndpoint(gateway, settings)},
    )


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
