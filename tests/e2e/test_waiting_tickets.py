"""Tickets: a place in line that needs no open call, and what becomes of it."""

from intermute.domain import limits

from .answers import refused
from .conftest import Server, ShiftedClock, running_server
from .line import events, queue, ticket, tickets, until_ended

CONFIRM_S = limits.CONFIRM_MS / 1000


async def confirm(server: Server, ticket_id: str, agent_id: str):
    return await server.client.post(
        f"/api/reservations/tickets/{ticket_id}/confirm", headers={"X-Agent-ID": agent_id}
    )


async def test_a_ticket_tells_its_place_and_who_is_in_the_way(server: Server):
    held = await server.reserve("ada", "src", reason="big change")
    bob = (await server.register("Bob"))["agent_id"]
    eve = (await server.register("Eve"))["agent_id"]
    first = await queue(server, bob, "src/a.py", reason="small fix", ttl_minutes=5)
    assert first["state"] == "waiting"
    assert first["position"] == 1
    assert first["total"] == 1
    assert first["ttl_seconds"] == 300
    assert first["on_the_line"] is False
    assert first["wait_until"] > first["created_at"]
    (blocker,) = first["blocked_by"]
    assert blocker["reservation_id"] == held["id"]
    assert blocker["fencing_token"] == held["fencing_token"]
    assert blocker["standing"] == "active"
    assert blocker["witness"] == "src/a.py"

    second = await queue(server, eve, "src/*.py", mode="S")
    assert second["position"] == 2
    assert [found["standing"] for found in second["blocked_by"]] == ["active", "waiting"]
    ahead = second["blocked_by"][1]
    assert ahead["ticket_id"] == first["ticket_id"]
    assert ahead["held_by"] == "Bob"
    assert ahead["reason"] == "small fix"
    assert "reservation_id" not in ahead
    assert "fencing_token" not in ahead
    assert await ticket(server, second["ticket_id"]) == second

    listed = await tickets(server)
    assert [each["ticket_id"] for each in listed] == [first["ticket_id"], second["ticket_id"]]
    assert "position" not in listed[0]
    assert [each["agent_id"] for each in await tickets(server, agent=eve)] == [eve]


async def test_a_list_of_tickets_has_pages(server: Server):
    await server.reserve("ada", "src")
    made = []
    for number in range(5):
        agent = (await server.register(f"A{number}"))["agent_id"]
        made.append((await queue(server, agent, "src"))["ticket_id"])
    found, cursor = [], 0
    while True:
        params = {"limit": 2, "cursor": cursor}
        page = (await server.client.get("/api/reservations/tickets", params=params)).json()
        found += [each["ticket_id"] for each in page["tickets"]]
        cursor = page["cursor"]
        if not page["more"]:
            break
    assert found == made


async def test_a_granted_ticket_is_confirmed_and_then_a_lease_in_full(
    server: Server, clock: ShiftedClock
):
    held = await server.reserve("ada", "src")
    bob = (await server.register("Bob"))["agent_id"]
    waiting = await queue(server, bob, "src", ttl_minutes=10)
    refused(await confirm(server, waiting["ticket_id"], bob), 404, "ticket_not_found")
    await server.release("ada", held["id"])
    granted = await ticket(server, waiting["ticket_id"])
    assert granted["state"] == "granted"
    path = f"/api/reservations/{granted['reservation_id']}"
    before = (await server.client.get(path)).json()
    assert before["ticket_id"] == waiting["ticket_id"]
    assert before["confirm_by"] == before["expires_at"]
    refused(await confirm(server, waiting["ticket_id"], "eve"), 403, "not_the_owner")
    answer = await confirm(server, waiting["ticket_id"], bob)
    assert answer.status_code == 200
    confirmed = answer.json()
    assert confirmed["id"] == granted["reservation_id"]
    assert confirmed["ttl_seconds"] == 600
    assert confirmed["expires_at"] > before["expires_at"]
    assert confirmed["fencing_token"] == before["fencing_token"]
    assert "confirm_by" not in confirmed
    clock.advance(CONFIRM_S)
    assert not (await server.check("src"))["free"]


async def test_who_has_gone_silent_is_skipped(server: Server, clock: ShiftedClock):
    held = await server.reserve("ada", "src", ttl_minutes=60)
    silent = (await server.register("Silent"))["agent_id"]
    waiting = await queue(server, silent, "src")
    next_one = (await server.register("Next"))["agent_id"]
    behind = await queue(server, next_one, "src")
    clock.advance(limits.HEARTBEAT_GRACE_MS / 1000)
    beat = await server.client.post(f"/api/agents/{next_one}/heartbeat")
    assert beat.status_code == 200
    await server.release("ada", held["id"])
    assert (await ticket(server, waiting["ticket_id"]))["state"] == "skipped"
    assert (await ticket(server, behind["ticket_id"]))["state"] == "granted"
    (skipped,) = events(server, "reservation.skipped")
    assert (skipped.data.agent_id, skipped.data.cause) == (silent, "gone")


