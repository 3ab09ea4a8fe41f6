"""The real server process: how it starts, stops, fails to start and comes back."""

import os
import signal
import socket
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
import trio

from intermute import app
from intermute.domain.limits import HEARTBEAT_GRACE_MS

from .answers import read_answer, request_bytes
from .processes import Process, client, serve_options, started

JSON = ("Content-Type", "application/json")


def left_behind(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*-wal")) + sorted(
        path.name for path in folder.rglob("*-shm")
    )


async def half_a_request(port: int) -> trio.SocketStream:
    """A reservation of which the server has the headers, and waits for the body."""
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    whole = request_bytes("POST", "/api/reservations", BODY, (("Expect", "100-continue"), JSON))
    await stream.send_all(whole.removesuffix(BODY))
    with trio.fail_after(60):
        assert (await stream.receive_some(4096)).startswith(b"HTTP/1.1 100")
    return stream


BODY = b'{"agent":"ada","path":"in-flight"}'


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_b12_a_signal_ends_the_server_when_its_requests_are_answered(
    tmp_path: Path, number: int
):
    path = tmp_path / "i.sock"
    async with started(serve_options(tmp_path, "--socket", str(path))) as server:
        port = await server.port()
        async with client(port) as http:
            held = await http.post("/api/reservations", json={"agent": "ada", "path": "a"})
            assert held.status_code == 201
        assert path.is_socket()
        async with await half_a_request(port) as stream:
            server.process.send_signal(number)
            await server.wait_for("stopping")
            await stream.send_all(BODY)
            answer = await read_answer(stream)
            assert answer.status_code == 201, answer
        assert await server.exit_code() == 0, server.text
        assert "stopped" in server.lines[-1]
        assert "Traceback" not in server.text
    assert left_behind(tmp_path) == []
    assert not path.exists()
    async with started(serve_options(tmp_path)) as again, client(await again.port()) as http:
        listed = (await http.get("/api/reservations")).json()["reservations"]
        assert {each["path_pattern"] for each in listed} == {"a", "in-flight"}


async def test_an_idle_connection_does_not_hold_up_the_end(tmp_path: Path):
    async with started(serve_options(tmp_path)) as server, client(await server.port()) as http:
        assert (await http.get("/health")).status_code == 200
        async with await trio.open_tcp_stream("127.0.0.1", http.base_url.port):
            assert await server.end(signal.SIGTERM) == 0


async def test_a_second_server_on_the_same_data_is_refused(tmp_path: Path):
    path = tmp_path / "second.sock"
    async with started(serve_options(tmp_path)) as first:
        port = await first.port()
        async with started(serve_options(tmp_path, "--socket", str(path))) as second:
            assert await second.exit_code() == 1
            assert "another intermute server has" in second.text
            assert str(tmp_path / "data") in second.text
            assert "Traceback" not in second.text
        assert not path.exists(), "whoever could not start leaves no socket behind"
        async with client(port) as http:
            assert (await http.get("/health")).status_code == 200


async def refused_start(folder: Path, *options: str) -> str:
    """What a server says that must not start."""
    async with started(serve_options(folder, *options)) as server:
        assert await server.exit_code() == 1, server.text
        assert "Traceback" not in server.text, server.text
        assert "listens on" not in server.text
        return server.text


