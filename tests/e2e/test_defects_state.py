"""Known defects of the former service about what it kept and answered (B45 to B59)."""

import uuid

import httpx
import pytest
import trio

from .answers import refused
from .conftest import Server, ShiftedClock, running_server
from .test_agent_updates import proof
from .test_reservations import listed, post


async def test_b45_what_the_client_got_wrong_is_told_to_it(tmp_path):
    async with running_server(tmp_path, patterns_per_agent_max=10) as server:
        for pattern in ("[", "a[z-b]", "x\\"):
            refused(await post(server, agent="ada", path=pattern), 400, "invalid_pattern")
        complex_pattern = "*a" * 200
        refused(await post(server, agent="ada", path=complex_pattern), 400, "invalid_pattern")
        for number in range(10):
            await server.reserve("ada", str(number))
        members = refused(await post(server, agent="ada", path="more"), 429, "limit_reached")
        assert "release some first" in members["detail"]


async def test_b46_reserve_and_check_mean_the_same_by_default(server: Server):
    await server.reserve("ada", "a", exclusive=False)
    wanted = await post(server, agent="bob", path="a")
    assert wanted.status_code == 409
    assert (await server.check("a"))["free"] is False
    granted = await server.reserve("bob", "a", exclusive=False)
    assert granted["exclusive"] is False
    assert (await server.check("a", exclusive="false"))["free"] is True
    assert (await server.reserve("bob", "b"))["exclusive"] is True


async def test_b47_a_check_can_leave_out_ones_own_and_is_never_null(server: Server):
    await server.reserve("ada", "a")
    assert (await server.check("a", agent="ada"))["conflicts"] == []
    assert len((await server.check("a", agent="bob"))["conflicts"]) == 1
    assert (await server.check("b"))["conflicts"] == []


async def test_b48_a_reservation_can_be_read_and_renewed(server: Server):
    held = await server.reserve("ada", "a", ttl_minutes=1)
    url = f"/api/reservations/{held['id']}"
    assert (await server.client.get(url)).json() == held
    renewed = await server.client.post(
        f"{url}/renew", json={"ttl_minutes": 60}, headers={"X-Agent-ID": "ada"}
    )
    assert renewed.status_code == 200
    assert renewed.json()["id"] == held["id"]
    assert renewed.json()["expires_at"] > held["expires_at"]


async def test_b48_a_repeated_request_does_not_use_up_the_limit(tmp_path):
    async with running_server(tmp_path, patterns_per_agent_max=2) as server:
        key = {"Idempotency-Key": "k"}
        for _ in range(5):
            assert (await post(server, key, agent="ada", path="a")).status_code == 201
        assert len(await listed(server)) == 1
        await server.reserve("ada", "b")


async def test_b48_a_repeated_path_does_not_use_up_the_limit(tmp_path):
    async with running_server(tmp_path, patterns_per_agent_max=2) as server:
        for _ in range(5):
            response = await post(server, agent="ada", path="a")
            assert response.status_code == 201, response.text
        await server.reserve("ada", "b")


async def test_b48_asking_again_for_what_one_holds_renews_it(clock: ShiftedClock, server: Server):
    held = await server.reserve("ada", "a", "b/*", ttl_minutes=10)
    clock.advance(60)
    again = await server.reserve("ada", "b/*", "./a", ttl_minutes=10)
    assert again["id"] == held["id"]
    assert again["created_at"] == held["created_at"]
    assert again["expires_at"] > held["expires_at"]
    shorter = await server.reserve("ada", "a", "b/*", ttl_minutes=1)
    assert shorter["expires_at"] == again["expires_at"], "what was promised is never shortened"
    assert len(await listed(server)) == 1
    others = [
        await server.reserve("ada", "a"),
        await server.reserve("ada", "a", "b/*", shared=True),
        await server.reserve("ada", "a", "b/*", project="other"),
    ]
    assert len({held["id"], *(other["id"] for other in others)}) == 4


async def test_b49_every_lease_that_runs_out_is_announced(clock: ShiftedClock, server: Server):
    held = await server.reserve("ada", "a", ttl_seconds=60)
    alive = await server.register("Bob")
    other = await server.reserve(alive["agent_id"], "b", ttl_seconds=60)
    clock.advance(61)
    await server.client.post(f"/api/agents/{alive['agent_id']}/heartbeat")
    await server.reserve("eve", "a", "b")
    for reservation in (held, other):
        seen = (await server.client.get(f"/api/reservations/{reservation['id']}")).json()
        assert seen["is_active"] is False
        assert "expired_at" in seen
        assert "released_at" not in seen


async def test_b56_parallel_patches_keep_every_key(server: Server):
    ada = await server.register("Ada", metadata={"first": "1"})
    url = f"/api/agents/{ada['agent_id']}/metadata"
    statuses: list[int] = []

    async def patch(number: int) -> None:
        members = {"metadata": {f"key-{number}": str(number)}}
        statuses.append((await server.client.patch(url, json=members)).status_code)

    async with trio.open_nursery() as nursery:
        for number in range(60):
            nursery.start_soon(patch, number)
    assert statuses == [200] * 60
    wanted = {f"key-{number}": str(number) for number in range(60)} | {"first": "1"}
    assert (await server.agent(ada["agent_id"]))["metadata"] == wanted


