"""For operators and for clients that want to know before they try: alive, ready, limits, the front page."""

from __future__ import annotations

from typing import Protocol

from penstock.server.http.answers import Response, json_answer
from penstock.server.http.application import Application, Request
from penstock.server.http.requests import language_of
from penstock.server.settings import Settings
from penstock.server.uploads.gateway import Gateway
from penstock.server.web.status_page import CONTENT_SECURITY_POLICY, status_page

LIMITS = (
    "categories",
    "allowed_formats",
    "max_file_bytes",
    "max_concat_copy_bytes",
    "max_session_files",
    "max_metadata_bytes",
    "max_message_bytes",
    "max_unsent_bytes",
    "max_json_bytes",
    "messages_per_s",
    "messages_burst",
    "max_appends",
    "max_connections_per_address",
    "max_connections",
    "max_retries",
    "pause_hold_s",
    "cancel_grace_s",
    "body_idle_timeout_s",
    "session_timeout_s",
    "retry_wait_s",
    "retention_s",
    "ended_retention_s",
    "finished_retention_s",
    "keep_partials",
    "terminate_finished",
    "idempotency_s",
)
"""The settings a client can run into."""

FSYNC = {
    "append": "every announced offset survives a power cut",
    "complete": "finished files survive a power cut; unfinished uploads begin anew after one",
    "never": "a power cut may damage even finished files",
}


class Readiness(Protocol):
    """What keeps the server from taking uploads, besides draining."""

    def __call__(self) -> dict[str, str]:
        """`{what: why}`, such as `{"disk": "an operation has been running for 31 s"}`; empty when ready.

        Cheap, and never waits."""


def always_ready() -> dict[str, str]:
    return {}


class OperationRoutes:
    def __init__(self, gateway: Gateway, settings: Settings, readiness: Readiness) -> None:
        self._gateway = gateway
        self._settings = settings
        self._readiness = readiness

    def mount(self, app: Application) -> None:
        app.add("GET", "/", self.front_page)
        app.add("GET", "/healthz", self.health)
        app.add("GET", "/readyz", self.ready)
        app.add("GET", "/api/upload/limits", self.limits)

    async def health(self, request: Request) -> Response:
        return json_answer({"status": "alive"})

    async def ready(self, request: Request) -> Response:
        draining = self._gateway.draining.is_set()
        reasons = {**self._readiness(), **({"draining": "the server is shutting down"} if draining else {})}
        fsync = self._settings.fsync
        body = {
            "status": "not ready" if reasons else "ready",
            "reasons": reasons,
            "draining": draining,
            "fsync": f"{fsync}: {FSYNC[fsync]}",
        }
        return json_answer(body, 503 if reasons else 200)

    async def limits(self, request: Request) -> Response:
        return json_answer({_camel(name): getattr(self._settings, name) for name in LIMITS})

    async def front_page(self, request: Request) -> Response:
        url = self._settings.public_url.rstrip("/") or f"{request.scheme}://{request.host}"
        headers = {
            "Content-Security-Policy": CONTENT_SECURITY_POLICY,
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Cache-Control": "no-cache",
            "Vary": "Accept-Language",
        }
        return Response(status_page(url, language_of(request)), 200, headers, mimetype="text/html")


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(word.capitalize() for word in others)
