"""The command line: what it prints, what it leaves behind, how it ends."""

import hashlib
import os
import re
import stat
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from intermute import __version__
from intermute.cli.main import main
from intermute.web import keys

KEY = re.compile(r"imk_[A-Za-z0-9]{8,12}_[A-Za-z0-9_-]{43}")
SERVE_OPTIONS = (
    *("--host", "--port", "--db", "--socket", "--keys-file", "--allowed-host", "--trusted-proxy"),
    *("--commit", "--patterns-per-agent", "--require-agent-tokens", "--log-level"),
)


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Commands run in a folder of their own, so that a default name lands there."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("INTERMUTE_KEYS_FILE", raising=False)
    return tmp_path


def run(*arguments: str, env: dict[str, str] | None = None) -> Result:
    return CliRunner().invoke(main, arguments, env=env)


def made(result: Result) -> str:
    """The key that `init` printed."""
    assert result.exit_code == 0, result.output
    key = result.stdout.strip()
    assert KEY.fullmatch(key), result.stdout
    return key


def entries(path: Path, project: str) -> list[dict]:
    return yaml.safe_load(path.read_text())["projects"][project]["keys"]


def test_bare_intermute_prints_help():
    result = run()
    assert result.exit_code == 0
    assert result.stdout.startswith("Usage:")
    for command in ("serve", "init"):
        assert command in result.stdout


@pytest.mark.parametrize("option", ["--help", "-h"])
def test_help_is_printed(option: str):
    assert run(option).stdout == run().stdout
    serve = run("serve", option)
    assert serve.exit_code == 0
    for name in SERVE_OPTIONS:
        assert name in serve.stdout
    for default in ("127.0.0.1", "7338"):
        assert default in serve.stdout


def test_version_is_printed():
    result = run("--version")
    assert result.exit_code == 0
    assert __version__ in result.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ("nothing",),
        ("--nothing",),
        ("init",),
        ("init", "--project"),
        ("init", "--project", "p", "extra"),
        ("init", "--project", "p", "--expires-days", "0"),
        ("init", "--project", " "),
        ("init", "--project", "p" * 201),
        ("init", "--project", "a\x1bb"),
        ("serve", "--port", "x"),
        ("serve", "--port", "65536"),
        ("serve", "--commit", "never"),
        ("serve", "--patterns-per-agent", "0"),
        ("serve", "--log-level", "loud"),
        ("serve", "--nothing"),
    ],
)
def test_wrong_usage_ends_with_2_and_leaves_nothing(empty_folder: Path, arguments: tuple[str, ...]):
    result = run(*arguments)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert "Error:" in result.stderr
    assert "Traceback" not in result.stderr
    assert list(empty_folder.iterdir()) == []


def test_init_prints_the_key_once_and_keeps_its_hash(empty_folder: Path):
    result = run("init", "--project", "alpha")
    key, path = made(result), empty_folder / "intermute.keys.yaml"
    assert key not in result.stderr
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert key not in path.read_text()
    assert key.rsplit("_", 1)[1] not in path.read_text()
    (entry,) = entries(path, "alpha")
    assert entry["sha256"] == hashlib.sha256(key.encode()).hexdigest()
    document = yaml.safe_load(path.read_text())
    assert document["default_policy"]["allow_localhost_without_auth"] is True
    match = keys.load(path).find(key, now_s=0)
    assert match is not None
    assert match.project == "alpha"
    assert match.rights == frozenset()


def test_init_twice_gives_two_keys_that_both_work(empty_folder: Path):
    path = empty_folder / "k.yaml"
    made_keys = [made(run("init", "--project", "alpha", "--keys-file", str(path))) for _ in "ab"]
    made_keys.append(made(run("init", "--project", " alpha ", "--keys-file", str(path))))
    assert len(set(made_keys)) == 3
    keyring = keys.load(path)
    for key in made_keys:
        match = keyring.find(key, now_s=0)
        assert match is not None
        assert match.project == "alpha"
    assert len(entries(path, "alpha")) == 3


