"""All workloads and contestants by name, and what somebody means who writes `many:uploads=8,size=4MiB`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from urllib.parse import urlsplit

import msgspec

from bench import contestants, growth, live, peers, uploads
from bench.contestants import Contestant, Elsewhere
from bench.live.contestants import PEERS as LIVE_PEERS
from bench.measure import taking_part
from bench.sizes import KIB, parse_size, size_text
from bench.workload import Workload


class Misread(ValueError):
    """What was written means nothing; the message names the field and the fix."""


WORKLOADS: dict[str, type[Workload]] = {
    one.name: one for one in (*uploads.WORKLOADS, *live.WORKLOADS, *growth.WORKLOADS)
}
GROUPS: dict[str, list[str]] = {
    "uploads": [one.name for one in uploads.WORKLOADS],
    "live": [one.name for one in live.WORKLOADS if not one.x_axis],
    "growth": [one.name for one in WORKLOADS.values() if one.x_axis],
}

# In the order of a round.
CONTESTANTS: dict[str, Contestant] = {
    one.name: one
    for one in (
        contestants.FLOOR,
        contestants.PENSTOCK,
        contestants.PENSTOCK_H2C,
        peers.TusNode(),
        peers.TusPy(),
        peers.Express(),
        contestants.FLOOR_SYNCED,
        contestants.PENSTOCK_COMPLETE,
        contestants.PENSTOCK_SYNCED,
        *LIVE_PEERS,
    )
}


def workloads(wanted: Sequence[str], *, full: bool) -> list[Workload]:
    """What is meant, everything if nothing is wanted; none twice. Raises: Misread."""
    meant = (one for text in wanted or GROUPS for one in _meant(text, full))
    return list(dict.fromkeys(meant))


def _meant(text: str, full: bool) -> Iterator[Workload]:
    name, colon, written = text.partition(":")
    if not colon and name in GROUPS:
        for member in GROUPS[name]:
            yield from _meant(member, full)
        return
    if name not in WORKLOADS:
        raise Misread(f"no workload {name!r}: there are {', '.join([*WORKLOADS, *GROUPS])} (--list)")
    kind = WORKLOADS[name]
    own = _parameters(kind, written) if colon else {}
    sets = kind.full if full else ({},)
    for values in sets[:1] if own else sets:  # whoever sets something wants one run
        yield msgspec.convert({**values, **own}, kind)


def _parameters(kind: type[Workload], written: str) -> dict[str, object]:
    fields = {field.name: field for field in msgspec.structs.fields(kind)}
    values: dict[str, object] = {}
    for pair in written.split(","):
        name, equals, text = pair.partition("=")
        if name not in fields or not equals:
            known = ", ".join(f"{one}=" for one in fields) or "none"
            raise Misread(f"{kind.name}: {pair!r} is no parameter; it has {known}")
        values[name] = _value(kind, fields[name], text)
    return values


def _value(kind: type[Workload], field: msgspec.structs.FieldInfo, text: str) -> object:
    try:
        return msgspec.convert(_read(field.default, text), field.type)
    except (ValueError, msgspec.ValidationError) as error:
        raise Misread(f"{kind.name}: {field.name}={text}: {error}") from None


def _read(like: object, text: str) -> object:
    """As whatever the default is: a text, a number, or several numbers with `/` between them."""
    if isinstance(like, str):
        return text
    if isinstance(like, float):
        return float(text)
    if isinstance(like, tuple):
        return [_read(like[0], one) for one in text.split("/")]
    return parse_size(text)


def elsewhere(text: str) -> Elsewhere:
    """NAME=KIND:URL, a server that runs already. Raises: Misread."""
    name, _, rest = text.partition("=")
    kind, _, url = rest.partition(":")
    if not name or not rest or name in CONTESTANTS:
        raise Misread(f"{text!r}: write NAME=KIND:URL with a name of its own, as in mine=tus:http://…/files/")
    if urlsplit(url).scheme != "http" or not urlsplit(url).hostname:
        raise Misread(
            f"{url!r} is not the URL of a server; write http://127.0.0.1:1080/files/ (no TLS: sendfile)"
        )
    match kind:
        case "tus" | "socketio":
            return Elsewhere(name, kind, url)
    raise Misread(f"{kind!r} is no kind of server; write tus or socketio")


def chosen(names: Sequence[str], urls: Sequence[str]) -> list[Contestant]:
    """In the order of a round; all if none is named. Servers by URL always take part. Raises: Misread."""
    if unknown := [name for name in names if name not in CONTESTANTS]:
        raise Misread(f"no contestant {unknown[0]!r}: there are {', '.join(CONTESTANTS)}")
    ours = [one for name, one in CONTESTANTS.items() if not names or name in names]
    others = [elsewhere(url) for url in urls]
    return [*ours, *others]


def listing() -> Iterator[str]:
    """Every workload with its parameters, short and full, and its contestants."""
    for group, members in GROUPS.items():
        yield f"{group}:"
        for name in members:
            kind = WORKLOADS[name]
            yield f"  {name:20} {(kind.__doc__ or '').strip().splitlines()[0]}"
            values = {field.name: field.default for field in msgspec.structs.fields(kind)}
            yield f"  {'':20}   short  {_written(values)}"
            yield from (f"  {'':20}   full   {_written({**values, **one})}" for one in kind.full)
            yield f"  {'':20}   {', '.join(_names(kind()))}"


def _names(workload: Workload) -> dict[str, None]:
    everybody = list(CONTESTANTS.values())
    return dict.fromkeys(variant.contestant for variant in taking_part(workload, everybody))


def _written(values: Mapping[str, object]) -> str:
    return ",".join(f"{name}={_text(value)}" for name, value in values.items()) or "no parameters"


def _text(value: object) -> str:
    match value:
        case tuple():
            return "/".join(map(_text, value))
        case int() if value >= KIB:
            return size_text(value).replace(" bytes", "").replace(" ", "")
    return str(value)
