"""Resuming: whatever happens to a socket, its reader ends with all events, in order, once."""

import json
import random
from pathlib import Path

import pytest
import trio

from intermute.domain import limits
from intermute.web import conversation

from .conftest import Server, running_server
from .listening import listening


async def lease(server: Server, agent: str, path: str, project: str = "default") -> int:
    """Take something; the cursor of the event."""
    return (await server.reserve(agent, path, project=project))["cursor"]


async def test_all_of_the_past_then_what_comes(server: Server):
    for number in range(5):
        await lease(server, "zoe", f"f{number}")
    async with listening(server, since_cursor=0) as listener:
        assert [frame["cursor"] for frame in await listener.until(5)] == [1, 2, 3, 4, 5]
        await lease(server, "zoe", "more")
        assert (await listener.event())["cursor"] == 6
    async with listening(server, since_cursor=6) as listener:
        await lease(server, "zoe", "even more")
        assert (await listener.event())["cursor"] == 7


async def test_the_past_is_told_as_it_was_told_then(server: Server):
    async with listening(server) as live:
        body = {"from": "zoe", "to": ["ada"], "cc": ["bob"], "bcc": ["eve"], "body": "hi"}
        await server.client.post("/api/messages", json=body)
        first = await lease(server, "zoe", "a")
        held = (await server.client.get("/api/reservations")).json()["reservations"][0]["id"]
        await server.release("zoe", held)
        told = await live.until(first + 1)
    for agent in (None, "eve", "ada"):
        async with listening(server, agent, since_cursor=0) as later:
            again = await later.until(first + 1)
        for one in again:
            one.pop("agent", None)
            if agent == "eve":
                one["data"].pop("bcc", None)
        assert again == told


async def test_a_restart_in_between(tmp_path: Path):
    async with running_server(tmp_path) as server, listening(server) as listener:
        last = await lease(server, "zoe", "a")
        assert (await listener.event())["cursor"] == last
        server.shutdown.set()
        _, reason = await listener.closed()
    after = json.loads(reason)["cursor"]
    async with running_server(tmp_path) as server:
        await lease(server, "zoe", "b")
        async with listening(server, since_cursor=after) as listener:
            await lease(server, "zoe", "c")
            assert [frame["cursor"] for frame in await listener.events(2)] == [last + 1, last + 2]


async def test_an_actor_that_stops_and_starts_in_between(tmp_path: Path):
    """Idle projects are closed; those who listen notice nothing of it."""
    async with running_server(tmp_path, actor_idle_ms=50, actors_live_max=1) as server:
        async with listening(server, project="one") as listener:
            for number in range(4):
                await server.register(f"a{number}", project="one")
                # The only actor there may be is needed for another project now.
                while True:
                    response = await server.client.post("/api/agents", json={"project": "two"})
                    if response.status_code == 200:
                        break
                    assert response.status_code == 503
                    await trio.lowlevel.checkpoint()
            frames = await listener.events(4)
        assert [frame["cursor"] for frame in frames] == [1, 2, 3, 4]


async def test_who_listens_to_a_project_has_it_watched(tmp_path: Path, clock):
    """After a restart nobody asks the project anything, and its leases lapse all the same."""
    async with running_server(tmp_path) as server:
        await lease(server, "zoe", "a")
    async with running_server(tmp_path) as server, listening(server) as listener:
        clock.advance(2 * 24 * 3600)
        assert (await listener.event())["type"] == "reservation.expired"


@pytest.mark.parametrize("seed", range(2))
async def test_sockets_that_drop_at_random_miss_nothing(tmp_path: Path, seed: int):
    """Two projects, load on both, and readers whose connections end at any moment."""
    chance = random.Random(seed)
    total = 80
    async with running_server(tmp_path) as server:
        done = {"one": trio.Event(), "two": trio.Event()}

        async def load(project: str) -> None:
            for number in range(total):
                await lease(server, f"zoe{number}", f"f{number}", project)
                await trio.lowlevel.checkpoint()
            done[project].set()

        async def follow(project: str, agent: str | None, found: list[dict]) -> None:
            while not found or found[-1]["cursor"] < total:
                after = found[-1]["cursor"] if found else 0
                count = chance.randint(0, 25)
                async with listening(
                    server, agent, project=project, since_cursor=after
                ) as listener:
                    while count and (not found or found[-1]["cursor"] < total):
                        found.append(await listener.event())
                        count -= 1
                    # Without a closing handshake, as connections end in life.
                    await listener.stream.aclose()

        readers: list[tuple[str, list[dict]]] = []
        async with trio.open_nursery() as nursery:
            for project in done:
                nursery.start_soon(load, project)
                for agent in (None, None, "ada"):
                    found: list[dict] = []
                    readers.append((project, found))
                    nursery.start_soon(follow, project, agent, found)
    for project, found in readers:
        assert [frame["cursor"] for frame in found] == list(range(1, total + 1))
        assert {frame["project"] for frame in found} == {project}


# -- Slow readers


async def test_a_slow_reader_is_closed_with_4008_and_goes_on_from_its_cursor(
    server: Server, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(limits, "FEED_QUEUE_LEN_MAX", 4)
    monkeypatch.setattr(limits, "FEED_PAGE_MAX", 2)
    monkeypatch.setattr(limits, "FEED_LAG_MAX", 8)
    async with listening(server) as slow:
        await server.register("first")
        assert (await slow.event())["cursor"] == 1
        commands = [
            {"method": "agents.register", "params": {"name": f"a{number}"}} for number in range(50)
        ]
        response = await server.client.post("/api/batch", json={"commands": commands})
        assert {result["status"] for result in response.json()["results"]} == {200}
        code, reason = await slow.closed()
        assert code == conversation.TOO_SLOW
        last = slow.frames.pop()
        assert last == {"type": "feed.lagged", "cursor": json.loads(reason)["cursor"]}
        got = [frame["cursor"] for frame in slow.frames]
        assert last["cursor"] == got[-1]
    async with listening(server, since_cursor=last["cursor"]) as again:
        rest = [frame["cursor"] for frame in await again.until(51)]
    assert [*got, *rest] == list(range(1, 52))


async def test_a_backlog_that_cannot_be_read_closes_with_1013(
    server: Server, monkeypatch: pytest.MonkeyPatch
):
    from intermute.project.messages import StorageUnavailable, WriteOutcome

    def broken(self, name, after):
        raise StorageUnavailable("io_error", outcome=WriteOutcome.NOT_DONE, retry_after_s=1.0)

    await lease(server, "zoe", "a")
    monkeypatch.setattr("intermute.project.directory.Projects._read_log", broken)
    async with listening(server, since_cursor=0) as listener:
        code, reason = await listener.closed()
    assert code == conversation.TRY_AGAIN_LATER
    assert json.loads(reason) == {"cursor": 0}
