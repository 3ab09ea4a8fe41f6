"""A server with one project on a disk that fails: its breaker, its reads and feeds, and the others.

Over HTTP and WebSockets, on the real application.
"""

import apsw
import pytest
import trio

from intermute.domain import limits
from intermute.project import directory
from intermute.project.directory import project_tag

from ..e2e.answers import refused
from ..e2e.conftest import ShiftedClock, running_server
from ..e2e.listening import listening
from .disk import How, faulty_disk

SICK = "sick"
WELL = "well"
TAG = project_tag(SICK)
OPEN_S = limits.BREAKER_OPEN_MS / 1000
# How the disk fails, and the word for it.
KINDS = {
    "failing sync": (("sync",), apsw.IOError, How.BEFORE, "io_error"),
    "sync that fails although done": (("sync",), apsw.IOError, How.AFTER, "io_error"),
    "torn write": (("write",), apsw.IOError, How.PART, "io_error"),
    "torn write, unsaid": (("write",), apsw.IOError, How.UNSAID, "io_error"),
    "full": (("write",), apsw.FullError, How.BEFORE, "full"),
}


@pytest.fixture
def clock(monkeypatch):
    shifted = ShiftedClock()
    monkeypatch.setattr(directory, "SystemClock", lambda: shifted)
    return shifted


@pytest.fixture
async def served(folder, clock):
    """A server on a faulty disk, in which both projects have something."""
    with faulty_disk() as disk:
        async with running_server(folder) as server:
            for project in (SICK, WELL):
                await server.reserve("ada", "held", project=project)
            yield server, disk


async def write(server, path, project=SICK, key=None):
    body = {"agent_id": "ada", "patterns": [path], "project": project}
    headers = {"X-Agent-ID": "ada"} | ({"Idempotency-Key": key} if key else {})
    return await server.client.post("/api/reservations", json=body, headers=headers)


async def breaker(server):
    """What `/ready` says of the project that fails."""
    response = await server.client.get("/ready")
    (found,) = (each for each in response.json()["projects"] if each["tag"] == TAG)
    assert (response.status_code == 200) is found["ready"]
    return found


async def reads_go_on(server):
    """The rows, the checks and the inbox are as they were at the last commit."""
    for path in ("/api/reservations", "/api/inbox/ada", "/api/agents"):
        response = await server.client.get(path, params={"project": SICK})
        assert response.status_code == 200, response.text
    found = await server.check("held", project=SICK)
    assert len(found["conflicts"]) == 1


async def the_others_go_on(server, path):
    assert (await write(server, path, WELL)).status_code == 201
    reservations = await server.client.get("/api/reservations", params={"project": WELL})
    assert reservations.status_code == 200


@pytest.mark.parametrize("name", KINDS)
async def test_the_breaker_opens_and_closes_as_it_is_written(served, clock, name):
    server, disk = served
    only, error, how, word = KINDS[name]
    async with listening(server, project=SICK, since_cursor=0) as feed:
        (first,) = await feed.events(1)
        disk.arm(1, for_good=True, error=error, only=only, how=how, where=TAG)
        for number in range(limits.BREAKER_FAULTS_MAX):
            assert (await breaker(server))["breaker"] == "closed"
            response = await write(server, f"new{number}", key=f"k{number}")
            members = refused(response, 503, "storage_unavailable")
            assert members["outcome"] == "unknown"
            assert int(response.headers["Retry-After"]) >= 1
            await reads_go_on(server)
            await the_others_go_on(server, f"new{number}")
        found = await breaker(server)
        assert (found["breaker"], found["last_fault"]) == ("open", word)
        before = disk.steps
        response = await write(server, "new0", key="k0")
        assert refused(response, 503, "storage_unavailable")["outcome"] == "not_done"
        assert 1 <= int(response.headers["Retry-After"]) <= OPEN_S
        assert disk.steps == before, "the disk is left alone"
        await reads_go_on(server)
        async with listening(server, project=SICK, since_cursor=0) as late:
            assert await late.events(1) == [first], "feeds begin and go on as they would"
        clock.advance(OPEN_S)
        response = await write(server, "new0", key="k0")
        assert refused(response, 503, "storage_unavailable")["outcome"] == "unknown", "a probe"
        assert (await breaker(server))["breaker"] == "open"
        await the_others_go_on(server, "probed")
        disk.disarm()
        clock.advance(OPEN_S)
        response = await write(server, "new0", key="k0")
        assert response.status_code in (200, 201), response.text
        found = await breaker(server)
        assert (found["breaker"], found["ready"]) == ("closed", True)
        heard = await feed.until(response.json()["cursor"])
        told = [event["data"]["patterns"] for event in heard]
        assert told.count(["new0"]) == 1, "asked often, done once"


async def test_a_failing_read_is_said_and_passes(served, clock):
    """The cache answers most reads; one that needs the disk is told that it fails, and no more."""
    server, disk = served
    server.client.headers["X-Agent-ID"] = "ada"
    disk.arm(1, for_good=True, only=("read", "size", "open"), where=TAG)
    for number in range(3):
        response = await server.client.get("/api/reservations", params={"project": SICK})
        if response.status_code != 200:
            refused(response, 503, "storage_unavailable")
        await the_others_go_on(server, f"new{number}")
    disk.disarm()
    await reads_go_on(server)


async def test_a_file_that_cannot_be_opened_is_tried_again(folder, clock):
    """The reason is told, the others are served, and the next request after it heals succeeds."""
    with faulty_disk() as disk:
        async with running_server(folder) as server:
            for project in (SICK, WELL):
                await server.reserve("ada", "held", project=project)
        disk.arm(1, for_good=True, error=apsw.CantOpenError, only=("open",), where=TAG)
        async with running_server(folder) as server:
            response = await write(server, "new")
            members = refused(response, 503, "project_unavailable")
            assert "cannot_open" in members["detail"]
            await the_others_go_on(server, "new")
            disk.disarm()
            for _ in range(200):
                response = await write(server, "new")
                if response.status_code == 201:
                    break
                await trio.sleep(0.01)
            assert response.status_code == 201
            await reads_go_on(server)