async def test_a_port_in_use_is_said(tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = await refused_start(tmp_path, "--port", str(port))
    assert f"cannot listen on 127.0.0.1:{port}" in said
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("where", ["file", "file/below"])
async def test_a_data_directory_that_is_a_file_is_said(tmp_path: Path, where: str):
    (tmp_path / "file").write_text("precious")
    said = await refused_start(tmp_path, "--db", str(tmp_path / where))
    assert str(tmp_path / where) in said
    assert "directory" in said.lower()
    assert (tmp_path / "file").read_text() == "precious"


async def test_a_socket_path_that_is_something_else_is_said_and_kept(tmp_path: Path):
    (tmp_path / "file").write_text("precious")
    said = await refused_start(tmp_path, "--socket", str(tmp_path / "file"))
    assert "not a socket" in said
    assert (tmp_path / "file").read_text() == "precious"


async def test_a_keys_file_that_is_broken_is_said_without_its_keys(tmp_path: Path):
    (tmp_path / "keys.yaml").write_text("projects: {a: {keys: ['s3cret', [\n")
    said = await refused_start(tmp_path)
    assert str(tmp_path / "keys.yaml") in said
    assert "s3cret" not in said


async def test_a_stale_socket_is_replaced(tmp_path: Path):
    path = tmp_path / "i.sock"
    async with started(serve_options(tmp_path, "--socket", str(path))) as server:
        await server.port()
        assert await server.end(signal.SIGKILL) == -signal.SIGKILL
    assert path.is_socket()
    async with started(serve_options(tmp_path, "--socket", str(path))) as server:
        await server.port()
        transport = httpx.AsyncHTTPTransport(uds=str(path))
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as http:
            assert (await http.get("/health")).status_code == 200
        assert await server.end(signal.SIGTERM) == 0
    assert not path.exists()


# A server that never looks at the keys file by itself, so that only the signal can have told it.
BLIND = (
    sys.executable,
    "-c",
    "from intermute.domain import limits; limits.KEYS_LOOK_MS = 10**12\n"
    "from intermute.cli.main import main; main()",
)


async def test_sighup_reads_the_keys_again(tmp_path: Path):
    keys_file = tmp_path / "keys.yaml"
    keys_file.write_text("default_policy: {allow_localhost_without_auth: false}\n")
    async with started(serve_options(tmp_path), command=BLIND) as server:
        async with client(await server.port()) as http:
            assert (await http.get("/api/agents")).status_code == 401
            key = app.make_key(keys_file, "alpha", operator=False, expires_at=None)
            headers = {"Authorization": f"Bearer {key}"}
            assert (await http.get("/api/agents", headers=headers)).status_code == 401
            server.process.send_signal(signal.SIGHUP)
            with trio.fail_after(60):
                while (await http.get("/api/agents", headers=headers)).status_code == 401:
                    await trio.lowlevel.checkpoint()
        assert await server.end(signal.SIGTERM) == 0
        assert key not in server.text


async def test_sighup_on_a_broken_keys_file_is_said_and_changes_nothing(tmp_path: Path):
    keys_file = tmp_path / "keys.yaml"
    async with started(serve_options(tmp_path), command=BLIND) as server:
        async with client(await server.port()) as http:
            keys_file.write_text("projects: {a: {keys: ['s3cret', [\n")
            server.process.send_signal(signal.SIGHUP)
            assert (await http.get("/api/agents")).status_code == 200
        # Signals are taken up in their order, so the end comes after the keys.
        assert await server.end(signal.SIGTERM) == 0
        assert str(keys_file) in server.text, server.text
        assert "s3cret" not in server.text


async def test_a_terminal_that_closes_does_not_end_the_server(tmp_path: Path):
    async with started(serve_options(tmp_path)) as server, client(await server.port()) as http:
        for _ in range(3):
            server.process.send_signal(signal.SIGHUP)
        assert (await http.get("/health")).status_code == 200
        assert await server.end(signal.SIGTERM) == 0


async def acknowledged(http: httpx.AsyncClient) -> dict[str, dict]:
    """Some state, each piece of it with the answer that acknowledged it."""
    ada = (await http.post("/api/agents", json={"name": "Ada", "metadata": {"a": "1"}})).json()
    url = f"/api/agents/{ada['agent_id']}"
    await http.patch(f"{url}/metadata", json={"metadata": {"b": "2"}})
    await http.put(f"{url}/policy", json={"policy": "block_all"})
    body = {"agent": ada["agent_id"], "path": "src/**", "ttl_seconds": 30, "reason": "r"}
    held = await http.post("/api/reservations", json=body)
    gone = await http.post("/api/reservations", json={"agent": "bob", "path": "docs"})
    await http.delete(f"/api/reservations/{gone.json()['id']}", headers={"X-Agent-ID": "bob"})
    return {"ada": ada, "held": held.json(), "gone": gone.json()}


async def test_what_was_acknowledged_survives_kill_9(tmp_path: Path):
    async with started(serve_options(tmp_path)) as server, client(await server.port()) as http:
        state = await acknowledged(http)
        assert await server.end(signal.SIGKILL) == -signal.SIGKILL
    came_back_at = datetime.now(UTC)
    async with started(serve_options(tmp_path)) as server, client(await server.port()) as http:
        ada = (await http.get(f"/api/agents/{state['ada']['agent_id']}")).json()
        assert ada["name"] == "Ada"
        assert ada["metadata"] == {"a": "1", "b": "2"}
        assert ada["policy"] == "block_all"
        refused = await http.post("/api/reservations", json={"agent": "bob", "path": "src/a"})
        assert refused.status_code == 409, "the lease is still there"
        assert int(refused.headers["Intermute-Epoch"]) == 2
        held = (await http.get(f"/api/reservations/{state['held']['id']}")).json()
        assert held["is_active"] is True
        assert held["reason"] == "r"
        left = datetime.fromisoformat(held["expires_at"]) - came_back_at
        assert left >= timedelta(milliseconds=HEARTBEAT_GRACE_MS)
        gone = (await http.get(f"/api/reservations/{state['gone']['id']}")).json()
        assert gone["is_active"] is False
        granted = await http.post("/api/reservations", json={"agent": "eve", "path": "docs"})
        assert granted.status_code == 201
        beat = await http.post(
            f"/api/agents/{state['ada']['agent_id']}/heartbeat",
            headers={
                "X-Agent-ID": state["ada"]["agent_id"],
                "X-Agent-Token": state["ada"]["token"],
            },
        )
        assert beat.status_code == 200
        assert await server.end(signal.SIGTERM) == 0
    assert left_behind(tmp_path) == []


# The client leaves the bodies of requests unfinished when the server is killed under it.
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_a_busy_server_killed_at_any_moment_keeps_its_word(tmp_path: Path):
    """Every acknowledged grant is there afterwards, and no path was granted twice."""
    granted: dict[str, str] = {}

    async def take(http: httpx.AsyncClient, server: Process, name: str) -> None:
        for number in range(10_000):
            body = {"agent": name, "path": f"{name}/{number}"}
            try:
                answer = await http.post("/api/reservations", json=body)
            except httpx.TransportError:
                return
            assert answer.status_code == 201
            granted[body["path"]] = answer.json()["id"]
            if len(granted) == 50:
                os.kill(server.process.pid, signal.SIGKILL)

    options = serve_options(tmp_path, "--patterns-per-agent", "100000")
    async with started(options) as server, client(await server.port()) as http:
        async with trio.open_nursery() as nursery:
            for number in range(4):
                nursery.start_soon(take, http, server, f"agent-{number}")
        assert await server.exit_code() == -signal.SIGKILL
    async with started(options) as server, client(await server.port()) as http:
        listed = (await http.get("/api/reservations?limit=1000")).json()["reservations"]
        held = {each["path_pattern"]: each["id"] for each in listed}
        assert len(held) == len(listed)
        assert granted.items() <= held.items()
