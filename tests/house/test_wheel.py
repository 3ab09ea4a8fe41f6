"""What is shipped works by itself: the wheel, in an empty environment, from an empty folder."""

import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("actors", "intermute")
NEEDED = ("pyproject.toml", "README.md", "LICENSE", *PACKAGES)
HANG_S = 120.0


def run(*command: object, cwd: Path) -> str:
    """Run a command away from the checkout and from its settings."""
    kept = {
        name: text for name, text in os.environ.items() if not name.startswith(("PYTHON", "PIP"))
    }
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=kept | {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=HANG_S,
        check=False,
    )
    assert done.returncode == 0, f"{command}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy so that nothing is left behind in the checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in NEEDED:
        if (ROOT / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
            shutil.copytree(ROOT / name, source / name, ignore=ignored)
        else:
            shutil.copy(ROOT / name, source / name)
    options = ("--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", folder / "out")
    run(sys.executable, "-m", "pip", "wheel", *options, source, cwd=folder)
    (built,) = (folder / "out").iterdir()
    return built


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with the wheel, and the libraries of the running interpreter."""
    folder = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", "--without-pip", folder / "venv", cwd=folder)
    python = folder / "venv" / "bin" / "python"
    # Before the libraries can be seen: among them is the checkout's own editable install.
    install = ("install", "--no-deps", "--no-index", "--quiet", wheel)
    run(sys.executable, "-m", "pip", "--python", python, *install, cwd=folder)
    (site,) = (folder / "venv" / "lib").glob("python*/site-packages")
    # A folder named in a .pth file is searched, but its own .pth files are not followed, so the
    # editable install stays out of reach.
    (site / "libraries.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    return folder / "venv"


def test_the_wheel_holds_the_packages_and_nothing_else(wheel: Path):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == set(PACKAGES)
    wanted = {
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for pattern in ("*.py", "*.sql", "py.typed")
        for path in (ROOT / package).rglob(pattern)
    }
    assert any(name.endswith(".sql") for name in wanted)
    assert wanted <= names
    assert not any(name.endswith((".pyc", ".yaml", ".sqlite3")) for name in names)
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_what_is_installed_is_the_wheel(environment: Path, tmp_path: Path):
    code = "import actors, intermute.app; print(actors.__file__, intermute.app.__file__)"
    printed = run(environment / "bin" / "python", "-c", code, cwd=tmp_path)
    for path in printed.split():
        assert Path(path).is_relative_to(environment), path


@contextmanager
def serving(environment: Path, folder: Path) -> Iterator[tuple["subprocess.Popen[str]", int]]:
    """The installed server in an otherwise empty folder, and its port."""
    kept = {
        name: text
        for name, text in os.environ.items()
        if not name.startswith(("PYTHON", "INTERMUTE"))
    }
    process = subprocess.Popen(
        [str(environment / "bin" / "intermute"), "serve", "--port", "0"],
        cwd=folder,
        env=kept,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    guard = threading.Timer(HANG_S, process.kill)
    guard.start()
    try:
        assert process.stderr is not None
        said = ""
        while (found := re.search(r"listens on http://127\.0\.0\.1:(\d+)", said)) is None:
            line = process.stderr.readline()
            assert line, f"it ended without listening:\n{said}"
            said += line
        yield process, int(found[1])
    finally:
        guard.cancel()
        if process.poll() is None:
            process.kill()
        process.communicate()


def ask(port: int, method: str, path: str, body: object = None) -> tuple[int, dict]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=HANG_S)
    try:
        content = None if body is None else json.dumps(body)
        connection.request(method, path, content, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def test_the_wheel_serves_from_an_empty_folder(environment: Path, tmp_path: Path):
    with serving(environment, tmp_path) as (process, port):
        assert ask(port, "GET", "/health") == (200, {"status": "ok"})
        status, held = ask(port, "POST", "/api/reservations", {"agent": "ada", "path": "src/**"})
        assert (status, held["path_pattern"]) == (201, "src/**")
        status, _ = ask(port, "POST", "/api/reservations", {"agent": "bob", "path": "src/a.py"})
        assert status == 409
        process.send_signal(signal.SIGTERM)
        _, rest = process.communicate(timeout=HANG_S)
        assert process.returncode == 0, rest
    assert {path.name for path in tmp_path.iterdir()} == {"intermute-data", "intermute.keys.yaml"}
    assert not list(tmp_path.rglob("*-wal"))
