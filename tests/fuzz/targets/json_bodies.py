"""JSON from clients: bodies of the REST interface, commands, the WebSocket's envelope."""

from __future__ import annotations

from typing import Any

import msgspec

from penstock.protocol.commands import COMMANDS, CreateSession, RegisterFiles, parse_command
from penstock.protocol.decoding import convert, decode, parse_json, to_builtins
from penstock.protocol.envelope import Subscribe, Unsubscribe, parse_message, parse_request, parse_topic
from penstock.protocol.errors import GatewayError
from tests.fuzz.promises import refused
from tests.fuzz.target import Target

SID = b"3f2504e0-4f89-41d3-9a0c-0305e82c3301"


def _json(data: bytes) -> str:
    try:
        value = parse_json(data)
    except GatewayError as error:
        return refused(error)
    again = msgspec.json.encode(value, order="sorted")  # what an Idempotency-Key's fingerprint is made of
    assert msgspec.json.encode(parse_json(again), order="sorted") == again
    assert len(again) <= 30 * len(data) + 30, "a value is no larger than its text"
    return type(value).__name__


def _bodies(data: bytes) -> str:
    return f"{_body(data, CreateSession)} | {_body(data, RegisterFiles)}"


def _body(data: bytes, wanted: type[Any]) -> str:
    try:
        found = decode(data, wanted)
    except GatewayError as error:
        return refused(error)
    assert convert(to_builtins(found), wanted) == found
    assert decode(msgspec.json.encode(found), wanted) == found
    assert all(file.file_name and len(file.file_name.encode()) <= 1024 for file in found.files)
    assert all(0 <= (file.file_size or 0) < 2**63 for file in found.files)
    return f"{wanted.__name__} {min(len(found.files), 3)}"


def _command(data: bytes) -> str:
    """One line of a name, then its payload."""
    name, _, payload = data.partition(b"\n")
    try:
        found = parse_command(name.decode("latin-1"), parse_json(payload))
    except GatewayError as error:
        return refused(error)
    assert type(found) is COMMANDS[name.decode("latin-1")]
    assert parse_command(name.decode("latin-1"), to_builtins(found)) == found
    return f"{name!r} {len(to_builtins(found))}"


def _envelope(data: bytes) -> str:
    try:
        message = parse_message(data)
        assert message.message_id is None or 1 <= len(message.message_id) <= 128
        found = parse_request(message)
    except GatewayError as error:
        return refused(error)
    msgspec.json.encode(found)  # whatever it quotes can be told
    if isinstance(found, Subscribe | Unsubscribe):
        assert parse_topic(str(found.topic)) == found.topic
    return type(found).__name__


def _topic(data: bytes) -> str:
    try:
        found = parse_topic(data.decode(errors="surrogateescape"))
    except GatewayError as error:
        return refused(error)
    assert parse_topic(str(found)) == found
    assert len(str(found)) < 300
    return f"{found.file_id is None}"


_TOKENS = (
    *(b'{"', b'":', b'":"', b'",', b"{", b"}", b"[", b"]", b",", b"null", b"true", b'""', b"{}", b"[]"),
    *(b"\\u0000", b"\\ud800", b"\\udc00\\ud800", b"1e400", b"-0", b"1.0", b"0.1e-9", SID, b'"a":1,"a":2'),
)
_BOMBS = (
    *(b"[" * 10**5, b'{"a":' * 10**5, b"[" * 900 + b"]" * 900, b'{"a":' * 900 + b"1" + b"}" * 900),
    *(b"9" * 10**6, b"0." + b"9" * 10**6, b"1e" + b"9" * 10**6, b'"' + b"\\u0000" * 10**5 + b'"'),
)

TARGETS = (
    Target(
        "json",
        "JSON is a value that reads the same when written again, or InvalidMessage, whatever its depth",
        (parse_json,),
        (b'{"a":[1,2.5,"x\\u00e9",null,true],"b":{}}', b'"text"', b"-1e-3", b"[]", b"{", b'{"a":1,"a":2}'),
        _json,
        _TOKENS,
        _BOMBS,
    ),
    Target(
        "bodies",
        "a session's or files' description is the same value when written again, with names and sizes inside "
        "their limits, or an error that names the field",
        (decode, convert),
        (
            b'{"category":"personal","open":true,"metadata":{"a":"b"},"files":[{"fileName":"a.txt"}]}',
            b'{"files":[{"fileName":"\xe6\x96\x87","fileId":"f-1","fileSize":10,"fileType":"text/plain"}]}',
            b"{}",
        ),
        _bodies,
        (*_TOKENS, b'"fileName"', b'"fileSize"', b'"files":[', b'{"fileName":"a"},'),
        (b'{"files":[' + b'{"fileName":"a"},' * 20000, b'{"metadata":' * 900, b'{"' + b"k" * 10**6 + b'":1}'),
    ),
    Target(
        "commands",
        "a command is one of ours and reads the same when written again, or an error that names the field",
        (parse_command,),
        (
            b'join-session\n"' + SID + b'"',
            b'join-session\n{"sessionId":"' + SID + b'","since":{"epoch":"e","seq":3}}',
            b'upload-start\n{"sessionId":"' + SID + b'","fileIds":["a","b"],"category":"personal"}',
            b'upload-progress\n{"sessionId":"' + SID + b'","fileId":"a","progress":50}',
            b'upload-pause\n{"sessionId":"' + SID + b'","fileId":"a","reason":"lunch"}',
        ),
        _command,
        (*_TOKENS, b"upload-cancel\n", b'"requestUpdate":true', b'"fileId"', b'"since"'),
        tuple(b"upload-cancel\n" + bomb for bomb in _BOMBS),
    ),
    Target(
        "envelope",
        "a text frame is one request or an error that names the field; its topic reads the same when told",
        (parse_message, parse_request),
        (
            b'{"type":"connect","data":{"protocol":"1.0","clientId":"c"},"timestamp":1,"messageId":"m1"}',
            b'{"type":"subscribe","data":{"topic":"session:'
            + SID
            + b'","params":{"ack":true}},"messageId":"m"}',
            b'{"type":"unsubscribe","data":{"topic":"file:' + SID + b'/a"}}',
            b'{"type":"ack","data":{"messageId":"x"}}',
            b'{"type":"heartbeat"}',
            b'{"type":"upload-cancel","data":{"sessionId":"' + SID + b'"}}',
            b'{"type":"join-session","data":"' + SID + b'"}',
        ),
        _envelope,
        (*_TOKENS, b'"type":"', b'"data":', b"subscribe", b"session:", b"file:", b'"messageId":'),
        (*_BOMBS, b'{"type":"x","timestamp":' + b"9" * 10**6 + b"}", b'{"type":"' + b"t" * 10**6 + b'"}'),
    ),
    Target(
        "topic",
        "a topic is a session or a file of one and reads the same when told again, or an error",
        (parse_topic,),
        (b"session:" + SID, b"file:" + SID + b"/a.b-c", b"app:news", b"session:w_" + b"0" * 40),
        _topic,
        (b"session:", b"file:", b"/", b":", SID),
        (b"file:" * 10**5,),
    ),
)
