"""Settings: which source wins, what is refused and how it is told, and the page that lists them."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from penstock.server.configuration import FIELDS, ConfigurationError, load
from penstock.server.consistency import is_loopback
from penstock.server.presentation import as_text, as_toml, settings_page
from penstock.server.settings import HEADINGS, MIB, Settings

ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def _empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No `penstock.toml` of the developer gets in."""
    monkeypatch.chdir(tmp_path)


def refused(
    overrides: dict[str, object], environ: dict[str, str] | None = None, toml: Path | None = None
) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        load(overrides, environ or {}, toml)
    return caught.value.problems


def one_problem(
    overrides: dict[str, object], environ: dict[str, str] | None = None, toml: Path | None = None
) -> str:
    problems = refused(overrides, environ, toml)
    assert len(problems) == 1, problems
    return problems[0]


# Sources


def test_without_any_source_all_is_default() -> None:
    settings, origins = load({}, {})
    assert settings == Settings()
    assert set(origins.values()) == {"default"}


def test_the_nearer_source_wins(tmp_path: Path) -> None:
    file = tmp_path / "p.toml"
    file.write_text("port = 1\nmax_retries = 2\nfsync = 'never'\n")
    settings, origins = load({"port": "3"}, {"PENSTOCK_PORT": "4", "PENSTOCK_MAX_RETRIES": "5"}, file)
    assert (settings.port, settings.max_retries, settings.fsync) == (3, 5, "never")
    assert origins["port"] == "command line, --port"
    assert origins["max_retries"] == "environment, PENSTOCK_MAX_RETRIES"
    assert origins["fsync"] == str(file)
    assert origins["host"] == "default"


def test_penstock_toml_is_read_where_the_process_starts(tmp_path: Path) -> None:
    (tmp_path / "penstock.toml").write_text("port = 9000")
    settings, origins = load({}, {})
    assert settings.port == 9000
    assert origins["port"] == "penstock.toml"


def test_the_environment_names_a_file_and_the_command_line_another(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text("port = 1")
    (tmp_path / "b.toml").write_text("port = 2")
    assert load({}, {"PENSTOCK_CONFIG": "a.toml"}).settings.port == 1
    assert load({}, {"PENSTOCK_CONFIG": "a.toml"}, Path("b.toml")).settings.port == 2


@pytest.mark.parametrize("environ", [{"PENSTOCK_CONFIG": "gone.toml"}, {"PENSTOCK_CONFIG": "penstock.toml"}])
def test_a_named_file_must_be_there(environ: dict[str, str]) -> None:
    assert "cannot be read (No such file or directory)" in one_problem({}, environ)


def test_a_file_that_is_not_toml_is_named(tmp_path: Path) -> None:
    file = tmp_path / "p.toml"
    file.write_text("port: 8005")
    assert f"{file} is not valid TOML" in one_problem({}, toml=file)
    file.write_bytes(b"host = '\xff'")
    assert f"{file} is not valid TOML" in one_problem({}, toml=file)
    for bomb in ("port = " + "9" * 5000, "port = " + "[" * 10_000):
        file.write_text(bomb)
        assert f"{file} is not valid TOML" in one_problem({}, toml=file)


def test_other_variables_are_not_ours() -> None:
    assert load({}, {"PENSTOCKX": "1", "PORT": "2", "penstock_port": "3"}).settings == Settings()


# Values


def test_text_becomes_the_fields_type() -> None:
    settings = load(
        {"categories": "a, b,,c", "tls_key": "", "data_dir": "/srv/up", "pause_hold_s": "2", "h2c": True},
        {"PENSTOCK_FAST_PATH": "false", "PENSTOCK_ALLOWED_HOSTS": "", "PENSTOCK_PORT": " 80 "},
    ).settings
    assert settings.categories == ("a", "b", "c")
    assert settings.tls_key is None
    assert settings.data_dir == Path("/srv/up")
    assert settings.pause_hold_s == 2.0
    assert settings.h2c is True
    assert settings.fast_path is False
    assert settings.allowed_hosts == ()
    assert settings.port == 80


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("20", 20.0),
        ("0.25", 0.25),
        ("300ms", 0.3),
        ("20s", 20.0),
        (" 1.5 m ", 90.0),
        ("24h", 86400.0),
        ("7d", 604800.0),
    ],
)
def test_a_duration_may_have_a_unit(text: str, seconds: float) -> None:
    assert load({"retention_s": text}, {}).settings.retention_s == seconds
    assert load({}, {"PENSTOCK_RETENTION_S": text}).settings.retention_s == seconds


