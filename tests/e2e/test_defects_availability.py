"""Known defects of the former service that took it down: none of them is here (B1 to B13, B29)."""

from functools import partial
from typing import TYPE_CHECKING

import apsw
import pytest
import trio

from intermute import app
from intermute.domain import limits
from intermute.project import directory
from intermute.project.breaker import Breaker
from intermute.storage.writer import Writer

from .answers import refused
from .conftest import Server, ShiftedClock, running_server
from .test_reservations import listed, post

if TYPE_CHECKING:
    import httpx


class Disk:
    """What the disk does when a project commits: nothing wrong, until it is told otherwise."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.error: Exception | None = None
        self._commit = Writer.commit
        monkeypatch.setattr(Writer, "commit", lambda writer: self.commit(writer))

    def commit(self, writer: Writer) -> None:
        if self.error is not None:
            raise self.error
        self._commit(writer)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


async def breaker(server: Server) -> tuple[int, str]:
    """The status of `/ready` and the breaker of the one project in use."""
    response = await server.client.get("/ready")
    (project,) = response.json()["projects"]
    return response.status_code, project["breaker"]


async def test_b01_client_errors_do_not_open_the_breaker(server: Server):
    held = await server.reserve("ada", "a")
    client, released = server.client, f"/api/reservations/{held['id']}"
    for _ in range(6):
        refused(await client.get("/api/agents/nobody"), 404, "agent_not_found")
        refused(await client.post("/api/agents/nobody/heartbeat"), 404, "agent_not_found")
        refused(await post(server, agent="bob", path="a"), 409, "reservation_conflict")
        refused(await post(server, agent="bob", path="["), 400, "invalid_pattern")
        refused(await client.delete(released), 403, "not_the_owner")
        bad_session = {"session_id": "x"}
        refused(await client.post("/api/agents", json=bad_session), 400, "invalid_session_id")
        token = {"X-Agent-ID": "x", "X-Agent-Token": "x"}
        refused(await client.post("/api/agents", json={}, headers=token), 403, IDENTITY)
    assert await breaker(server) == (200, "closed")
    await server.reserve("bob", "b")


IDENTITY = "agent_identity_mismatch"


async def test_b02_a_breaker_that_opened_finds_its_way_back_by_itself(
    clock: ShiftedClock, server: Server, disk: Disk
):
    await server.reserve("ada", "a")
    disk.error = apsw.FullError("disk full")
    for _ in range(limits.BREAKER_FAULTS_MAX):
        refused(await post(server, agent="ada", path="b"), 503, "storage_unavailable")
    assert await breaker(server) == (503, "open")
    clock.advance(30)
    assert (await breaker(server))[1] == "half_open"
    refused(await post(server, agent="ada", path="b"), 503, "storage_unavailable")
    assert (await breaker(server))[1] == "open"
    disk.error = None
    refused(await post(server, agent="ada", path="b"), 503, "storage_unavailable")
    clock.advance(30)
    await server.reserve("ada", "b")
    assert await breaker(server) == (200, "closed")


async def test_b02_a_bug_in_the_probe_does_not_wedge_the_breaker(
    server: Server, disk: Disk, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(directory, "Breaker", partial(Breaker, open_us=0))
    await server.reserve("ada", "a")
    disk.error = apsw.IOError("EIO")
    for _ in range(limits.BREAKER_FAULTS_MAX):
        refused(await post(server, agent="ada", path="b"), 503, "storage_unavailable")
    assert (await breaker(server))[1] == "half_open"
    disk.error = None
    with monkeypatch.context() as patch:
        patch.setattr(Writer, "append", _broken)
        refused(await post(server, agent="ada", path="b"), 500, "internal_error")
    await server.reserve("ada", "b")
    assert await breaker(server) == (200, "closed")


def _broken(writer: Writer, event: object) -> None:
    raise RuntimeError("a bug")


async def test_b03_metadata_can_be_patched_where_there_was_none(server: Server):
    for members in ({}, {"metadata": None}, {"metadata": {}}):
        registered = (await server.client.post("/api/agents", json=members)).json()
        url = f"/api/agents/{registered['agent_id']}/metadata"
        response = await server.client.patch(url, json={"metadata": {"a": "1"}})
        assert response.status_code == 200
        assert response.json()["metadata"] == {"a": "1"}


async def test_b04_an_open_breaker_is_seen_and_reads_go_on(
    clock: ShiftedClock, server: Server, disk: Disk
):
    held = await server.reserve("ada", "a")
    disk.error = apsw.IOError("EIO")
    for _ in range(limits.BREAKER_FAULTS_MAX):
        await post(server, agent="ada", path="b")
    disk.error = None
    response = await server.client.get("/ready")
    assert response.status_code == 503
    assert response.json()["status"] == "degraded"
    assert response.json()["projects"][0]["last_fault"] == "io_error"
    refusal = await post(server, agent="bob", path="b")
    assert refused(refusal, 503, "storage_unavailable")["outcome"] == "not_done"
    assert 1 <= int(refusal.headers["Retry-After"]) <= limits.BREAKER_OPEN_MS / 1000
    assert [each["id"] for each in await listed(server)] == [held["id"]]
    assert (await server.client.get("/api/agents")).status_code == 200
    assert (await server.check("a"))["free"] is False
    await server.reserve("ada", "b", project="another")


async def test_b05_long_paths_can_be_reserved(server: Server):
    deep = "/".join(f"directory-{number:02}" for number in range(40)) + "/module.py"
    assert len(deep) > 500
    await server.reserve("ada", deep)
    await server.reserve("bob", deep.replace("module", "other"))
    await server.reserve("bob", deep.replace("module.py", "*.py"), expected=409)
    longest = "/".join(["x" * 127] * 8)
    assert len(longest) == 1023
    await server.reserve("ada", longest)


async def test_b07_lists_have_a_bound_whatever_is_asked_for(server: Server):
    await server.reserve("ada", "a")
    for path in ("/api/reservations", "/api/agents"):
        response = await server.client.get(path, params={"limit": "999999999"})
        assert response.status_code == 200
        assert response.json()["more"] is False


async def test_b08_requests_do_not_queue_without_limit(tmp_path, monkeypatch: pytest.MonkeyPatch):
    settings = partial(directory.ProjectsSettings, mailbox_len_max=4, batch_len_max=1)
    monkeypatch.setattr(app, "ProjectsSettings", settings)
    async with running_server(tmp_path) as server:
        held = await server.reserve("ada", "a")
        lock = apsw.Connection(str(server.project_file()))
        lock.execute("BEGIN IMMEDIATE")
        answers: list[httpx.Response] = []
        full = trio.Event()

        async def ask(number: int) -> None:
            answer = await post(server, agent="ada", path=str(number))
            answers.append(answer)
            if len(answers) == 5:
                full.set()

        async with trio.open_nursery() as nursery:
            for number in range(10):
                nursery.start_soon(ask, number)
            # One is in the actor's hands and four wait; the others are told so at once.
            await full.wait()
            assert [answer.status_code for answer in answers] == [503] * 5
            seen = await server.client.get(f"/api/reservations/{held['id']}")
            assert seen.status_code == 200
            lock.execute("ROLLBACK")
            lock.close()
        for answer in answers[:5]:
            members = refused(answer, 503, "overloaded")
            assert "nothing was done" in members["detail"]
            assert int(answer.headers["Retry-After"]) >= 1
        assert [answer.status_code for answer in answers[5:]] == [201] * 5


async def test_b13_numbers_beyond_all_bounds_are_no_server_errors(server: Server):
    await server.reserve("ada", "a")
    for number in (2**63, 2**64, 10**30, -1, -(2**63) - 1):
        for path in ("/api/reservations", "/api/agents", "/api/agents/presence"):
            for name in ("cursor", "since_cursor", "limit", "offset"):
                response = await server.client.get(path, params={name: str(number)})
                assert response.status_code == 200, (path, name, number)
    for number in (150_000_000, 200_000_000, 2**62, 2**63 - 1):
        response = await post(server, agent="bob", path="b", ttl_minutes=number)
        refused(response, 400, "invalid_request")
    assert all(each["is_active"] for each in await listed(server))


@pytest.mark.parametrize(
    "error", [apsw.IOError("EIO"), apsw.FullError("full"), apsw.CorruptError("malformed")]
)
async def test_b29_a_storage_fault_grants_nothing(server: Server, disk: Disk, error: Exception):
    held = await server.reserve("ada", "a")
    disk.error = error
    refusal = await post(server, agent="bob", path="b")
    assert refused(refusal, 503, "storage_unavailable")["outcome"] == "unknown"
    conflict = await post(server, agent="bob", path="a")
    assert conflict.status_code in (409, 503)
    release = await server.release("ada", held["id"])
    assert release.status_code == 503
    disk.error = None
    assert (await server.check("b"))["free"] is True
    assert (await server.check("a"))["free"] is False
    assert [each["id"] for each in await listed(server)] == [held["id"]]


async def test_b29_a_locked_file_grants_nothing(server: Server, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(limits, "STORAGE_RETRIES_MAX", 1)
    await server.reserve("ada", "a")
    lock = apsw.Connection(str(server.project_file()))
    lock.execute("BEGIN IMMEDIATE")
    refusal = await post(server, agent="bob", path="b")
    assert refused(refusal, 503, "storage_unavailable")["outcome"] == "not_done"
    assert "busy" in refusal.json()["detail"]
    lock.execute("ROLLBACK")
    lock.close()
    assert (await server.check("b"))["free"] is True
    await server.reserve("bob", "b")


async def test_b29_a_retry_after_an_unknown_outcome_has_one_effect(server: Server, disk: Disk):
    """The commit came through and its answer did not: the key tells, nothing is granted twice."""
    await server.reserve("ada", "before")
    commit, key = disk.commit, {"Idempotency-Key": "k"}

    def commit_then_fail(writer: Writer) -> None:
        commit(writer)
        raise apsw.IOError("the answer of the disk was lost")

    disk.commit = commit_then_fail
    refusal = await post(server, key, agent="ada", path="a")
    assert refused(refusal, 503, "storage_unavailable")["outcome"] == "unknown"
    disk.commit = commit
    again = await post(server, key, agent="ada", path="a")
    assert again.status_code == 201
    assert again.headers["Idempotency-Replayed"] == "true"
    assert len(await listed(server)) == 2
