"""What is handed out is built, installed and started; versions, reasons and licences are written down."""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import urllib.request
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import penstock
from tests.running import PATIENCE_S, serving

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src" / "penstock"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
DIRECT = [*map(Requirement, PROJECT["dependencies"] + PROJECT["optional-dependencies"]["dev"])]
NAME = f"penstock-{penstock.__version__}"
DIRECTLY = urllib.request.build_opener(urllib.request.ProxyHandler({}))
CACHES = {"__pycache__", ".ruff_cache", ".mypy_cache"}


def run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


# What is pinned and written down


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    found = [re.fullmatch(r"([A-Za-z0-9._-]+)==([A-Za-z0-9.]+)", line) for line in lines if line[0] != "#"]
    assert all(found), "only name==version: no index, no host, no option"
    return {canonicalize_name(match[1]): match[2] for match in found if match}


@pytest.mark.parametrize("requirement", DIRECT, ids=lambda requirement: requirement.name)
def test_a_dependency_is_pinned_within_its_range_and_explained(requirement: Requirement) -> None:
    assert pins()[canonicalize_name(requirement.name)] in requirement.specifier
    page = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")
    row = next((line for line in page.splitlines() if line.startswith(f"| {requirement.name} |")), None)
    assert row is not None, "docs/dependencies.md says what for, why this one, and its licence"
    assert all(cell.strip() for cell in row.strip("|").split("|"))


def test_what_dependencies_need_is_pinned_too() -> None:
    waiting = list(DIRECT)
    seen: set[str] = set()
    while waiting:
        requirement = waiting.pop()
        if str(requirement) in seen:  # with its extras: each brings something
            continue
        seen.add(str(requirement))
        assert canonicalize_name(requirement.name) in pins()
        waiting += needed_by(requirement)


def needed_by(requirement: Requirement) -> list[Requirement]:
    needed = map(Requirement, importlib.metadata.requires(requirement.name) or [])
    extras = requirement.extras or {""}
    return [
        one
        for one in needed
        if not one.marker or any(one.marker.evaluate({"extra": extra}) for extra in extras)
    ]


# What is built


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the wheel and the sdist of this checkout. Needs no network."""
    out = tmp_path_factory.mktemp("dist")
    build = (sys.executable, "-P", "-m", "build", "--no-isolation", "--outdir", out)
    for kind in ("--sdist", "--wheel"):
        run(*build, kind, ROOT, cwd=out)
    return out


def modules() -> set[str]:
    """All code of the product, as `penstock/…`. Through the links: this is what imports see."""
    files = {PACKAGE / "__init__.py", PACKAGE / "py.typed"}
    for layer in ("protocol", "storage", "server"):
        files |= {path for path in (PACKAGE / layer).rglob("*") if path.is_file()}
    wanted = {path for path in files if path.name != "ruff.toml" and not CACHES & {*path.parts}}
    return {path.relative_to(PACKAGE.parent).as_posix() for path in wanted}


@pytest.mark.slow
def test_the_wheel_holds_the_whole_package_and_nothing_else(built: Path) -> None:
    with zipfile.ZipFile(built / f"{NAME}-py3-none-any.whl") as wheel:
        names = {name for name in wheel.namelist() if not name.endswith("/")}
    package = {name for name in names if name.startswith("penstock/")}
    assert package == modules()
    assert {name.split("/")[0] for name in names} == {"penstock", f"{NAME}.dist-info"}
    assert f"{NAME}.dist-info/licenses/LICENSE" in names


@pytest.mark.slow
def test_the_sdist_holds_code_tests_and_documents(built: Path) -> None:
    with tarfile.open(built / f"{NAME}.tar.gz") as sdist:
        members = sdist.getmembers()
    assert all(member.isfile() or member.isdir() for member in members), "a link would point nowhere"
    names = {member.name.removeprefix(f"{NAME}/") for member in members}
    assert {f"src/{name}" for name in modules()} <= names
    assert {"LICENSE", "README.md", "Makefile", "constraints.txt", "docs/settings.md"} <= names
    assert "tests/test_packaging.py" in names
    assert not [name for name in names if "__pycache__" in name or ".venv" in name]


@pytest.fixture(
    scope="session", params=[f"{NAME}-py3-none-any.whl", f"{NAME}.tar.gz"], ids=["wheel", "sdist"]
)
def installed(request: pytest.FixtureRequest, built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` of a fresh environment with that file installed; the dependencies are borrowed from ours."""
    home = tmp_path_factory.mktemp("fresh")
    python = home / "bin" / "python"
    run(sys.executable, "-m", "venv", "--without-pip", home, cwd=home)
    library = Path(
        run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=home).strip()
    )
    # Read as a plain directory: the `.pth` that makes our checkout importable has no effect from there.
    (library / "borrowed.pth").write_text(sysconfig.get_path("purelib"), encoding="utf-8")
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", python, "install")
    offline = ("--no-index", "--no-deps", "--ignore-installed", "--no-build-isolation")
    run(*pip, *offline, built / request.param, cwd=home)
    where = run(python, "-P", "-c", "import penstock; print(penstock.__file__)", cwd=home)
    assert where.startswith(str(library))
    return python.parent


@pytest.mark.slow
def test_what_is_installed_runs(installed: Path, tmp_path: Path) -> None:
    assert run(installed / "penstock", "--version", cwd=tmp_path) == f"penstock {penstock.__version__}\n"
    with serving([str(installed / "penstock")], cwd=tmp_path) as server:
        for path in ("healthz", ""):
            with DIRECTLY.open(server.url + path, timeout=PATIENCE_S) as answer:
                assert answer.status == 200
    assert (tmp_path / "data" / "lock").exists()


# What watches over the suite itself


@pytest.mark.slow
def test_a_second_copy_of_a_package_fails_the_run(tmp_path: Path) -> None:
    test = tmp_path / "test_one.py"
    pytest_ = (
        sys.executable,
        "-P",
        "-m",
        "pytest",
        "-q",
        "-p",
        "tests.conftest",
        "-c",
        ROOT / "pyproject.toml",
    )
    for source, outcome in (("import penstock.server", 0), ("import server", 1)):
        test.write_text(f"{source}\ndef test_nothing(): pass\n", encoding="utf-8")
        done = subprocess.run(
            [*pytest_, "-p", "no:cacheprovider", test],
            cwd=ROOT,
            env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == outcome, done.stdout + done.stderr
        assert ("imported twice" in done.stdout) is bool(outcome)
