"""Reservations over the wire: grants, refusals, leases, lists."""

import re
from datetime import datetime, timedelta

import httpx
import pytest

from intermute.domain import limits

from .answers import refused
from .conftest import Server, ShiftedClock, running_server

FIELDS = {
    "id",
    "agent_id",
    "project",
    "path_pattern",
    "exclusive",
    "created_at",
    "expires_at",
    "is_active",
}
INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{0,5}[1-9])?Z")


def lease(reservation: dict) -> timedelta:
    return datetime.fromisoformat(reservation["expires_at"]) - datetime.fromisoformat(
        reservation["created_at"]
    )


async def post(server: Server, headers: dict | None = None, **members: object) -> httpx.Response:
    return await server.client.post("/api/reservations", json=members, headers=headers)


async def listed(server: Server, **params: str) -> list[dict]:
    response = await server.client.get("/api/reservations", params=params)
    assert response.status_code == 200, response.text
    return response.json()["reservations"]


async def test_a_reservation_answers_201_with_its_fields(server: Server):
    response = await post(server, agent_id="ada", path_pattern="src/**", reason="refactoring")
    assert response.status_code == 201
    assert response.headers["content-type"] == "application/json"
    body = response.json()
    assert body.keys() >= FIELDS | {"reason", "patterns", "mode", "ttl_seconds"}
    assert "released_at" not in body
    assert body["agent_id"] == "ada"
    assert body["project"] == "default"
    assert body["path_pattern"] == "src/**"
    assert body["patterns"] == ["src/**"]
    assert body["exclusive"] is True
    assert body["mode"] == "exclusive"
    assert body["reason"] == "refactoring"
    assert body["is_active"] is True
    assert INSTANT.fullmatch(body["created_at"])
    assert INSTANT.fullmatch(body["expires_at"])
    seen = await server.client.get(f"/api/reservations/{body['id']}")
    assert seen.status_code == 200
    assert seen.json() == body
    assert await listed(server) == [body]


async def test_a_reservation_without_a_reason_has_no_reason(server: Server):
    assert "reason" not in await server.reserve("ada", "a")


@pytest.mark.parametrize(
    ("members", "patterns"),
    [
        ({"agent_id": "ada", "path_pattern": "a"}, ["a"]),
        ({"agent": "ada", "path": "a"}, ["a"]),
        ({"agent": "ada", "glob_patterns": ["a/*.py", "b"]}, ["a/*.py", "b"]),
        ({"agent_id": " ada ", "patterns": ["a", "b", "a"]}, ["a", "b"]),
        ({"Agent_ID": "ada", "PATH_PATTERN": "a"}, ["a"]),
        ({"agent": "ada", "path": "a", "glob_patterns": ["b"], "patterns": ["c"]}, ["a", "c", "b"]),
    ],
)
async def test_the_other_names_are_accepted(server: Server, members: dict, patterns: list[str]):
    response = await post(server, **members)
    assert response.status_code == 201, response.text
    assert response.json()["agent_id"] == "ada"
    assert response.json()["patterns"] == patterns
    assert response.json()["path_pattern"] == patterns[0]


@pytest.mark.parametrize(
    ("members", "exclusive"),
    [
        ({}, True),
        ({"exclusive": True}, True),
        ({"exclusive": False}, False),
        ({"shared": True}, False),
        ({"shared": False}, True),
        ({"shared": True, "exclusive": False}, False),
        ({"exclusive": None, "shared": None}, True),
    ],
)
async def test_shared_is_the_opposite_of_exclusive(server: Server, members: dict, exclusive: bool):
    body = await server.reserve("ada", "a", **members)
    assert body["exclusive"] is exclusive
    assert body["mode"] == ("exclusive" if exclusive else "shared")


async def test_shared_and_exclusive_together_is_400(server: Server):
    response = await post(server, agent="a", path="a", shared=True, exclusive=True)
    assert "contradict" in refused(response, 400, "invalid_request")["detail"]