@pytest.mark.parametrize("text", ["20 sec", "20S", "1h30m", "-1s", "s", "1e3s", ".5s", "0ms"])
def test_another_unit_is_refused_with_what_is_allowed(text: str) -> None:
    assert one_problem({}, {"PENSTOCK_LINGER_S": text}) == (
        f"linger_s (environment, PENSTOCK_LINGER_S): {text!r} is not allowed; "
        "it must be a number above 0, in seconds or with a unit (300ms, 20s, 10m, 24h, 7d)"
    )


@pytest.mark.parametrize("field", ["max_retries", "max_file_bytes", "progress_min_percent"])
def test_only_durations_have_units(field: str) -> None:
    assert f"{field} (command line" in one_problem({field: "20s"})


def test_toml_has_numbers_for_durations(tmp_path: Path) -> None:
    file = tmp_path / "p.toml"
    file.write_text("linger_s = '3s'")
    assert "'3s' is not allowed; it must be a number above 0" in one_problem({}, toml=file)
    file.write_text("linger = 3")
    assert "there is no such setting" in one_problem({}, toml=file)


def test_toml_keeps_its_types(tmp_path: Path) -> None:
    file = tmp_path / "p.toml"
    file.write_text("categories = ['x']\nlinger_s = 3\ndata_dir = 'd'\n")
    settings = load({}, {}, file).settings
    assert (settings.categories, settings.linger_s, settings.data_dir) == (("x",), 3.0, Path("d"))
    file.write_text("port = '8005'")
    problem = one_problem({}, toml=file)
    assert problem == f"port ({file}): '8005' is not allowed; it must be a whole number from 0 to 65535"


@pytest.mark.parametrize(
    ("field", "text", "allowed"),
    [
        ("port", "65536", "a whole number from 0 to 65535"),
        ("port", "80.5", "a whole number from 0 to 65535"),
        ("port", "", "a whole number from 0 to 65535"),
        ("fsync", "always", "one of append, complete, never"),
        ("linger_s", "0", "a number above 0"),
        ("linger_s", "nan", "a number above 0"),
        ("send_timeout_s", "inf", "finite"),
        ("progress_min_percent", "101", "a number from 0 to 100"),
        ("h2c", "perhaps", "true or false"),
        ("max_file_bytes", "-1", "a whole number, at least 0"),
        ("buffer_pool_bytes", "65535", "a whole number, at least 65536"),
        ("max_unsent_bytes", "65535", "a whole number, at least 65536"),
        ("data_dir", "", "a path"),
    ],
)
def test_a_wrong_value_is_told_with_its_origin_and_what_is_allowed(
    field: str, text: str, allowed: str
) -> None:
    variable = FIELDS[field].variable
    problem = one_problem({}, {variable: text})
    assert problem.startswith(f"{field} (environment, {variable}): {text!r} is not allowed; ")
    assert allowed in problem


def test_unknown_names_are_refused_with_the_nearest(tmp_path: Path) -> None:
    file = tmp_path / "p.toml"
    file.write_text("data_dri = 'x'\n[server]\nport = 1\n")
    problems = sorted(refused({}, {"PENSTOCK_PROT": "1"}, file))
    assert problems == [
        "PENSTOCK_PROT (environment): there is no such setting; did you mean PENSTOCK_PORT?",
        f"data_dri ({file}): there is no such setting; did you mean data_dir?",
        f"server ({file}): there is no such setting; `penstock check` lists all settings",
    ]


def test_all_problems_are_told_at_once() -> None:
    assert len(refused({"port": "x", "linger_s": "y"}, {"PENSTOCK_FSYNC": "z"})) == 3


def test_a_wrong_value_is_told_even_if_a_nearer_source_overrides_it() -> None:
    assert "PENSTOCK_PORT" in one_problem({"port": "1"}, {"PENSTOCK_PORT": "x"})


# What fields must be together


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.org", ""])
def test_a_public_address_needs_a_word(host: str) -> None:
    assert "--allow-public" in one_problem({"host": host})
    assert load({"host": host, "allow_public": True}, {}).settings.host == host


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_loopback_needs_none(host: str) -> None:
    assert is_loopback(host)
    assert load({"host": host}, {}).settings.host == host


