"""Patterns made to be slow, over HTTP: a bounded amount of work, and nothing half done."""

import pytest

from intermute.domain import limits

from .answers import refused
from .conftest import Server

# Compared as wholes, because each means more patterns than are filed one by one.
SLOWEST = "{{*a,b*/,**/}}{{*a,b*/,**/}}{{*a,b*/,**/}}{{*a,b*/,**/}}{}?"
ALIKE = ("?_{}_?", "**/m{}/*")
# One step is counted as so much at least, and some steps belong to what is done anyway.
STEPS_MAX = limits.PATTERN_WORK_MAX // 1_000 * 3


def like(shape: str, first: int, count: int) -> list[str]:
    return [shape.format(number) for number in range(first, first + count)]


async def held_by_many(server: Server, shape: str, agents: int, each: int) -> None:
    for number in range(agents):
        body = {
            "agent_id": f"agent{number}",
            "patterns": like(shape, 1_000 + number * each, each),
            "mode": "shared",
        }
        response = await server.client.post("/api/reservations", json=body)
        assert response.status_code == 201


async def test_what_would_take_too_long_is_refused(server: Server, steps: list[int]):
    await held_by_many(server, SLOWEST, 2, 150)
    patterns = like(SLOWEST, 5_000, 150)
    for members in ({}, {"queue": True}, {"wait_seconds": 1}):
        steps[0] = 0
        body = {"agent_id": "mallory", "patterns": patterns, **members}
        response = await server.client.post("/api/reservations", json=body)
        problem = refused(response, 429, "limit_reached")
        assert "send fewer of them" in problem["detail"]
        assert steps[0] < STEPS_MAX
    # Nothing is held of it, and nobody else was touched.
    assert (await server.check("**"))["total"] == 2
    await server.reserve("eve", "src/auth/*.py")


async def test_a_batch_costs_no_more_than_one_request_may(server: Server, steps: list[int]):
    await held_by_many(server, SLOWEST, 2, 150)
    mine = await server.reserve("eve", "src/auth/*.py")
    steps[0] = 0
    commands: list[dict[str, object]] = [
        {
            "method": method,
            "params": {"agent_id": "mallory", word: like(SLOWEST, 5_000 + 200 * n, 150)},
        }
        for n in range(4)
        for method, word in (
            ("reservations.create", "patterns"),
            ("reservations.check", "pattern"),
        )
    ]
    commands.append(
        {
            "method": "reservations.release",
            "params": {"agent_id": "eve", "reservation_id": mine["id"]},
        }
    )
    response = await server.client.post("/api/batch", json={"commands": commands})
    *slow, released = response.json()["results"]
    assert {result["body"]["error"] for result in slow} == {"limit_reached"}
    assert "by itself" in slow[-1]["body"]["detail"]
    assert released["status"] == 200
    assert steps[0] < STEPS_MAX


@pytest.mark.parametrize("shape", ALIKE)
async def test_patterns_alike_are_decided_in_few_steps(
    server: Server, steps: list[int], shape: str
):
    """As many as fit into a request, against a thousand that others hold."""
    await held_by_many(server, shape, 5, 200)
    steps[0] = 0
    body = {"agent_id": "ada", "patterns": like(shape, 5_000, 256)}
    response = await server.client.post("/api/reservations", json=body)
    assert response.status_code == 201
    assert steps[0] < 40_000, "pair by pair it would be millions"
