"""`intermute reserve`, `renew`, `release`, `wait`, `reservations`; whom they ask, how they end."""

from functools import partial
from pathlib import Path

import pytest
import trio

from intermute import app

from ..e2e.conftest import running_server
from .conftest import Done, Shell

# -- Reserve, renew, release --------------------------------------------------------------------


async def test_paths_are_taken_renewed_listed_and_given_back(shell: Shell):
    done = await shell.run(
        "reserve", "src", "docs/*.md", "--ttl", "15m", "--reason", "why not", agent="ada"
    )
    assert done.out.startswith("Taken: src, docs/*.md\n")
    (held,) = (await shell.server.client.get("/api/reservations")).json()["reservations"]
    assert held["ttl_seconds"] == 900
    assert held["reason"] == "why not"
    assert held["expires_at"] in done.out
    assert done.out.splitlines()[-1] == f"Next: intermute release {held['id']}"
    done = await shell.run("renew", held["id"], "--ttl", "2h", agent="ada")
    assert done.out.startswith("Renewed until ")
    done = await shell.run("reservations")
    assert held["id"] in done.out
    assert "reason: why not" in done.out
    assert (await shell.run("reservations", "--mine", agent="bob")).out == "Nothing is held\n"
    done = await shell.run("release", held["id"], agent="ada")
    assert done.out == "Released: src, docs/*.md\n"
    assert (await shell.run("reservations")).out == "Nothing is held\n"


async def test_all_of_an_agents_are_meant_by_all(shell: Shell):
    await shell.server.reserve("ada", "a")
    await shell.server.reserve("ada", "b")
    await shell.server.reserve("eve", "c")
    assert len((await shell.run("renew", "--all", agent="ada")).out.splitlines()) == 2
    assert len((await shell.run("release", "--all", agent="ada")).out.splitlines()) == 2
    assert (await shell.run("release", "--all", agent="ada")).out == ""
    assert len((await shell.server.check("**"))["conflicts"]) == 1


async def test_what_others_hold_is_not_taken(shell: Shell):
    held = await shell.server.reserve("eve", "src")
    done = await shell.run("reserve", "free", "src/a.py", agent="ada", code=5)
    assert "eve (unregistered) holds src exclusively until" in done.out
    assert done.out.splitlines()[-1] == "Next: intermute wait free src/a.py"
    done = await shell.run("reserve", "src/a.py", "--json", agent="ada", code=5)
    assert done.members["code"] == "reservation_conflict"
    done = await shell.run("release", held["id"], agent="ada", code=1)
    assert "not_the_owner" in done.err
    assert len((await shell.server.check("**"))["conflicts"]) == 1


async def test_too_many_paths_are_not_taken_in_parts(shell: Shell):
    names = "\n".join(f"f{n}" for n in range(257)).encode()
    done = await shell.run("reserve", "-", stdin=names, agent="ada", code=2)
    assert "all or none" in done.err
    assert (await shell.server.check("**"))["free"] is True


async def test_a_lost_lease_is_not_renewed(shell: Shell):
    done = await shell.run("renew", "rsv_none", "--json", agent="ada", code=1)
    assert done.members["status"] == 404
    assert "reservation_not_found" in (await shell.run("renew", "x/y", agent="ada", code=1)).err


# -- Wait ---------------------------------------------------------------------------------------


async def test_a_wait_ends_when_the_path_is_free(shell: Shell):
    held = await shell.server.reserve("eve", "src")
    found: list[Done] = []
    async with trio.open_nursery() as nursery:

        async def wait() -> None:
            found.append(await shell.run("wait", "src/a.py", "--timeout", "10m", agent="ada"))

        nursery.start_soon(wait)
        await shell.in_line()
        await shell.server.release("eve", held["id"])
    assert found[0].out.startswith("Taken: src/a.py\n")
    assert (await shell.server.check("src"))["conflicts"][0]["agent_id"] == "ada"


async def test_a_wait_whose_time_is_over_ends_with_3(shell: Shell):
    await shell.server.reserve("eve", "src")
    done = await shell.run("wait", "src", "--timeout", "0.05", agent="ada", code=3)
    assert "eve (unregistered) holds src" in done.out
    assert "nothing was taken" in done.out
    assert done.out.splitlines()[-1] == "Next: intermute wait src"
    done = await shell.run("wait", "src", "--timeout", "0.05", "--json", agent="ada", code=3)
    assert done.members["code"] == "reservation_conflict"
    assert await shell.tickets() == []


async def test_a_wait_for_what_is_free_is_a_reservation(shell: Shell):
    assert (await shell.run("wait", "src", agent="ada")).out.startswith("Taken: src\n")
    assert (await shell.run("wait", "lib", "--queue", agent="ada")).out.startswith("Taken: lib\n")


async def test_a_place_in_line_is_not_taken_yet(shell: Shell):
    ada = (await shell.server.register("Ada"))["agent_id"]
    held = await shell.server.reserve("eve", "src")
    done = await shell.run("wait", "src", "--queue", "--agent", ada, code=5)
    assert "place 1 in line until" in done.out
    assert "eve (unregistered) holds src" in done.out
    assert done.out.splitlines()[-1] == f"Next: intermute wait --agent {ada} src"
    ticket = done.out.split()[0]
    done = await shell.run("release", ticket, agent=ada)
    assert done.out == "Released: src\n"
    await shell.server.release("eve", held["id"])
    assert (await shell.server.check("src"))["free"] is True