@pytest.mark.parametrize(
    ("members", "wanted"),
    [
        ({}, timedelta(minutes=30)),
        ({"ttl_minutes": 0}, timedelta(minutes=30)),
        ({"ttl_minutes": -5}, timedelta(minutes=30)),
        ({"ttl_minutes": None, "ttl_seconds": None}, timedelta(minutes=30)),
        ({"ttl_minutes": 5}, timedelta(minutes=5)),
        ({"ttl_seconds": 90}, timedelta(seconds=90)),
        ({"ttl_minutes": 1440}, timedelta(hours=24)),
        ({"ttl_minutes": 1441}, timedelta(hours=24)),
        ({"ttl_seconds": 86_401}, timedelta(hours=24)),
        ({"ttl_minutes": 366 * 1440}, timedelta(hours=24)),
    ],
)
async def test_how_long_a_lease_is(server: Server, members: dict, wanted: timedelta):
    body = await server.reserve("ada", "a", **members)
    assert lease(body) == wanted
    assert body["ttl_seconds"] == wanted.total_seconds()
    assert body["is_active"] is True


ABSURD_LEASES = (
    {"ttl_minutes": 200_000_000},
    {"ttl_minutes": 2**63 - 1},
    {"ttl_minutes": -(2**63)},
    {"ttl_seconds": 10**12},
    {"ttl_minutes": 1, "ttl_seconds": 60},
    {"ttl_minutes": "30"},
    {"ttl_minutes": 1.0},
    {"TTL_Minutes": 1.0},
    {"ttl_minutes": 1.5},
    {"ttl_minutes": True},
    {"TTL_Seconds": True},
)


async def test_a_lease_nobody_can_mean_is_400(server: Server):
    for members in ABSURD_LEASES:
        response = await post(server, agent="ada", path="a", **members)
        assert response.status_code == 400, (members, response.text)
        refused(response, 400, "invalid_request")
    assert await listed(server) == []


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({}, "agent_id required"),
        ({"path_pattern": "a"}, "agent_id required"),
        ({"agent_id": "  ", "path_pattern": "a"}, "agent_id required"),
        ({"agent_id": "ada"}, "path_pattern required"),
        ({"agent_id": "ada", "path_pattern": ""}, "path_pattern required"),
        ({"agent_id": "ada", "patterns": []}, "path_pattern required"),
    ],
)
async def test_agent_and_pattern_are_required(server: Server, members: dict, words: str):
    response = await post(server, **members)
    assert words in refused(response, 400, "invalid_request")["detail"]


async def test_a_conflict_says_all_there_is_to_know(server: Server):
    ada = await server.register("Ada")
    held = await server.reserve(ada["agent_id"], "src/**", "docs/a.md", reason="refactoring")
    await server.reserve("eve", "tests/*.py", shared=True)
    response = await post(server, agent="bob", patterns=["tests/a.py", "src/*.py"])
    members = refused(response, 409, "reservation_conflict")
    first, second = members["conflicts"]
    assert (members["total"], members["more"]) == (2, False)
    assert first == {
        "reservation_id": held["id"],
        "standing": "active",
        "fencing_token": held["fencing_token"],
        "agent_id": ada["agent_id"],
        "held_by": "Ada",
        "pattern": "src/**",
        "requested": "src/*.py",
        "exclusive": True,
        "mode": "exclusive",
        "reason": "refactoring",
        "since": held["created_at"],
        "expires_at": held["expires_at"],
        "holder": "live",
        "holder_alive": True,
        "witness": first["witness"],
    }
    assert re.fullmatch(r"src/[^/]*\.py", first["witness"])
    assert second["held_by"] == second["agent_id"] == "eve"
    assert second["mode"] == "shared"
    assert second["exclusive"] is False
    assert second["holder"] == "unregistered"
    assert second["holder_alive"] is False
    assert second["witness"] == "tests/a.py"
    assert "reason" not in second
    for word in ("Ada", "src/**", held["expires_at"], first["witness"], "as number 1", held["id"]):
        assert word in members["detail"]