def test_init_keeps_what_it_does_not_know(empty_folder: Path):
    path = empty_folder / "intermute.keys.yaml"
    path.write_text(
        "version: 7\n"
        "default_policy: {allow_localhost_without_auth: false, other: [1, 2]}\n"
        "projects:\n"
        "  alpha: {note: mine, keys: [clear-text-key-of-an-older-file]}\n"
        "  beta: {keys: []}\n"
        "extra: {a: {b: c}}\n"
    )
    path.chmod(0o644)
    key = made(run("init", "--project", "alpha"))
    document = yaml.safe_load(path.read_text())
    assert document["version"] == 7
    assert document["extra"] == {"a": {"b": "c"}}
    assert document["default_policy"] == {"allow_localhost_without_auth": False, "other": [1, 2]}
    assert document["projects"]["alpha"]["note"] == "mine"
    assert document["projects"]["beta"] == {"keys": []}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    keyring = keys.load(path)
    for each in (key, "clear-text-key-of-an-older-file"):
        assert keyring.find(each, now_s=0).project == "alpha"


def test_the_keys_file_is_named_by_the_environment(empty_folder: Path):
    path = empty_folder / "elsewhere.yaml"
    key = made(run("init", "--project", "alpha", env={"INTERMUTE_KEYS_FILE": str(path)}))
    assert keys.load(path).find(key, now_s=0).project == "alpha"
    assert [each.name for each in empty_folder.iterdir()] == ["elsewhere.yaml"]


def test_the_option_is_stronger_than_the_environment(empty_folder: Path):
    environment = {"INTERMUTE_KEYS_FILE": str(empty_folder / "no.yaml")}
    made(run("init", "--project", "alpha", "--keys-file", "yes.yaml", env=environment))
    assert [each.name for each in empty_folder.iterdir()] == ["yes.yaml"]


def test_a_key_may_be_an_operators_and_may_end(empty_folder: Path):
    path = empty_folder / "intermute.keys.yaml"
    key = made(run("init", "--project", "alpha", "--operator", "--expires-days", "2"))
    now_s = datetime.now(UTC).timestamp()
    match = keys.load(path).find(key, now_s=now_s)
    assert match is not None
    assert match.rights == {"operator"}
    assert keys.load(path).find(key, now_s=now_s + 3 * 86_400) is None


@pytest.mark.parametrize(
    "project", ["/home/me/repo", "a b", "\u00e4\u00f6", "p: {x}", "'", "1", "null"]
)
def test_any_name_of_a_project_can_have_a_key(empty_folder: Path, project: str):
    key = made(run("init", "--project", project))
    assert keys.load(empty_folder / "intermute.keys.yaml").find(key, now_s=0).project == project


@pytest.mark.parametrize(
    "content", ["projects: [", "- a", "projects: {a: {keys: ['s3cret', 's3cret'"]
)
def test_a_broken_keys_file_ends_with_1_and_stays_as_it_is(empty_folder: Path, content: str):
    path = empty_folder / "intermute.keys.yaml"
    path.write_text(content)
    result = run("init", "--project", "alpha")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert "intermute.keys.yaml" in result.stderr
    assert "s3cret" not in result.stderr
    assert path.read_text() == content


def test_a_keys_file_that_cannot_be_made_ends_with_1(empty_folder: Path):
    result = run("init", "--project", "alpha", "--keys-file", str(empty_folder / "no" / "k.yaml"))
    assert result.exit_code == 1
    assert "k.yaml" in result.stderr
    assert "Traceback" not in result.stderr


def command(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """The installed command, in a process of its own."""
    script = Path(sys.executable).with_name("intermute")
    environment = {name: text for name, text in os.environ.items() if "INTERMUTE" not in name}
    return subprocess.run(
        [str(script), *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=environment,
        timeout=60,
        check=False,
    )


def test_the_installed_command_is_this_one(empty_folder: Path):
    bare = command()
    assert bare.returncode == 0
    assert bare.stdout.startswith("Usage: intermute")
    assert bare.stderr == ""
    wrong = command("nothing")
    assert wrong.returncode == 2
    assert wrong.stdout == ""
    assert __version__ in command("--version").stdout


def test_keys_made_at_the_same_time_are_all_kept(empty_folder: Path):
    script = Path(sys.executable).with_name("intermute")
    running = [
        subprocess.Popen(
            [str(script), "init", "--project", "alpha", "--keys-file", "k.yaml"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        for _ in range(2)
    ]
    printed = [process.communicate(timeout=60)[0].strip() for process in running]
    assert [process.returncode for process in running] == [0] * 2
    keyring = keys.load(empty_folder / "k.yaml")
    assert all(keyring.find(key, now_s=0) for key in printed)
    assert len(entries(empty_folder / "k.yaml", "alpha")) == 2
    assert [each.name for each in empty_folder.iterdir()] == ["k.yaml"]
