"""Where settings come from: command line over environment over TOML file over default.

Everything wrong is collected and told at once, each with the field, the value, where it came from and what is
allowed instead.
"""

from __future__ import annotations

import difflib
import math
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta

from penstock.server.consistency import contradictions
from penstock.server.settings import HEADINGS, Settings

PREFIX = "PENSTOCK_"
CONFIG_VARIABLE = "PENSTOCK_CONFIG"
URL_VARIABLE = "PENSTOCK_URL"  # of the client: the server it talks to
DEFAULT_FILE = Path("penstock.toml")
DEFAULT_ORIGIN = "default"

_DURATION = re.compile(r"(\d+(?:\.\d+)?) *(ms|s|m|h|d)")
_UNIT_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


class ConfigurationError(Exception):
    """The settings cannot be used. Each problem is one sentence that names the fix."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class Field(NamedTuple):
    """One setting as users meet it."""

    name: str
    annotation: object  # the type with its limits, as msgspec wants it
    type: object  # ... and without
    default: object
    description: str
    limits: Meta
    heading: str

    @property
    def option(self) -> str:
        return "--" + self.name.replace("_", "-")

    @property
    def options(self) -> tuple[str, ...]:
        """All its spellings on the command line: a duration may leave its unit to its value."""
        return (self.option, self.option.removesuffix("-s")) if self.is_duration else (self.option,)

    @property
    def variable(self) -> str:
        return PREFIX + self.name.upper()

    @property
    def is_switch(self) -> bool:
        return self.type is bool

    @property
    def is_duration(self) -> bool:
        return self.type is float and self.name.endswith("_s")

    @property
    def is_list(self) -> bool:
        return get_origin(self.type) is tuple

    @property
    def choices(self) -> tuple[str, ...]:
        return get_args(self.type) if get_origin(self.type) is Literal else ()

    @property
    def allowed(self) -> str:
        """What a value may be, in words."""
        if self.choices:
            return "one of " + ", ".join(self.choices)
        if self.type is int or self.type is float:
            return _numbers(self.type is int, self.limits)
        if self.is_switch:
            return "true or false"
        if self.is_list:
            return "a list such as one,two"
        return "a text" if self.type is str else "a path"


class Loaded(NamedTuple):
    """The effective settings, and for each field where its value came from."""

    settings: Settings
    origins: dict[str, str]


class _Layer(NamedTuple):
    """One source: its raw values by field, and how it calls each field."""

    values: Mapping[str, object]
    origins: Mapping[str, str]
    is_text: bool


def _numbers(whole: bool, limits: Meta) -> str:
    kind = "a whole number" if whole else "a number"
    if limits.gt is not None:
        return f"{kind} above {limits.gt}"
    upper = "" if limits.le is None else f" to {limits.le}"
    return f"{kind} from {limits.ge}{upper}" if upper else f"{kind}, at least {limits.ge}"


def _fields() -> Iterator[Field]:
    hints = get_type_hints(Settings, include_extras=True)
    heading = ""
    for field in msgspec.structs.fields(Settings):
        heading = HEADINGS.get(field.name, heading)
        metas = hints[field.name].__metadata__
        yield Field(
            name=field.name,
            annotation=hints[field.name],
            type=hints[field.name].__origin__,
            default=field.default,
            description=next(meta.description for meta in metas if meta.description),
            limits=next((meta for meta in metas if meta.description is None), Meta()),
            heading=heading,
        )


FIELDS: dict[str, Field] = {field.name: field for field in _fields()}


def load(
    overrides: Mapping[str, object], environ: Mapping[str, str], toml_path: Path | None = None
) -> Loaded:
    """The settings of one process.

    `overrides` come from the command line, by field name, as text (switches as bool). `toml_path` is the file
    to read; without one `PENSTOCK_CONFIG` names it, and without that `penstock.toml` is read if it is there.

    Raises: `ConfigurationError` with everything that is wrong.
    """
    problems: list[str] = []
    layers = [
        _toml_layer(toml_path, environ, problems),
        _environment_layer(environ, problems),
        _Layer(overrides, {name: f"command line, {FIELDS[name].option}" for name in overrides}, is_text=True),
    ]
    values: dict[str, object] = {}
    origins = dict.fromkeys(FIELDS, DEFAULT_ORIGIN)
    for layer in layers:
        for name, raw in layer.values.items():
            origins[name] = layer.origins[name]
            try:
                values[name] = _converted(FIELDS[name], raw, layer.is_text)
            except ValueError as problem:
                problems.append(f"{name} ({origins[name]}): {problem}")
    if not problems:
        settings = Settings(**values)  # type: ignore[arg-type]  # each value was converted to its field's type
        problems += [f"{name} ({origins[name]}): {text}" for name, text in contradictions(settings)]
    if problems:
        raise ConfigurationError(problems)
    return Loaded(settings, origins)


def _environment_layer(environ: Mapping[str, str], problems: list[str]) -> _Layer:
    variables = {field.variable: name for name, field in FIELDS.items()}
    others = (CONFIG_VARIABLE, URL_VARIABLE)
    given = {key: text for key, text in environ.items() if key.startswith(PREFIX) and key not in others}
    known = {key: text for key, text in given.items() if key in variables}
    problems += [_unknown("environment", key, list(variables)) for key in given.keys() - known.keys()]
    return _Layer(
        {variables[key]: text for key, text in known.items()},
        {variables[key]: f"environment, {key}" for key in known},
        is_text=True,
    )


def _toml_layer(path: Path | None, environ: Mapping[str, str], problems: list[str]) -> _Layer:
    named = environ.get(CONFIG_VARIABLE)
    path = path or (Path(named) if named else DEFAULT_FILE)
    if path == DEFAULT_FILE and not named and not path.exists():
        return _Layer({}, {}, is_text=False)
    values = _read_toml(path, problems)
    problems += [_unknown(str(path), key, list(FIELDS)) for key in values.keys() - FIELDS.keys()]
    known = {key: value for key, value in values.items() if key in FIELDS}
    return _Layer(known, dict.fromkeys(known, str(path)), is_text=False)


def _read_toml(path: Path, problems: list[str]) -> dict[str, object]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        problems.append(f"{path} cannot be read ({error.strerror}): check --config and {CONFIG_VARIABLE}")
    except (ValueError, RecursionError) as error:  # tomllib's own; of Python for giant numbers and nests
        problems.append(f"{path} is not valid TOML: {error}")
    return {}


def _unknown(origin: str, key: str, known: list[str]) -> str:
    near = difflib.get_close_matches(key, known, n=1)
    hint = f"did you mean {near[0]}?" if near else "`penstock check` lists all settings"
    return f"{key} ({origin}): there is no such setting; {hint}"


def _converted(field: Field, raw: object, is_text: bool) -> object:
    """The value in its field's type. Raises: ValueError naming the value and what is allowed."""
    value = raw
    if is_text and isinstance(raw, str):
        value = _from_text(field, raw)
    try:
        converted = msgspec.convert(value, field.annotation, strict=not is_text, dec_hook=_path)
    except msgspec.ValidationError:
        units = (
            ", in seconds or with a unit (300ms, 20s, 10m, 24h, 7d)" if is_text and field.is_duration else ""
        )
        raise ValueError(f"{raw!r} is not allowed; it must be {field.allowed}{units}") from None
    if isinstance(converted, float) and not math.isfinite(converted):
        raise ValueError(f"{raw!r} is not allowed; every wait has an end: {field.allowed}, and finite")
    return converted


def _from_text(field: Field, text: str) -> object:
    if field.is_list:
        return [item for item in (piece.strip() for piece in text.split(",")) if item]
    if field.is_duration and (parts := _DURATION.fullmatch(text.strip())):
        return repr(float(parts[1]) * _UNIT_S[parts[2]])
    if field.type == Union[Path, None]:  # noqa: UP007  # a type to compare with, not an annotation
        return text or None
    return text if field.type is str else text.strip()


def _path(wanted: type, value: object) -> object:
    """msgspec's hook for types it does not know: here only paths."""
    if wanted is Path and isinstance(value, str) and value:
        return Path(value)
    raise ValueError("not a path")
