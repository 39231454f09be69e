"""Socket.IO on one path: an Engine.IO server whose sessions are clients with namespaces."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from penstock.protocol.engineio.handshake import Timing
from penstock.server.edge.addresses import SharedAddresses
from penstock.server.realtime.engineio.server import EngineServer
from penstock.server.realtime.engineio.session import Limits, MakeApplication
from penstock.server.realtime.socketio.client import Client, Rate, Rules
from penstock.server.realtime.socketio.namespace import Namespace
from penstock.server.settings import Settings


def socket_server(
    namespaces: Sequence[Namespace], settings: Settings, *, limited: bool = True
) -> EngineServer:
    """`limited`: events beyond the rate of the settings are refused."""
    rules = Rules(
        connect_timeout_s=settings.connect_timeout_s,
        max_waiting=settings.messages_burst,  # as many as may come at once
        rate=Rate(settings.messages_per_s, settings.messages_burst) if limited else None,
    )
    by_name = {namespace.name: namespace for namespace in namespaces}
    return engine_server(partial(Client, by_name, rules), settings)


def engine_server(make: MakeApplication, settings: Settings) -> EngineServer:
    """Engine.IO with the limits of the settings."""
    limits = Limits(
        timing=Timing(settings.ping_interval_s, settings.ping_timeout_s),
        max_message_bytes=settings.max_message_bytes,
        max_buffered_bytes=settings.max_unsent_bytes,
        upgrade_timeout_s=settings.upgrade_timeout_s,
        linger_s=settings.linger_s,
    )
    return EngineServer(
        make,
        limits,
        max_sessions=settings.max_connections,
        max_per_address=settings.max_connections_per_address,
        is_shared=SharedAddresses(settings),
    )