async def test_a_holder_that_has_been_silent_is_quiet(clock: ShiftedClock, server: Server):
    ada = await server.register("Ada")
    await server.reserve(ada["agent_id"], "a")
    clock.advance(301)
    (conflict,) = refused(await post(server, agent="b", path="a"), 409, "reservation_conflict")[
        "conflicts"
    ]
    assert (conflict["holder"], conflict["holder_alive"]) == ("quiet", False)


async def test_a_refused_request_leaves_nothing_behind(server: Server):
    await server.reserve("ada", "b")
    await server.reserve("bob", "a", "b", "c", expected=409)
    assert (await server.check("a", "c", agent="zoe"))["free"] is True
    await server.reserve("zoe", "a", "c")
    assert len(await listed(server)) == 2


OVERLAPS = (
    ("src/?/b.py", "{src,lib}/a/b.*"),
    ("a/b.py", "*/b*"),
    ("a/b.py", "?/b.*"),
    ("src/**", "src/a/b/c.py"),
    ("src", "src/a.py"),
    ("src/", "src/a/b.py"),
    ("./x//y", "/x/./y"),
    ("**/b.py", "src/[a-c]/**"),
    ("**", "a"),
    ("a/**/z", "a/z"),
    ("{a,b}/{c,d}", "b/c"),
    ("*.test.py", "a.*.py"),
    ("Cafe\u0301/*", "Caf\u00e9/a"),
    ("\\*", "[*]"),
)
DISJOINT = (
    ("src/*.py", "src/*.md"),
    ("src/*.py", "src/a/b.py"),
    ("src", "srcs"),
    ("src/?", "src/ab"),
    ("a/**/z", "b/**/z"),
    ("{a,b}/c", "{c,d}/c"),
    ("[a-c]x", "[!a-c]x"),
    ("A", "a"),
)


async def meets(server: Server, held: str, wanted: str) -> bool:
    """Whether bob is refused what ada's reservation overlaps."""
    first = await server.reserve("ada", held)
    second = await post(server, agent="bob", path=wanted)
    await server.release("ada", first["id"])
    if second.status_code == 201:
        await server.release("bob", second.json()["id"])
        return False
    refused(second, 409, "reservation_conflict")
    return True


async def test_what_overlaps_meets_in_either_order(server: Server):
    pairs = [*OVERLAPS, *((other, one) for one, other in OVERLAPS)]
    missed = [pair for pair in pairs if not await meets(server, *pair)]
    assert missed == []


async def test_what_does_not_overlap_does_not_meet(server: Server):
    pairs = [*DISJOINT, *((other, one) for one, other in DISJOINT)]
    invented = [pair for pair in pairs if await meets(server, *pair)]
    assert invented == []


@pytest.mark.parametrize(
    ("held", "wanted", "status"),
    [(True, True, 409), (True, False, 409), (False, True, 409), (False, False, 201)],
)
async def test_only_shared_and_shared_can_meet(
    server: Server, held: bool, wanted: bool, status: int
):
    await server.reserve("ada", "a/*", exclusive=held)
    await server.reserve("bob", "*/b", exclusive=wanted, expected=status)


async def test_an_agent_never_meets_itself(server: Server):
    first = await server.reserve("ada", "src/**")
    second = await server.reserve("ada", "src/a")
    assert first["id"] != second["id"]
    await server.release("ada", first["id"])
    await server.reserve("bob", "src/a", expected=409)
    await server.reserve("bob", "src/b")


BAD_PATTERNS = (
    ("src/[", 4),
    ("a/../../b", 2),
    ("a\\", 1),
    ("{a", 0),
    ("a\x00", 1),
    ("[z-a]", 1),
    ("/", None),
)


