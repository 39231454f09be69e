"""The edge: listening sockets, one task per connection, and what ends them.

Listeners and connections live in two nurseries, so that the server can stop accepting while work finishes.
hypercorn gives the sockets and the TLS context; its own connection handling is not used.
"""

from __future__ import annotations

import resource
import socket
import ssl
from collections import Counter
from contextlib import suppress
from typing import TypedDict

import structlog
import trio
from hypercorn.config import Config

from penstock.server.edge.addresses import SharedAddresses
from penstock.server.edge.answers import problem_answer, standard_headers
from penstock.server.edge.asgi import Address, ASGIApp, ConnectionInfo
from penstock.server.edge.http1 import serve_http1
from penstock.server.edge.http2 import serve_http2
from penstock.server.edge.transport import Traffic, Transport
from penstock.server.peer import PeerGone
from penstock.server.settings import Settings

BACKLOG = 1024  # after a restart every client comes back at once
MAX_REFUSALS = 64  # connections over the limit that are answered at the same time; more are just closed

Stream = trio.SocketStream | trio.SSLStream[trio.SocketStream]

log = structlog.get_logger()


class EdgeStatistics(TypedDict):
    """What `Edge.statistics` counts: open connections by kind, ended ones by reason, bytes on the wire."""

    connections: int
    by_kind: dict[str, int]
    accepted: int
    ended: dict[str, int]
    bytes_read: int
    bytes_written: int