async def test_a_wait_ends_when_its_time_is_over(server: Server, clock: ShiftedClock):
    await server.reserve("ada", "src", ttl_minutes=60)
    bob = (await server.register("Bob"))["agent_id"]
    waiting = await queue(server, bob, "src", queue_seconds=120)
    clock.advance(121)
    await until_ended(server, waiting["ticket_id"], "skipped")
    assert events(server, "reservation.skipped")[0].data.cause == "timeout"


async def test_strangers_cannot_wait_without_a_call(server: Server):
    await server.reserve("ada", "src")
    await server.reserve("nobody", "src", queue=True, expected=404)


async def test_a_restart_keeps_the_line(tmp_path):
    async with running_server(tmp_path) as server:
        held = await server.reserve("ada", "src")
        made = []
        for name in ("Bob", "Eve"):
            agent = (await server.register(name))["agent_id"]
            made.append((await queue(server, agent, "src"))["ticket_id"])
    async with running_server(tmp_path) as server:
        assert [each["ticket_id"] for each in await tickets(server)] == made
        assert (await ticket(server, made[1]))["position"] == 2
        await server.release("ada", held["id"])
        assert (await ticket(server, made[0]))["state"] == "granted"
        assert (await ticket(server, made[1]))["position"] == 1


async def test_a_ticket_of_another_project_or_none_is_404(server: Server):
    await server.reserve("ada", "src")
    waiting = await queue(server, (await server.register("Bob"))["agent_id"], "src")
    forged = waiting["ticket_id"][:-1] + ("0" if waiting["ticket_id"][-1] != "0" else "1")
    for ticket_id in ("none", "tkt_aaaaaaaaaaaa_1", forged):
        path = f"/api/reservations/tickets/{ticket_id}"
        refused(await server.client.get(path), 404, "ticket_not_found")
        refused(await server.client.delete(path), 404, "ticket_not_found")
        refused(await confirm(server, ticket_id, "bob"), 404, "ticket_not_found")


async def test_handing_over_passes_the_line(server: Server):
    held = await server.reserve("ada", "src")
    first = (await server.register("First"))["agent_id"]
    chosen = (await server.register("Chosen"))["agent_id"]
    await queue(server, first, "src")
    waiting = await queue(server, chosen, "src/a.py")
    path = f"/api/reservations/{held['id']}/handover"
    refused(await server.client.post(path, json={"agent_id": "ada"}), 400, "invalid_request")
    refused(
        await server.client.post(path, json={"agent_id": "eve", "to": chosen}),
        403,
        "not_the_owner",
    )
    refused(
        await server.client.post(path, json={"agent_id": "ada", "to": "ada"}),
        409,
        "no_such_waiter",
    )
    answer = await server.client.post(path, json={"agent_id": "ada", "to": chosen})
    assert answer.status_code == 200, answer.text
    assert answer.json()["ticket"]["ticket_id"] == waiting["ticket_id"]
    granted = await ticket(server, waiting["ticket_id"])
    assert granted["state"] == "granted"
    (released,) = events(server, "reservation.released")
    assert (released.data.cause, released.data.successor) == ("handover", chosen)
    assert (await confirm(server, waiting["ticket_id"], chosen)).status_code == 200


async def test_narrowing_lets_others_on(server: Server):
    held = await server.reserve("ada", "src", "docs")
    bob = (await server.register("Bob"))["agent_id"]
    waiting = await queue(server, bob, "docs/guide.md")
    path = f"/api/reservations/{held['id']}"
    refused(await server.client.patch(path, json={"agent_id": "ada"}), 400, "invalid_request")
    wider = {"agent_id": "ada", "patterns": ["src", "lib"]}
    refused(await server.client.patch(path, json=wider), 409, "not_covered")
    kept = {"agent_id": "ada", "patterns": ["src/a.py"]}
    answer = await server.client.patch(path, json=kept)
    assert answer.status_code == 200, answer.text
    assert answer.json()["patterns"] == ["src/a.py"]
    assert answer.json()["fencing_token"] == held["fencing_token"]
    assert (await ticket(server, waiting["ticket_id"]))["state"] == "granted"


async def test_leases_can_live_with_their_agent(server: Server, clock: ShiftedClock):
    ada = (await server.register("Ada"))["agent_id"]
    held = await server.reserve(ada, "src", ttl_minutes=10, renew_on_heartbeat=True)
    assert held["renew_on_heartbeat"] is True
    clock.advance(6 * 60)
    assert (await server.client.post(f"/api/agents/{ada}/heartbeat")).status_code == 200
    clock.advance(6 * 60)
    assert not (await server.check("src"))["free"]
    (renewed,) = events(server, "reservation.renewed")
    assert renewed.data.cause == "heartbeat"