async def test_a_bad_pattern_is_400_with_a_reason_and_a_position(server: Server):
    for pattern, position in BAD_PATTERNS:
        body = {"agent": "a", "patterns": ["ok", pattern]}
        params = {"pattern": ["ok", pattern]}
        for response in (
            await server.client.post("/api/reservations", json=body),
            await server.client.get("/api/reservations/check", params=params),
        ):
            if response.request.method == "POST" and "\x00" in pattern:
                # JSON with a NUL in it is refused before anybody looks for a pattern.
                refused(response, 400, "invalid_request")
                continue
            members = refused(response, 400, "invalid_pattern")
            assert members["pattern"] == pattern
            assert members["pattern_index"] == 1
            assert members["position"] == position
            assert members["reason"]
            assert members["reason"] in members["detail"]
    assert await listed(server) == []


async def test_too_many_patterns_in_one_request_is_400(server: Server):
    many = [f"p/{number}" for number in range(limits.PATTERNS_PER_REQUEST_MAX + 1)]
    refused(await post(server, agent="a", patterns=many), 400, "invalid_request")
    assert (await post(server, agent="a", patterns=many[1:])).status_code == 201


async def test_the_patterns_an_agent_may_hold_are_limited(tmp_path):
    async with running_server(tmp_path, patterns_per_agent_max=3) as server:
        held = await server.reserve("ada", "a", "b")
        response = await post(server, agent="ada", patterns=["c", "d"])
        members = refused(response, 429, "limit_reached")
        assert (members["held"], members["limit"]) == (2, 3)
        await server.reserve("bob", "c", "d", "e")
        await server.release("ada", held["id"])
        await server.reserve("ada", "f", "g", "h")


async def test_a_release_answers_200_and_frees_the_paths(server: Server):
    held = await server.reserve("ada", "a")
    response = await server.release("ada", held["id"])
    assert response.status_code == 200
    seen = (await server.client.get(f"/api/reservations/{held['id']}")).json()
    assert seen["is_active"] is False
    assert INSTANT.fullmatch(seen["released_at"])
    assert await listed(server) == []
    await server.reserve("bob", "a")
    refused(await server.release("ada", held["id"]), 404, "reservation_not_found")


async def test_only_the_holder_may_release_and_renew(server: Server):
    held = await server.reserve("ada", "a")
    url = f"/api/reservations/{held['id']}"
    for headers in ({}, {"X-Agent-ID": "bob"}, {"X-Agent-ID": ""}):
        refused(await server.client.delete(url, headers=headers), 403, "not_the_owner")
        refused(await server.client.post(f"{url}/renew", headers=headers), 403, "not_the_owner")
    assert (await server.client.get(url)).json()["is_active"] is True


async def test_the_acting_agent_of_a_reservation_must_be_the_callers(server: Server):
    response = await post(server, {"X-Agent-ID": "bob"}, agent_id="ada", path="a")
    refused(response, 403, "agent_identity_mismatch")
    assert (await post(server, {"X-Agent-ID": "ada"}, agent_id="ada", path="a")).status_code == 201


async def test_a_renewal_counts_the_lease_anew(clock: ShiftedClock, server: Server):
    held = await server.reserve("ada", "a", ttl_minutes=10)
    url = f"/api/reservations/{held['id']}/renew"
    clock.advance(300)
    by_body = await server.client.post(url, json={"agent_id": "ada"})
    assert by_body.status_code == 200
    assert by_body.json()["created_at"] == held["created_at"]
    assert lease(by_body.json()) - lease(held) >= timedelta(seconds=300)
    longer = await server.client.post(
        url, json={"ttl_seconds": 3600}, headers={"X-Agent-ID": "ada"}
    )
    assert longer.json()["ttl_seconds"] == 3600
    clock.advance(3599)
    assert len((await server.check("a"))["conflicts"]) == 1