class Edge:
    """Accepts connections and runs each in its own scope: whatever happens in one ends that one only."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.addresses: list[Address] = []
        self._app = app
        self._settings = settings
        self._traffic = Traffic()
        self._open: dict[ConnectionInfo, trio.CancelScope] = {}
        self._refusing = 0
        self._is_shared = SharedAddresses(settings)
        self._per_address: Counter[str] = Counter()
        self._ended: Counter[str] = Counter()
        self._accepted = 0
        self._one_ended = trio.Event()
        self._accepting = trio.CancelScope()

    async def serve(self, *, task_status: trio.TaskStatus[list[str]] = trio.TASK_STATUS_IGNORED) -> None:
        """Bind, report the URLs with `started`, and serve until cancelled.

        Raises: `OSError` when the address cannot be bound; `ssl.SSLError` for a bad certificate.
        """
        _raise_descriptor_limit()
        config = _hypercorn_config(self._settings)
        self._tls = config.create_ssl_context()
        listeners = _listeners(config, self._settings)
        self.addresses = [listener.socket.getsockname()[:2] for listener in listeners]
        async with trio.open_nursery() as connections:
            task_status.started([self._url(address) for address in self.addresses])
            with self._accepting:
                await trio.serve_listeners(self._connection, listeners, handler_nursery=connections)
            await trio.sleep_forever()

    def stop_accepting(self) -> None:
        """Close the listening sockets; open connections go on."""
        self._accepting.cancel(reason="stop accepting")

    async def close_connections(self, *, batch: int = 100, pause_s: float = 0.05) -> None:
        """End every connection, `batch` at a time so that clients do not all reconnect at once.

        WebSockets get 1001. Returns when all have ended; the caller bounds it.
        """
        everyone = list(self._open.values())
        for start in range(0, len(everyone), batch):
            for scope in everyone[start : start + batch]:
                scope.cancel(reason="draining")
            await trio.sleep(pause_s)
        while self._open:
            await self._one_ended.wait()

    def statistics(self) -> EdgeStatistics:
        """A snapshot of the counters; cheap."""
        return {
            "connections": len(self._open),
            "by_kind": dict(Counter(connection.kind for connection in self._open)),
            "accepted": self._accepted,
            "ended": dict(self._ended),
            "bytes_read": self._traffic.bytes_read,
            "bytes_written": self._traffic.bytes_written,
        }

    async def _connection(self, stream: trio.SocketStream) -> None:
        """One connection from accept to its one log line. Lets no exception out."""
        try:
            connection = self._describe(stream)
        except OSError:
            return  # the peer was gone before we looked
        self._accepted += 1
        self._per_address[connection.client[0]] += 1
        over = self._over_limit(connection)
        self._open[connection] = scope = trio.CancelScope()
        try:
            with scope:
                await (self._refuse if over else self._drive)(connection, stream)
            if scope.cancelled_caught:
                connection.reason = "drained"
        except* Exception as errors:  # out of a group with Cancelled too: an outer cancellation goes on
            connection.reason = "edge error"
            log.error("connection-failed", client=connection.client[0], exc_info=errors)
        finally:
            self._forget(connection)

    def _describe(self, stream: trio.SocketStream) -> ConnectionInfo:
        client: Address = stream.socket.getpeername()[:2]
        server: Address = stream.socket.getsockname()[:2]
        return ConnectionInfo("https" if self._tls else "http", client, server)

    async def _drive(self, connection: ConnectionInfo, stream: trio.SocketStream) -> None:
        secure = await self._handshake(connection, stream)
        if secure is None:
            return
        transport = Transport(secure, self._settings, self._traffic)
        if isinstance(secure, trio.SSLStream) and secure.selected_alpn_protocol() == "h2":
            connection.kind = "http/2"
            await serve_http2(connection, transport, self._app, self._settings)
        else:
            await serve_http1(connection, transport, self._app, self._settings)

    async def _handshake(self, connection: ConnectionInfo, stream: trio.SocketStream) -> Stream | None:
        if self._tls is None:
            return stream
        secure = trio.SSLStream(stream, self._tls, server_side=True, https_compatible=True)
        with trio.move_on_after(self._settings.head_timeout_s):
            with suppress(trio.BrokenResourceError):
                await secure.do_handshake()
                return secure
        connection.reason = "TLS handshake"
        return None

    def _over_limit(self, connection: ConnectionInfo) -> bool:
        if len(self._open) - self._refusing >= self._settings.max_connections:
            return True
        host = connection.client[0]
        if self._per_address[host] <= self._settings.max_connections_per_address:
            return False
        return not self._is_shared(host)

    async def _refuse(self, connection: ConnectionInfo, stream: trio.SocketStream) -> None:
        connection.kind, connection.reason = "refused", "connection limit"
        if self._tls or self._refusing >= MAX_REFUSALS:
            return
        transport = Transport(stream, self._settings, self._traffic)
        self._refusing += 1
        try:
            await transport.send_all(_busy())
            await transport.linger_close()
        except PeerGone:
            pass
        finally:
            self._refusing -= 1

    def _forget(self, connection: ConnectionInfo) -> None:
        del self._open[connection]
        host = connection.client[0]
        self._per_address[host] -= 1
        if not self._per_address[host]:
            del self._per_address[host]
        self._ended[connection.reason] += 1
        self._one_ended.set()
        self._one_ended = trio.Event()
        log.info(
            "connection-ended",
            client=host,
            kind=connection.kind,
            reason=connection.reason,
            requests=connection.requests,
        )

    def _url(self, address: Address) -> str:
        host = f"[{address[0]}]" if ":" in address[0] else address[0]
        return f"{'https' if self._tls else 'http'}://{host}:{address[1]}"

    _tls: ssl.SSLContext | None = None


def _hypercorn_config(settings: Settings) -> Config:
    config = Config()
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    config.bind = [f"{host}:{settings.port}"]
    if settings.tls_certificate and settings.tls_key:
        config.certfile = str(settings.tls_certificate)
        config.keyfile = str(settings.tls_key)
    return config


def _listeners(config: Config, settings: Settings) -> list[trio.SocketListener]:
    created = config.create_sockets()
    listeners = []
    for sock in [*created.secure_sockets, *created.insecure_sockets]:
        sock.set_inheritable(False)  # hypercorn's workers need it, our child processes must not hold the port
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            # A second net under the write deadline; accepted sockets inherit it. Milliseconds.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(settings.send_timeout_s * 1000))
        sock.listen(BACKLOG)
        listeners.append(trio.SocketListener(trio.socket.from_stdlib_socket(sock)))
    return listeners


def _raise_descriptor_limit() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with suppress(ValueError, OSError):  # some systems report a hard limit they do not grant
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _busy() -> bytes:
    headers, body = problem_answer(503, "too many connections; settings max_connections(_per_address)")
    lines = [*standard_headers(), *headers, (b"retry-after", b"5"), (b"connection", b"close")]
    head = b"".join(name + b": " + value + b"\r\n" for name, value in lines)
    return b"HTTP/1.1 503 Service Unavailable\r\n" + head + b"\r\n" + body
