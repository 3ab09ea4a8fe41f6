"""Forced releases: an operator's right, told to the former holder with who and why."""

from .answers import refused
from .conftest import Server, running_server
from .line import events, queue, ticket
from .tenants import ALPHA, Tenants

REASON = {"reason": "the holder has been stuck for an hour"}


async def test_the_former_holder_learns_who_and_why(server: Server):
    ada = (await server.register("Ada"))["agent_id"]
    held = await server.reserve(ada, "src")
    waiting = await queue(server, (await server.register("Bob"))["agent_id"], "src")
    path = f"/api/reservations/{held['id']}/force-release"
    answer = await server.client.post(path, json=REASON)
    assert answer.status_code == 200, answer.text
    assert answer.json()["is_active"] is False
    (released,) = events(server, "reservation.released")
    assert released.data.agent_id == ada
    assert released.data.cause == "forced"
    assert released.data.reason == REASON["reason"]
    assert released.data.by == "a local operator"
    granted = await ticket(server, waiting["ticket_id"])
    assert granted["state"] == "granted"
    token = held["fencing_token"]
    found = (await server.client.get("/api/reservations/fence", params={"token": token})).json()
    assert found["status"] == "superseded"
    assert found["superseded_by"]["held_by"] == "Bob"
    renewal = await server.client.post(
        f"/api/reservations/{held['id']}/renew",
        json={"agent_id": ada, "fencing_token": token},
    )
    assert "Bob" in refused(renewal, 409, "stale_token")["detail"]


async def test_an_operator_that_is_an_agent_is_named(server: Server):
    held = await server.reserve("ada", "src")
    chief = (await server.register("Chief"))["agent_id"]
    path = f"/api/reservations/{held['id']}/force-release"
    answer = await server.client.post(path, json=REASON, headers={"X-Agent-ID": chief})
    assert answer.status_code == 200
    (released,) = events(server, "reservation.released")
    assert (released.data.by, released.actor) == (chief, chief)


async def test_a_reason_is_needed(server: Server):
    held = await server.reserve("ada", "src")
    path = f"/api/reservations/{held['id']}/force-release"
    for body in ({}, {"reason": ""}, {"reason": "  "}, {"reason": None}, {"reason": 1}):
        refused(await server.client.post(path, json=body), 400, "invalid_request")
    assert not (await server.check("src"))["free"]


async def test_only_what_is_held_is_released(server: Server):
    held = await server.reserve("ada", "src")
    await server.release("ada", held["id"])
    path = f"/api/reservations/{held['id']}/force-release"
    refused(await server.client.post(path, json=REASON), 404, "reservation_not_found")


async def test_it_takes_an_operator(tmp_path, tenants: Tenants):
    async with running_server(tmp_path) as server:
        server.client.headers["Authorization"] = f"Bearer {tenants.a}"
        held = await server.reserve("ada", "src")
        path = f"/api/reservations/{held['id']}/force-release"
        # Local callers need a key here, so being local makes nobody an operator.
        hop = {"X-Forwarded-For": "192.0.2.1"}
        for headers in ({}, hop):
            answer = await server.client.post(path, json=REASON, headers=headers)
            refused(answer, 403, "operator_required")
        assert not (await server.check("src"))["free"]
        operator = {**hop, **tenants.headers("operator")}
        assert (await server.client.post(path, json=REASON, headers=operator)).status_code == 200
        (released,) = events(server, "reservation.released", project=ALPHA)
        assert released.data.by.startswith("key ")
