"""What a client says while it connects: URL parameters, subprotocols, its language."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import parse_qs

from penstock.protocol.decoding import convert
from penstock.protocol.envelope import Connect
from penstock.protocol.errors import GatewayError, InvalidMessage
from penstock.protocol.messages import choose_language
from penstock.server.edge.asgi import Headers, Scope

SUBPROTOCOL = "penstock"
MAX_PARAMETERS = 20


class Hello(NamedTuple):
    """`refusal`: why the connection is closed right after it was accepted (a browser shows no more than a
    close code for one that was not)."""

    client_id: str
    language: str
    subprotocol: str | None
    refusal: GatewayError | None


def read_hello(scope: Scope) -> Hello:
    """Never raises. A token as subprotocol `bearer.<token>` is never echoed: `penstock` is selected, if it
    was offered beside it, and nothing otherwise (to browsers that is a failed connection)."""
    query, refusal = _query(scope)
    client_id: str | None = None
    try:
        fields = {name: query[name] for name in ("token", "clientId", "protocol") if name in query}
        client_id = convert(fields, Connect, "query").client_id
    except GatewayError as error:
        refusal = refusal or error
    return Hello(
        client_id=client_id or f"c_{secrets.token_hex(8)}",
        language=asked_language(query, scope["headers"]),
        subprotocol=SUBPROTOCOL if SUBPROTOCOL in scope.get("subprotocols", ()) else None,
        refusal=refusal,
    )


def asked_language(query: Mapping[str, str], headers: Headers) -> str:
    """From `lang`, else from `Accept-Language`."""
    accepted = next((value for name, value in headers if name == b"accept-language"), b"")
    return choose_language(query.get("lang") or accepted.decode("latin-1"))


def _query(scope: Scope) -> tuple[dict[str, str], GatewayError | None]:
    text = scope["query_string"].decode("latin-1")
    try:
        parsed = parse_qs(text, keep_blank_values=True, max_num_fields=MAX_PARAMETERS)
    except ValueError:
        return {}, InvalidMessage(f"query: at most {MAX_PARAMETERS} parameters are understood")
    return {name: values[-1] for name, values in parsed.items()}, None
