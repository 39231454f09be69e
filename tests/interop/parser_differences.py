"""Where ours and the Node parsers differ, on purpose: one table, which tests hold both sides to.

A class says by the input alone, without our decoder, which frames it is about.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from math import isinf
from typing import NamedTuple

from penstock.protocol.engineio.packets import Frame
from penstock.protocol.socketio.packets import MAX_ACK_ID, MAX_DEPTH, Packet
from tests.interop.node_parsers import More, Outcome, Refused

# What JavaScript's Number() takes for nothing, which it reads as 0.
JS_SPACE = "\t\n\v\f\r \xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000\ufeff"


class Disagreement(NamedTuple):
    """About one frame: the first of its connection that both do not see alike."""

    frame: Frame
    ours: Outcome
    theirs: Outcome
    theirs_at_last: Outcome | None  # of the packet that the frame begins; None: its attachments did not come


class Difference(NamedTuple):
    what: str
    node: str
    ours: str
    why: str
    is_it: Callable[[Disagreement], bool]


class Parts(NamedTuple):
    """A text as the Node parser divides it."""

    type: str
    attachments: str | None
    namespace: str
    ack_id: str  # digits, and white space
    payload: str


def parts(text: str) -> Parts:
    count: str | None = None
    rest = text[1:]
    if text[:1] in ("5", "6"):
        count, _, rest = rest.partition("-")
    namespace = ""
    if rest.startswith("/"):
        namespace, _, rest = rest.partition(",")
    ack_id = re.match(f"[0-9{JS_SPACE}]*", rest)
    assert ack_id
    return Parts(text[:1], count, namespace, ack_id[0], rest[ack_id.end() :])


def markdown() -> str:
    """The tables, for people."""
    lines = ["| Socket.IO: what | socket.io-parser | Penstock | why |", "|---|---|---|---|"]
    lines += [f"| {one.what} | {one.node} | {one.ours} | {one.why} |" for one in SOCKET]
    lines += ["", "| Engine.IO: what | engine.io-parser | Penstock | why |", "|---|---|---|---|"]
    lines += [f"| {one.what} | {one.node} | {one.ours} | {one.why} |" for one in ENGINE]
    return "\n".join(lines) + "\n"


def named(table: list[Difference], found: Disagreement) -> str | None:
    """The first class that it belongs to."""
    return next((one.what for one in table if one.is_it(found)), None)


def stricter(about: Callable[[str], bool]) -> Callable[[Disagreement], bool]:
    """We refuse a text, they do not, and the text is like this."""

    def is_it(found: Disagreement) -> bool:
        refused = isinstance(found.ours, Refused) and not isinstance(found.theirs, Refused)
        return refused and isinstance(found.frame, str) and about(found.frame)

    return is_it


def _odd_type(text: str) -> bool:
    return re.match(f"[{JS_SPACE}]|$", text) is not None


def _odd_count(text: str) -> bool:
    return parts(text).attachments not in (None, *map(str, range(1, 11)))


def _space_in_id(text: str) -> bool:
    return not parts(text).ack_id.isdigit() and parts(text).ack_id != ""


def _no_payload(text: str) -> bool:
    return parts(text).type in "2356" and not parts(text).payload


def _ack_of_nothing(text: str) -> bool:
    return parts(text).type in "36" and not parts(text).ack_id


def _id_on_others(text: str) -> bool:
    return parts(text).type in "014" and parts(text).ack_id.isdigit()


def _large_id(text: str) -> bool:
    digits = parts(text).ack_id
    return digits.isdigit() and (len(digits) > len(str(MAX_ACK_ID)) or int(digits) > MAX_ACK_ID)


def _lone_surrogate(text: str) -> bool:
    return not _encodable(text) or not _encodable(json.dumps(_payload(text), ensure_ascii=False))


def _separator(text: str) -> bool:
    return "\x1e" in parts(text).namespace


def _too_large_number(text: str) -> bool:
    long_integer = re.search(r"[0-9]{4301}", text) is not None  # Python's own limit, as msgspec's
    return long_integer or any(isinstance(n, float) and isinf(n) for n in _all(_payload(text)))


def _deep(text: str) -> bool:
    depth = deepest = 0
    for bracket in re.findall(r"[\[{\]}]", re.sub(r'"(\\.|[^"\\])*"', "", parts(text).payload)):
        depth += 1 if bracket in "[{" else -1
        deepest = max(deepest, depth)
    return deepest > MAX_DEPTH


def _fraction_for_number(text: str) -> bool:
    return any(isinstance(number, float) for number in _placeholders(text))


def _bad_placeholder(text: str) -> bool:
    count = parts(text).attachments or "0"
    return any(type(n) is not int or not 0 <= n < int(count) for n in _placeholders(text))


def _told_early(found: Disagreement) -> bool:
    agreed_at_last = found.theirs_at_last is None or isinstance(found.theirs_at_last, Refused)
    return isinstance(found.theirs, More) and agreed_at_last and stricter(_bad_placeholder)(found)


def _rounded(found: Disagreement) -> bool:
    ours, theirs = found.ours, found.theirs
    if not isinstance(ours, Packet) or not isinstance(theirs, Packet):
        return False
    return ours._replace(data=None) == theirs._replace(data=None) and as_doubles(ours.data) == theirs.data


def _not_base64(text: str) -> bool:
    groups = r"([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?"
    return text.startswith("b") and re.fullmatch(groups, text[1:]) is None


SOCKET = [
    Difference(
        "white space or nothing where the type should be",
        'CONNECT, since `Number("")` is 0',
        "refused",
        "no client sends it",
        stricter(_odd_type),
    ),
    Difference(
        "a count of attachments that is not written plainly (`01`, `1e0`, `0x1`, with white space)",
        "as JavaScript's `Number` reads it",
        "refused",
        "no client writes it; two readings of a length are how parsers get out of step",
        stricter(_odd_count),
    ),
    Difference(
        "white space where an ack id may be",
        "an ack id, of 0 or NaN",
        "refused",
        "no client sends it, and an answer would go to the wrong event",
        stricter(_space_in_id),
    ),
    Difference(
        "EVENT or ACK without data",
        "an event without a name, an ack without arguments",
        "refused",
        "the protocol wants an array; an event without a name reaches no handler",
        stricter(_no_payload),
    ),
    Difference(
        "ACK without an ack id",
        "ignored later",
        "refused",
        "it acknowledges nothing",
        stricter(_ack_of_nothing),
    ),
    Difference(
        "CONNECT, DISCONNECT or CONNECT_ERROR with an ack id",
        "the id is ignored",
        "refused",
        "the protocol has ids for events and acks only",
        stricter(_id_on_others),
    ),
    Difference(
        "an ack id above 2^53−1, or of more than 16 digits",
        "rounded to a double",
        "refused",
        "the answer would carry another id than the question",
        stricter(_large_id),
    ),
    Difference(
        "half a surrogate pair, escaped in JSON or as it is",
        "kept",
        "refused",
        "it is no Unicode text: it cannot be stored nor sent on in UTF-8",
        stricter(_lone_surrogate),
    ),
    Difference(
        "the separator of polling bodies (U+001E) in a namespace",
        "kept",
        "refused",
        "an answer that names the namespace would fall apart on polling",
        stricter(_separator),
    ),
    Difference(
        "a number that no double holds (`1e400`), an integer of more than 4300 digits",
        "Infinity",
        "refused",
        "JSON has no Infinity: it could not be sent on",
        stricter(_too_large_number),
    ),
    Difference(
        "an integer beyond 2^53",
        "rounded to a double",
        "exact",
        "nothing is lost; sent on, JavaScript rounds it as it would have at once",
        _rounded,
    ),
    Difference(
        f"data of more than {MAX_DEPTH} levels",
        "any depth",
        "refused",
        "recursion over it must not depend on who calls",
        stricter(_deep),
    ),
    Difference(
        "a placeholder with a fraction for a number (`0.5`, also `1.0`)",
        "`undefined` in its place, or the attachment",
        "refused",
        "the protocol wants an integer",
        stricter(_fraction_for_number),
    ),
    Difference(
        "a placeholder of no attachment",
        "refused when the last attachment has come",
        "refused with the text",
        "the same verdict, before anything is kept",
        _told_early,
    ),
]

ENGINE = [
    Difference(
        "base64 with other characters, wrong padding, or more behind its padding",
        "what can be read of it; `-_` as `+/`",
        "refused",
        "silent damage otherwise: bytes would be missing without a word",
        stricter(_not_base64),
    ),
]


def _encodable(text: str) -> bool:
    return not re.search("[\ud800-\udfff]", text)


def _payload(text: str) -> object:
    try:
        value: object = json.loads(parts(text).payload)
    except (ValueError, RecursionError):
        return None
    return value


def _all(value: object) -> Iterator[object]:
    yield value
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for child in children:
        yield from _all(child)


def _placeholders(text: str) -> Iterator[object]:
    for value in _all(_payload(text)):
        if isinstance(value, dict) and value.get("_placeholder") is True:
            yield value.get("num")


def as_doubles(value: object) -> object:
    match value:
        case bool():
            return value
        case int():
            return float(str(value))  # of the text, since float(10**400) is an error and no infinity
        case list():
            return [as_doubles(item) for item in value]
        case dict():
            return {key: as_doubles(item) for key, item in value.items()}
    return value