def test_tls_needs_both_files(tmp_path: Path) -> None:
    (tmp_path / "k.pem").touch()
    assert one_problem({"tls_key": "k.pem"}).startswith("tls_certificate (default): tls_key is set")
    assert one_problem({"tls_certificate": "k.pem"}).startswith("tls_key (default): tls_certificate is set")
    assert "'gone.pem' is not a file" in one_problem({"tls_certificate": "k.pem", "tls_key": "gone.pem"})
    assert load({"tls_certificate": "k.pem", "tls_key": "k.pem"}, {}).settings.tls_key == Path("k.pem")


def test_the_data_directory_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "f").touch()
    assert "is not a directory" in one_problem({"data_dir": "f"})


@pytest.mark.parametrize(
    ("field", "text", "told"),
    [
        ("host", "[::1]", "without brackets"),
        ("categories", "", "the list is empty"),
        ("categories", "Scenic", "'Scenic' is not allowed"),
        ("categories", "_x", "'_x' is not allowed"),
        ("categories", "../x", "'../x' is not allowed"),
        ("categories", "a" * 33, "is not allowed"),
        ("categories", "a,b,a", "'a' is there 2 times"),
        ("allowed_formats", ".mp4", "'.mp4' is not allowed"),
        ("allowed_formats", "video/", "'video/' is not allowed"),
        ("allowed_origins", "example.org", "'example.org' is not an origin"),
        ("allowed_origins", "https://example.org/", "is not an origin"),
        ("allowed_origins", "https://a@example.org", "is not an origin"),
        ("allowed_origins", "https://example.org:x", "is not an origin"),
        ("allowed_origins", "*", "'*' is not an origin"),
        ("allowed_hosts", "https://example.org", "is not a host"),
        ("trusted_proxies", "proxy", "'proxy' is no IP address"),
        ("public_url", "ftp://example.org", "is not allowed"),
        ("public_url", "https://example.org/up", "is not allowed"),
        ("progress_at_least_s", "0.1", "must not be below progress_interval_s (0.5)"),
    ],
)
def test_what_cannot_work_is_refused(field: str, text: str, told: str) -> None:
    problem = one_problem({field: text})
    assert problem.startswith(f"{field} (command line, {FIELDS[field].option}): ")
    assert told in problem


def test_what_can_work_is_taken() -> None:
    given: dict[str, object] = {
        "categories": "a,0-b_c," + "a" * 32,
        "allowed_formats": "mp4,7z,video/*,application/vnd.api+json",
        "allowed_origins": "https://example.org,http://[::1]:3000,null",
        "allowed_hosts": "upload.example.org",
        "trusted_proxies": "10.0.0.1,::1,10.0.0.0/8",
        "public_url": "https://example.org",
    }
    settings = load(given, {}).settings
    assert settings.categories == ("a", "0-b_c", "a" * 32)


# What is shown


def test_the_shown_settings_mean_the_same_again(tmp_path: Path) -> None:
    loaded = load(
        {"categories": "a,b", "public_url": "https://example.org", "buffer_pool_bytes": str(MIB)}, {}
    )
    shown = as_toml(loaded)
    assert tomllib.loads(shown)["buffer_pool_bytes"] == MIB
    (tmp_path / "penstock.toml").write_text(shown)
    assert load({}, {}).settings == loaded.settings


def test_each_value_is_shown_with_its_origin() -> None:
    lines = as_toml(load({"port": "1"}, {})).splitlines()
    assert [line.split() for line in lines if line.startswith("port ")] == [
        ["port", "=", "1", "#", "command", "line,", "--port"]
    ]
    assert any(line.startswith("# tls_key is not set") for line in lines)


def test_defaults_survive_being_text() -> None:
    environ = {field.variable: as_text(field.default) for field in FIELDS.values()}
    assert load({}, environ).settings == Settings()


def test_every_setting_is_described_under_a_heading() -> None:
    assert all(field.description and field.heading for field in FIELDS.values())
    assert set(HEADINGS) <= set(FIELDS)
    assert {field.heading for field in FIELDS.values()} == set(HEADINGS.values())


def test_the_page_is_up_to_date() -> None:
    page = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    assert page == settings_page(), "run `make docs`"
    assert all(f"| `{name}` |" in page for name in FIELDS)