async def test_a_lease_that_lapsed_stops_nobody(clock: ShiftedClock, server: Server):
    held = await server.reserve("ada", "a", ttl_seconds=60)
    clock.advance(59)
    assert (await server.check("a"))["free"] is False
    clock.advance(1)
    assert (await server.check("a"))["free"] is True
    await server.reserve("bob", "a")
    seen = (await server.client.get(f"/api/reservations/{held['id']}")).json()
    assert seen["is_active"] is False
    assert "expired_at" in seen
    renewal = await server.client.post(
        f"/api/reservations/{held['id']}/renew", headers={"X-Agent-ID": "ada"}
    )
    refused(renewal, 404, "reservation_not_found")


async def test_a_lapsed_lease_comes_back_while_nobody_took_its_paths(
    clock: ShiftedClock, server: Server
):
    held = await server.reserve("ada", "a", ttl_seconds=60)
    url = f"/api/reservations/{held['id']}/renew"
    clock.advance(61)
    assert (await server.check("a"))["free"] is True
    assert (await server.client.post(url, headers={"X-Agent-ID": "ada"})).status_code == 200
    await server.reserve("bob", "a", expected=409)
    clock.advance(61)
    assert (await server.check("a"))["free"] is True
    clock.advance(300)
    response = await server.client.post(url, headers={"X-Agent-ID": "ada"})
    refused(response, 409, "reservation_lapsed")


async def test_an_expired_reservation_can_still_be_given_back(clock: ShiftedClock, server: Server):
    held = await server.reserve("ada", "a", ttl_seconds=60)
    clock.advance(61)
    assert (await server.release("ada", held["id"])).status_code == 200


async def test_unknown_reservations_are_404(server: Server):
    held = await server.reserve("ada", "a")
    for unknown in (held["id"][:-1] + "!", "nothing", "rsv_aaaaaaaaaaaa_1"):
        url = f"/api/reservations/{unknown}"
        headers = {"X-Agent-ID": "ada"}
        refused(await server.client.get(url), 404, "reservation_not_found")
        refused(await server.client.delete(url, headers=headers), 404, "reservation_not_found")
        refused(
            await server.client.post(f"{url}/renew", headers=headers), 404, "reservation_not_found"
        )


async def test_an_agent_reserves_in_its_own_project_when_it_names_none(server: Server):
    ada = await server.register("Ada", project="garden")
    agent_id, token = ada["agent_id"], {"X-Agent-Token": ada["token"]}
    known = {"X-Agent-ID": agent_id, **token}
    assert (await server.client.post(f"/api/agents/{agent_id}/heartbeat", headers=known)).is_success
    # It has shown its token, so nobody acts in its name without it.
    refused(await post(server, agent_id=agent_id, path_pattern="src"), 403, "agent_token_required")
    held = await server.reserve(agent_id, "src", headers=known)
    assert held["project"] == "garden"
    assert await listed(server, agent=agent_id) == [held]
    plan = {"steps": [{"id": "one", "agent_id": agent_id, "patterns": ["src"]}]}
    mine = {"patterns": ["src"], "agent": agent_id}
    for checked in (
        server.client.get("/api/reservations/check", params={"pattern": "src", "agent": agent_id}),
        server.client.post("/api/reservations/preflight", json=plan),
        server.client.post("/api/reservations/check", json=mine),
    ):
        # What it holds is in the way of others only, and is looked for in its project.
        answer = await checked
        assert (answer.status_code, answer.json().get("conflicts", [])) == (200, [])
    other = await server.reserve("bob", "src", headers={"X-Agent-ID": agent_id}, expected=403)
    assert other["error"] == "agent_identity_mismatch"
    spec = await server.client.post("/api/specs", json={"title": "x"}, headers=known)
    assert (spec.status_code, spec.json()["project"]) == (201, "garden")
    queued = {"agent_id": agent_id, "patterns": ["docs"], "queue": True}
    ticket = await server.client.post("/api/reservations", json=queued, headers=known)
    assert ticket.json()["project"] == "garden"
    released = await server.client.delete(f"/api/reservations/{held['id']}", headers=known)
    assert released.status_code == 200