UNKNOWN_AGENT = (
    ("GET", "", None),
    ("DELETE", "", None),
    ("POST", "/heartbeat", None),
    ("POST", "/heartbeat", {"focus_state": "thinking"}),
    ("PATCH", "/metadata", {"metadata": {"a": "1"}}),
    ("GET", "/policy", None),
    ("POST", "/policy", {"policy": "open"}),
    ("PUT", "/policy", {"live_contact_policy": "open"}),
    ("GET", "/contacts", None),
    ("POST", "/contacts", {"contact_id": "x"}),
    ("DELETE", "/contacts/x", None),
)


async def test_b57_an_unknown_agent_is_the_same_404_everywhere(server: Server):
    ada = await server.register("Ada")
    for unknown in ("nobody", ada["agent_id"][:-1] + "_", "agt_aaaaaaaaaaaa_0", "%25", "a b"):
        bodies = set()
        for method, path, members in UNKNOWN_AGENT:
            response = await server.client.request(
                method, f"/api/agents/{unknown}{path}", json=members
            )
            refused(response, 404, "agent_not_found")
            bodies.add(response.text)
        assert len(bodies) == 1


async def test_b58_a_crashed_agent_comes_back_at_once_with_its_token(server: Server):
    session = str(uuid.uuid4())
    ada = await server.register("Ada", session_id=session)
    held = await server.reserve(ada["agent_id"], "a", headers=proof(ada))
    body = {"session_id": session, "name": "Ada again"}
    response = await server.client.post("/api/agents", json=body)
    members = refused(response, 409, "active_session_conflict")
    assert members["agent_id"] == ada["agent_id"]
    assert "X-Agent-Token" in members["detail"]
    back = await server.client.post("/api/agents", json=body, headers=proof(ada))
    assert back.status_code == 200
    assert back.json()["agent_id"] == ada["agent_id"]
    assert back.json()["resumed"] is True
    assert back.json()["token"] != ada["token"]
    await server.reserve("bob", "a", expected=409)
    response = await server.client.delete(
        f"/api/reservations/{held['id']}", headers=proof(back.json())
    )
    assert response.status_code == 200
    old = await server.client.post(f"/api/agents/{ada['agent_id']}/heartbeat", headers=proof(ada))
    refused(old, 403, "agent_identity_mismatch")


async def test_b58_a_forged_token_does_not_bring_an_agent_back(server: Server):
    session = str(uuid.uuid4())
    ada, eve = await server.register("Ada", session_id=session), await server.register("Eve")
    for headers in (
        {"X-Agent-ID": ada["agent_id"]},
        proof(eve),
        {"X-Agent-ID": ada["agent_id"], "X-Agent-Token": eve["token"]},
    ):
        response = await server.client.post(
            "/api/agents", json={"session_id": session}, headers=headers
        )
        assert response.status_code in (403, 409)
        assert "token" not in response.json()


@pytest.fixture
async def resumed(clock: ShiftedClock, server: Server) -> tuple[dict, httpx.Response, dict]:
    """A session that came back after it was stale: before, the answer, and after."""
    session = str(uuid.uuid4())
    ada = await server.register(
        "Ada", session_id=session, capabilities=["go"], metadata={"a": "1"}, status="busy"
    )
    url = f"/api/agents/{ada['agent_id']}"
    policies = {"policy": "block_all", "live_contact_policy": "open"}
    await server.client.put(f"{url}/policy", json=policies)
    await server.client.post(f"{url}/contacts", json={"contact_id": "bob"})
    before = await server.agent(ada["agent_id"])
    clock.advance(301)
    answer = await server.client.post(
        "/api/agents", json={"session_id": session.upper(), "name": "Ada II", "status": "new"}
    )
    assert answer.status_code == 200, answer.text
    return before, answer, await server.agent(ada["agent_id"])


async def test_b59_a_session_that_comes_back_is_answered_what_is_stored(resumed):
    before, answer, after = resumed
    for name in ("agent_id", "session_id", "name", "project"):
        assert answer.json()[name] == after[name]
    assert after["name"] == "Ada II"
    assert after["status"] == "new"
    assert after["created_at"] == before["created_at"]
    assert after["last_seen"] > before["last_seen"]


async def test_b59_a_session_that_comes_back_keeps_what_it_does_not_give_anew(
    resumed, server: Server
):
    before, _, after = resumed
    for name in ("capabilities", "metadata", "policy", "live_contact_policy"):
        assert after[name] == before[name]
    contacts = await server.client.get(f"/api/agents/{after['agent_id']}/contacts")
    assert contacts.json()["contacts"] == ["bob"]


async def test_b59_a_session_does_not_move_to_another_project(server: Server):
    session = str(uuid.uuid4())
    ada = await server.register("Ada", session_id=session, project="one")
    other = await server.register("Ada", session_id=session, project="two")
    assert other["agent_id"] != ada["agent_id"]
    assert (await server.agent(ada["agent_id"]))["project"] == "one"
    assert (await server.agent(other["agent_id"]))["project"] == "two"