async def test_a_wait_that_would_be_a_deadlock_ends_with_5(shell: Shell):
    ada, bob = [(await shell.server.register(name))["agent_id"] for name in ("Ada", "Bob")]
    await shell.server.reserve(ada, "a")
    await shell.server.reserve(bob, "b")
    await shell.server.reserve(ada, "b", queue=True, expected=202)
    done = await shell.run("wait", "a", agent=bob, code=5)
    assert "deadlock" in done.err
    assert "Bob -> Ada -> Bob" in done.err


# -- Whom and who -------------------------------------------------------------------------------


async def test_the_servers_socket_will_do(tmp_path: Path):
    (tmp_path / "repository").mkdir()
    socket = tmp_path / "s"
    async with running_server(tmp_path, socket=socket) as server:
        shell = Shell(server, tmp_path / "repository")
        await server.reserve("ada", "src")
        done = await shell.run("check", "src", "--socket", str(socket), url="http://x", code=5)
        assert f"Next: intermute wait --socket {socket} src" in done.out


async def test_keys_tokens_and_projects_are_sent_and_never_shown(tmp_path: Path):
    (tmp_path / "repository").mkdir()
    keys = tmp_path / "keys.yaml"
    keys.write_text("default_policy:\n  allow_localhost_without_auth: false\n")
    key = app.make_key(keys, "alpha", operator=False, expires_at=None)
    async with running_server(tmp_path, tokens_required=True) as server:
        shell = Shell(server, tmp_path / "repository")
        server.client.headers["Authorization"] = f"Bearer {key}"
        agent = await server.register("Ada")
        await server.reserve("eve", "src")
        known = {"api_key": key, "agent": agent["agent_id"]}
        done = await shell.run("reserve", "a", code=1, **known)
        assert "agent_token_required" in done.err
        known["registration_token"] = agent["token"]
        await shell.run("reserve", "a", **known)
        await shell.run("reserve", "b", "--project", "alpha", **known)
        await shell.run("reserve", "c", "--project", "beta", code=1, **known)
        options = ("--key", key, "--token", agent["token"])
        done = await shell.run("check", "src", *options, agent=agent["agent_id"], code=5)
        assert key not in done.out
        assert agent["token"] not in done.out
        await shell.run("check", "src", code=1)
        done = await shell.run("check", "src", "--key", "imk_no\x1b", code=2)
        assert "imk_no" not in done.err


async def test_projects_are_told_apart(shell: Shell):
    await shell.server.reserve("ada", "src", project="alpha")
    await shell.run("check", "src")
    await shell.run("check", "src", project="alpha", code=5)
    done = await shell.run("check", "src", "--project", "alpha", code=5)
    assert done.out.splitlines()[-1] == "Next: intermute wait --project alpha src"
    assert "ada" in (await shell.run("reservations", project="alpha")).out


async def test_a_server_that_is_not_there_ends_with_1(shell: Shell):
    for arguments in (("check", "a"), ("reservations",), ("reserve", "a"), ("wait", "a")):
        done = await shell.run(
            *arguments, "--url", "http://127.0.0.1:1", "--json", agent="ada", code=1
        )
        assert "no answer from http://127.0.0.1:1" in done.err
        assert done.out == ""
    await shell.run("check", "a", "--socket", str(shell.repository / "none"), code=1)


async def test_what_is_no_intermute_ends_with_1(shell: Shell):
    async def answer(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.receive_some()
            await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")

    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, answer, 0, host="127.0.0.1"))
        port = listener.socket.getsockname()[1]
        done = await shell.run("check", "a", "--url", f"http://127.0.0.1:{port}", code=1)
        nursery.cancel_scope.cancel()
    assert "is not one of intermute" in done.err


@pytest.mark.parametrize(
    "arguments",
    [
        ("check",),
        ("check", "../x"),
        ("check", "/etc/passwd"),
        ("check", "a", "--mode", "mine"),
        ("check", "a", "--url", "ftp://x"),
        ("check", "a", "--url", "localhost:7338"),
        ("check", "a", "--url", "http://x:port"),
        ("check", "a", "--nothing"),
        ("check", "src/{a"),
        ("check", "-"),
        ("reserve", "a"),
        ("reserve", "a", "--agent", "ada", "--ttl", "soon"),
        ("reserve", "a", "--agent", "ada", "--ttl", "-5"),
        ("reserve", "a", "--agent", "ada", "--ttl", "nan"),
        ("wait", "a", "--agent", "ada", "--timeout", "601"),
        ("wait", "a", "--agent", "ada", "--timeout", "0"),
        ("release", "--agent", "ada"),
        ("release", "rsv_1"),
        ("release", "rsv_1", "--all", "--agent", "ada"),
        ("renew", "--agent", "ada"),
        ("reservations", "--mine"),
        ("reservations", "--limit", "0"),
    ],
)
async def test_wrong_usage_ends_with_2(shell: Shell, arguments: tuple[str, ...]):
    done = await shell.run(*arguments, stdin=b"\xff", code=2)
    assert done.out == ""
    assert "Error: " in done.err


async def test_outside_of_a_repository_paths_are_from_here(shell: Shell, tmp_path: Path):
    await shell.server.reserve("ada", "a")
    outside = Shell(shell.server, tmp_path / "elsewhere")
    outside.repository.mkdir()
    await outside.run("check", "a", code=5)
    done = await outside.run("check", "--staged", code=2)
    assert "git cannot tell what is staged" in done.err
