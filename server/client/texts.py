"""How numbers and names are shown to people."""

from __future__ import annotations


def size_text(size_bytes: float) -> str:
    """`450.0 MB`, in powers of 1000."""
    value = float(size_bytes)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def time_text(duration_s: float) -> str:
    """`0:01:40`; `-:--:--` where it is not known."""
    if duration_s < 0 or duration_s >= 360_000:
        return "-:--:--"
    minutes, seconds = divmod(round(duration_s), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}"


def clean(text: str) -> str:
    """A name or a message from elsewhere, unable to steer the terminal it is printed on."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


def percent_text(percent: float) -> str:
    return f"{percent:.1f}%"
