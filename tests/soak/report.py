"""What a run has found: JSON for programs, a Markdown table for people."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from tests.soak.flatness import MIB, by_life, growth
from tests.soak.run import Outcome


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is published. The machine is named by what it has, not by what it is called."""

    cores: int
    memory_gib: int
    kernel: str
    seed: int
    minutes: float
    workers: int
    small_disk: bool
    counts: dict[str, int]
    answers: dict[str, int]
    sent_bytes: int
    kept_bytes: int
    peak_bytes: int
    samples: list[dict[str, Any]]
    explained_log_lines: dict[str, int]
    problems: list[str]

    @property
    def passed(self) -> bool:
        return not self.problems


def report_of(outcome: Outcome, *, seed: int, workers: int, small_disk: bool) -> Report:
    world = outcome.world
    grown = [f"life {life[0].life}: {what}" for life in by_life(outcome.samples) for what in growth(life)]
    return Report(
        cores=len(os.sched_getaffinity(0)),
        memory_gib=round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        kernel=platform.release().partition("-")[0],
        seed=seed,
        minutes=round(world.ledger.now_s / 60, 1),
        workers=workers,
        small_disk=small_disk,
        counts=dict(sorted(world.ledger.counts.items())),
        answers={str(status): count for status, count in sorted(world.statuses.items())},
        sent_bytes=world.ledger.sent_bytes,
        kept_bytes=world.ledger.kept_bytes,
        peak_bytes=world.machine.peak_bytes,
        samples=[{**sample._asdict(), "held": sample.held._asdict()} for sample in outcome.samples],
        explained_log_lines=outcome.explained,
        problems=[f"{p.at_s} s, {p.who}: {p.what}" for p in world.ledger.problems] + grown,
    )


def write(report: Report, path: Path) -> Path:
    """JSON at `path`, Markdown beside it; the latter's path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n")
    beside = path.with_suffix(".md")
    beside.write_text(markdown(report), encoding="utf-8")
    return beside


def markdown(report: Report) -> str:
    where = f"{report.cores} cores, {report.memory_gib} GiB, Linux {report.kernel}"
    sections = [
        f"# Soak: {report.minutes:g} minutes, seed {report.seed}",
        f"{'Passed' if report.passed else 'FAILED'}. {report.workers} clients at work at once; {where}.",
        _table(("what", "how often"), _happened(report)),
        "At the quiet points, when every client waits (the same process: the same life):",
        _table(
            (
                "life",
                "minute",
                "uploads",
                "private memory",
                "allocated",
                "blocks",
                "objects",
                "descriptors",
                "threads",
                "tasks",
            ),
            [_row(sample) for sample in report.samples],
        ),
        _list("Errors in the server's log, all while something was done to it", report.explained_log_lines),
        "\n".join(["Problems:", "", *(f"* {problem}" for problem in report.problems)])
        if report.problems
        else "No problem was found.",
    ]
    return "\n\n".join(sections) + "\n"


def _happened(report: Report) -> list[tuple[str, str]]:
    rows = [(name, f"{count:,}".replace(",", " ")) for name, count in report.counts.items()]
    rows.append(("sent", f"{report.sent_bytes / MIB:.0f} MiB"))
    rows.append(("in completed files", f"{report.kept_bytes / MIB:.0f} MiB"))
    rows.append(("peak memory of any process", f"{report.peak_bytes / MIB:.1f} MiB"))
    rows.append(("answers", ", ".join(f"{status}: {count}" for status, count in report.answers.items())))
    return rows


def _row(sample: dict[str, Any]) -> tuple[Any, ...]:
    held = sample["held"]
    return (
        sample["life"],
        f"{sample['at_s'] / 60:.1f}",
        sample["uploads"],
        f"{sample['private_bytes'] / MIB:.1f} MiB",
        f"{sample['allocated_bytes'] / MIB:.2f} MiB",
        sample["blocks"],
        sample["objects"],
        held["descriptors"],
        held["threads"],
        held["tasks"],
    )


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def _list(title: str, counts: dict[str, int]) -> str:
    if not counts:
        return "The server logged no error."
    return "\n".join([f"{title}:", "", *(f"* {what}: {count}" for what, count in counts.items())])
