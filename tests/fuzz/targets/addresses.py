"""Where a request goes and comes from: proxies' fields, URLs of uploads, Host and Origin, hello, cursors."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from penstock.protocol.errors import GatewayError, InvalidMessage
from penstock.protocol.forwarded import parse_forwarded, seen_by_client
from penstock.protocol.names import is_file_id
from penstock.protocol.snapshot import parse_cursor
from penstock.protocol.tus import is_final, parts_of
from penstock.protocol.upload_resources import is_upload_id, upload_id_in
from penstock.server.edge.asgi import Message, Receive, Scope, Send
from penstock.server.edge.guard import guarded
from penstock.server.realtime.hello import SUBPROTOCOL, read_hello
from penstock.server.settings import Settings
from tests.fuzz.promises import HEADER_VALUE, header_fields, header_text, refused
from tests.fuzz.target import Target

OURS = "up.example"
_HOST = re.compile(r"[a-z0-9._:\[\]-]+")
_OURS = re.compile(
    rf"({re.escape(OURS)}|localhost|(::ffff:)?127\.0\.0\.1|::1|\[(::ffff:)?127\.0\.0\.1\]|\[::1\])\.*(:[0-9]*)?",
    re.IGNORECASE,
)
_ORIGIN = re.compile(r"https?://", re.IGNORECASE)
_UPLOAD = b"/files/0123456789abcdef0123456789abcdef"


def _forwarded(data: bytes) -> str:
    front = seen_by_client(header_fields(data), lambda address: address.startswith("10."))
    assert front.scheme in (None, "http", "https")
    assert front.host is None or _HOST.fullmatch(front.host)
    assert not re.search(r"[^A-Za-z0-9._~/-]|//|/\.", front.prefix), "a prefix is plain segments"
    assert front.prefix == "" or (front.prefix[0] == "/" and front.prefix[-1] != "/")
    if front.host is not None and "[" not in front.host:
        parts = urlsplit(f"http://{front.host}{front.prefix}/files")
        assert (parts.netloc, parts.path) == (front.host, f"{front.prefix}/files")
    elements = parse_forwarded(header_text(data))
    assert sum(len(element) for element in elements) <= len(data)
    return f"{front.scheme} {front.host is None} {bool(front.prefix)} {min(len(elements), 3)}"


def _upload_url(data: bytes) -> str:
    url = header_text(data)
    asked: list[str] = []

    def answers_for(authority: str) -> bool:
        asked.append(authority)
        return authority == OURS

    found = upload_id_in(url, answers_for)
    try:
        parts = parts_of(url, OURS.__eq__)
    except InvalidMessage as error:
        answer = refused(error)
    else:
        answer = f"{min(len(parts), 3)} of {is_final(url)}"
        assert all(is_upload_id(part) and part in url for part in parts)
    if found is not None:
        assert is_upload_id(found)
        assert found in url, "an id must be in the URL as it is, not made out of its escapes"
        assert asked in ([], [OURS]), "another server's URL was taken for one of ours"
    return f"{found is None} {answer}"


def _guard(data: bytes) -> str:
    """The application only ever sees a Host that is ours, and changes only from an Origin that is."""
    fields = header_fields(data)
    host, origin = fields.all("Host"), fields.all("Origin")
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/",
        "scheme": "http",
        "server": ("127.0.0.1", 8005),
        "headers": [(b"host", value.encode("latin-1")) for value in host[:1]]
        + [(b"origin", value.encode("latin-1")) for value in origin[:1]],
    }
    let_in, sent = _behind_guard(scope)
    if let_in:
        assert _OURS.fullmatch(host[0]), "another name was let in"
        assert not origin or _ORIGIN.match(origin[0]), "another page was let in"
    for message in sent:
        for name, value in message.get("headers", []):
            assert HEADER_VALUE.fullmatch(value.decode("latin-1")), name
    return f"{let_in} {len(sent)}"


def _behind_guard(scope: Scope) -> tuple[bool, list[Message]]:
    reached, sent = [], list[Message]()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        reached.append(scope)

    async def receive() -> Message:
        raise AssertionError("the guard reads nothing")

    async def send(message: Message) -> None:
        sent.append(message)

    # Nothing in it waits: one step runs it to its end, without an event loop.
    settings = Settings(allowed_hosts=(OURS,), allowed_origins=("https://page.example",))
    running = guarded(app, settings)(scope, receive, send).__await__()
    assert next(running, None) is None
    return bool(reached), sent


def _hello(data: bytes) -> str:
    query, _, language = data.partition(b"\n")
    headers = [(b"accept-language", language)]
    hello = read_hello({"query_string": query, "headers": headers, "subprotocols": [SUBPROTOCOL]})
    assert is_file_id(hello.client_id)
    assert hello.subprotocol == SUBPROTOCOL
    return f"{hello.language} {refused(hello.refusal) if hello.refusal else ''}"


def _cursor(data: bytes) -> str:
    try:
        cursor = parse_cursor(data.decode(errors="surrogateescape"))
    except GatewayError as error:
        return refused(error)
    assert 0 <= cursor.after < 10**11
    assert parse_cursor(str(cursor)) == cursor
    return f"{cursor.ended}"


TARGETS = (
    Target(
        "forwarded",
        "what proxies say makes a base of http or https, a host and plain path segments, and nothing else",
        (seen_by_client, parse_forwarded),
        (
            b"Forwarded: for=10.0.0.1;proto=https;host=up.example",
            b'Forwarded: for="[2001:db8::1]:80", for=10.0.0.2;host="a.b:8443"',
            b"X-Forwarded-Proto: https\nX-Forwarded-Host: up.example\nX-Forwarded-Prefix: /a/b/",
            b'for="\\"x";By=unknown;proto=http, for=_gazonk',
        ),
        _forwarded,
        (
            b"for=",
            b"proto=",
            b"host=",
            b'="',
            b";",
            b",",
            b"10.0.0.1",
            b"/..",
            b"//",
            b"X-Forwarded-Prefix: /",
        ),
        (b"Forwarded: " + b";" * 50000, b"X-Forwarded-Prefix: " + b"/a" * 50000),
    ),
    Target(
        "upload-url",
        "of a URL nothing is taken but the id that stands in it, and those only if the URL is ours",
        (upload_id_in, is_upload_id, parts_of, is_final),
        (
            _UPLOAD,
            b"https://up.example" + _UPLOAD,
            b"final;" + _UPLOAD + b" http://up.example/base" + _UPLOAD,
            b"0123456789abcdef0123456789abcdef",
            b"//other.example" + _UPLOAD,
        ),
        _upload_url,
        (
            b"final;",
            b" ",
            b"//",
            b"/files/",
            b"@",
            b":80",
            b"http://",
            b"?",
            b"#",
            b"[",
            b"]",
            b"%2e%2e/",
            b";",
        ),
        (b"/a" * 50000, b"../" * 30000, b"final;" + (_UPLOAD + b" ") * 3000),
    ),
    Target(
        "host-and-origin",
        "no Host but ours reaches the application, and no answer's header ends early, whatever Origin says",
        (guarded,),
        (
            b"Host: localhost:8005",
            b"Host: up.example\nOrigin: https://page.example",
            b"Host: [::1]:80\nOrigin: http://evil.example",
            b"Host: 127.0.0.1\nOrigin: null",
        ),
        _guard,
        (b"localhost", b"127.0.0.1", b"::ffff:", b"[", b"]", b"@", b":", b"/", b".", b"https://page.example"),
    ),
    Target(
        "hello",
        "a WebSocket's URL is a client id of plain characters and a language, with or without a refusal",
        (read_hello,),
        (b"", b"clientId=c-1&lang=zh", b"protocol=2.0&token=x\nzh-CN", b"clientId=%2f..&token=a&token=b"),
        _hello,
        (b"&", b"=", b"clientId=", b"protocol=", b"lang=", b"%ff", b"+", b";"),
        (b"&" * 10**6, b"token=" + b"%ff" * 30000),
    ),
    Target(
        "cursor",
        "a cursor is a place in the list that it also spells, or InvalidMessage",
        (parse_cursor,),
        (b"u0", b"e17", b"u0012345678", b"x1"),
        _cursor,
        (b"u", b"e", b"\xc2\xb2"),
        (b"u" + b"9" * 10**6,),
    ),
)
