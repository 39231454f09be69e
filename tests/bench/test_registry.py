"""What somebody means by what he writes; and that all that has a name is there."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from bench import npm, pip, registry
from bench.bars import BARS
from bench.contestants import SERVERS
from bench.registry import CONTESTANTS, GROUPS, WORKLOADS, Misread
from bench.uploads.many import Many
from bench.uploads.one import One
from bench.uploads.startup import Startup


def test_parameters_are_set_and_sizes_have_units() -> None:
    assert registry.workloads(["one:size=1GiB"], full=False) == [One(size=2**30)]
    assert registry.workloads(["many:uploads=8,size=4096"], full=False) == [Many(uploads=8, size=4096)]
    (growing,) = registry.workloads(["growth-uploads:uploads=1/2,total=8MiB"], full=False)
    assert msgspec.structs.asdict(growing) == {"uploads": (1, 2), "total": 2**23}


def test_full_sizes_are_those_of_each_workload() -> None:
    assert [one.title for one in registry.workloads(["many"], full=True)] == [
        "8 uploads at once, 16 MiB each",
        "32 uploads at once, 16 MiB each",
        "256 uploads at once, 4 MiB each",
    ]


def test_who_sets_something_gets_one_run() -> None:
    assert registry.workloads(["many:size=1KiB"], full=True) == [Many(uploads=8, size=1024)]


def test_nothing_is_measured_twice() -> None:
    assert registry.workloads(["startup", "startup"], full=True) == [Startup()]
    named = [one.name for one in registry.workloads([], full=False)]
    assert named == [*dict.fromkeys(named)]
    assert set(named) == set(WORKLOADS)


def test_a_workload_can_be_measured_with_several_parameters() -> None:
    both = registry.workloads(["many:uploads=8", "many:uploads=256"], full=False)
    assert both == [Many(uploads=8), Many(uploads=256)]


@pytest.mark.parametrize(
    ("written", "fix"),
    [
        ("two", "no workload 'two': there are one, "),
        ("uploads:size=1", "no workload 'uploads'"),
        ("one:sise=1", "one: 'sise=1' is no parameter; it has size=, dialects="),
        ("one:size", "one: 'size' is no parameter"),
        ("one:", "one: '' is no parameter"),
        ("startup:size=1", "it has none"),
        ("one:size=0", "one: size=0: "),
        ("one:size=4KB", "one: size=4KB: '4KB' is no whole number; write 4096, 4KiB, 16MiB or 1GiB"),
        ("one:size=-1", "write 4096, 4KiB, 16MiB or 1GiB"),
        ("one:dialects=FTP", "one: dialects=FTP: "),
        ("small:files=1", "small: files=1: "),
    ],
)
def test_what_means_nothing_is_refused_with_the_fix(written: str, fix: str) -> None:
    with pytest.raises(Misread) as refused:
        registry.workloads([written], full=False)
    assert fix in str(refused.value)


@pytest.mark.parametrize(
    ("written", "fix"),
    [
        ("http://127.0.0.1/", "write NAME=KIND:URL"),
        ("penstock=tus:http://127.0.0.1/", "with a name of its own"),
        ("mine=ftp:http://127.0.0.1/", "'ftp' is no kind of server; write tus or socketio"),
        ("mine=tus:https://example.org/", "no TLS"),
        ("mine=tus:127.0.0.1", "is not the URL of a server"),
    ],
)
def test_a_url_that_cannot_be_measured_is_refused_with_the_fix(written: str, fix: str) -> None:
    with pytest.raises(Misread) as refused:
        registry.elsewhere(written)
    assert fix in str(refused.value)


def test_contestants_keep_the_order_of_a_round() -> None:
    chosen = registry.chosen(["tus-node", "penstock"], ["mine=socketio:http://127.0.0.1:1/socket.io/"])
    assert [one.name for one in chosen] == ["penstock", "tus-node", "mine"]
    with pytest.raises(Misread, match="no contestant 'nginx': there are floor, penstock"):
        registry.chosen(["nginx"], [])


def test_every_bar_speaks_of_rows_and_columns_that_are_there() -> None:
    for bar in BARS:
        (workload, *_) = registry.workloads([bar.workload], full=True)
        labels = [variant.label for variant in workload.variants(list(CONTESTANTS.values()))]
        assert {bar.ours, bar.peer} - {""} <= set(labels), bar
        assert bar.metric in [metric.name for metric in workload.metrics], bar
        assert bar.when.keys() <= msgspec.structs.asdict(workload).keys(), bar
        measured = [msgspec.structs.asdict(one) for one in registry.workloads([bar.workload], full=True)]
        assert any(bar.when.items() <= parameters.items() for parameters in measured), bar


def test_every_workload_is_in_a_group_and_says_what_it_is() -> None:
    assert {name for group in GROUPS.values() for name in group} == set(WORKLOADS)
    for kind in WORKLOADS.values():
        assert kind.__doc__
        for full in kind.full:
            assert msgspec.convert(full, kind).title


NODE_PEERS = sorted(path.parent for path in SERVERS.glob("*/package.json"))
PYTHON_PEERS = sorted(path.parent for path in SERVERS.glob("*/requirements.txt"))


@pytest.mark.parametrize("place", NODE_PEERS, ids=lambda place: place.name)
def test_a_node_peer_is_pinned_and_its_lock_names_no_host(place: Path) -> None:
    lock = json.loads((place / "package-lock.json").read_bytes())
    wanted = npm.pinned(place)
    assert {name: lock["packages"][f"node_modules/{name}"]["version"] for name in wanted} == wanted
    packages = [package for path, package in lock["packages"].items() if path]
    assert all("integrity" in package and "resolved" not in package for package in packages)


@pytest.mark.parametrize("place", PYTHON_PEERS, ids=lambda place: place.name)
def test_a_python_peer_is_pinned_without_an_index(place: Path) -> None:
    lines = (place / "requirements.txt").read_text(encoding="utf-8").splitlines()
    assert len(pip.pinned(place)) == len([line for line in lines if not line.startswith("#")])
    assert "://" not in "".join(lines)
