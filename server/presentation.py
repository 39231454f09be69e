"""Settings as text: a value, the effective settings as TOML, and the reference page `docs/settings.md`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

from penstock.server.configuration import CONFIG_VARIABLE, FIELDS, Field, Loaded
from penstock.server.exits import Exit

PAGE_HEAD = f"""# Settings

<!-- Generated from server/settings.py by `make docs` (python -P -m penstock.server.presentation). -->

Every setting can be given in three ways. The first that names it wins:

1. the command line: `penstock --pause-hold-s 20`, or `--pause-hold 20s`; a switch is turned off with `--no-`;
2. the environment: `PENSTOCK_PAUSE_HOLD_S=20`; lists are comma-separated, switches `true` or `false`;
3. a TOML file: `pause_hold_s = 20`; it is `--config FILE`, or `{CONFIG_VARIABLE}`, or `./penstock.toml` if
   it is there.

An unknown name or a value that is not allowed is an error that names it, its source and what is allowed.
Relative paths start at the working directory. Sizes are bytes, durations seconds; on the command line and in
the environment a duration may have a unit: `300ms`, `20s`, `10m`, `24h`, `7d`.

`penstock check` takes the same options, starts nothing and prints every effective value with its origin, as a
TOML file. Kubernetes sets variables such as `PENSTOCK_PORT` by itself for a service called `penstock`:
say `enableServiceLinks: false` there.
"""


def as_text(value: object) -> str:
    """A value as it is written on the command line and in the environment."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return ",".join(value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def as_toml(loaded: Loaded) -> str:
    """The effective settings with their origins. Saved as `penstock.toml` it means the same again."""
    return "\n".join(_toml_lines(loaded)) + "\n"


def _toml_lines(loaded: Loaded) -> Iterator[str]:
    for heading, fields in groupby(FIELDS.values(), key=lambda field: field.heading):
        yield from ("", f"# {heading}", "")
        for field in fields:
            value = getattr(loaded.settings, field.name)
            text = f"# {field.name} is not set" if value is None else f"{field.name} = {_toml_value(value)}"
            yield f"{text:44}  # {loaded.origins[field.name]}"


def _toml_value(value: object) -> str:
    if isinstance(value, tuple):
        return "[" + ", ".join(map(_toml_value, value)) + "]"
    if isinstance(value, bool | int):
        return as_text(value)
    # A JSON string is a TOML basic string, but for DEL, which TOML wants escaped.
    return repr(value) if isinstance(value, float) else json.dumps(str(value)).replace("\x7f", "\\u007f")


def settings_page() -> str:
    """`docs/settings.md`."""
    parts = [PAGE_HEAD]
    for heading, fields in groupby(FIELDS.values(), key=lambda field: field.heading):
        parts.append(f"\n## {heading}\n\n| setting | default | allowed | meaning |\n|---|---|---|---|\n")
        parts += [_row(field) for field in fields]
    parts.append("\n## Exit codes\n\n| code | meaning |\n|---|---|\n")
    parts += [f"| {code.value} | {code.meaning} |\n" for code in Exit]
    return "".join(parts)


def _row(field: Field) -> str:
    default = f"`{text}`" if (text := as_text(field.default)) else "none"
    meaning = field.description.replace("|", r"\|")
    return f"| `{field.name}` | {default} | {field.allowed} | {meaning} |\n"


if __name__ == "__main__":
    Path("docs/settings.md").write_text(settings_page(), encoding="utf-8")
