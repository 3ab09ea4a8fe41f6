"""Requests asked again under their `Idempotency-Key`: one effect, one answer."""

from typing import TYPE_CHECKING

import trio

from intermute.domain import limits

from .answers import place, refused, request_bytes
from .conftest import Server, ShiftedClock, running_server
from .test_reservations import listed, post

if TYPE_CHECKING:
    import httpx

KEY = {"Idempotency-Key": "k-1"}


async def test_a_reservation_asked_again_is_granted_once(server: Server):
    first = await post(server, KEY, agent="ada", path="a")
    again = await post(server, KEY, agent="ada", path="a")
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json() == first.json()
    assert "Idempotency-Replayed" not in first.headers
    assert again.headers["Idempotency-Replayed"] == "true"
    assert place(again) > place(first)
    assert len(await listed(server)) == 1


async def test_without_a_key_every_request_is_decided(server: Server):
    first, second = [await post(server, agent="ada", path=path) for path in ("a", "a/b")]
    assert first.json()["id"] != second.json()["id"]
    again = await post(server, agent="ada", path="a")
    assert "Idempotency-Replayed" not in again.headers
    assert place(again) > place(second) > place(first)


async def test_a_release_asked_again_answers_the_same(server: Server):
    held = await server.reserve("ada", "a")
    url = f"/api/reservations/{held['id']}"
    headers = KEY | {"X-Agent-ID": "ada"}
    first = await server.client.delete(url, headers=headers)
    await server.reserve("bob", "a")
    again = await server.client.delete(url, headers=headers)
    assert (first.status_code, again.status_code) == (200, 200)
    assert again.content == first.content
    await server.reserve("eve", "a", expected=409)


async def test_a_key_used_for_another_request_is_422(server: Server):
    await post(server, KEY, agent="ada", path="a")
    for members in ({"path": "b"}, {"path": "a", "reason": "r"}, {"path": "a", "shared": True}):
        response = await post(server, KEY, agent="ada", **members)
        refused(response, 422, "idempotency_key_reused")
    assert len(await listed(server)) == 1


async def test_the_order_of_members_does_not_matter(server: Server):
    await post(server, KEY, agent="ada", path="a", reason="r")
    again = await post(server, KEY, reason="r", path="a", agent="ada")
    assert again.headers["Idempotency-Replayed"] == "true"


async def test_two_agents_may_use_one_key(server: Server):
    first = await post(server, KEY, agent="ada", path="a")
    second = await post(server, KEY, agent="bob", path="b")
    assert (first.status_code, second.status_code) == (201, 201)
    assert "Idempotency-Replayed" not in second.headers


async def test_two_projects_may_use_one_key(server: Server):
    for project in ("one", "two"):
        answer = await post(server, KEY, agent="ada", path="a", project=project)
        assert answer.json()["project"] == project
        assert "Idempotency-Replayed" not in answer.headers


async def test_a_refusal_is_not_remembered(server: Server):
    held = await server.reserve("ada", "a")
    refused(await post(server, KEY, agent="bob", path="a"), 409, "reservation_conflict")
    await server.release("ada", held["id"])
    granted = await post(server, KEY, agent="bob", path="a")
    assert granted.status_code == 201
    assert "Idempotency-Replayed" not in granted.headers


async def test_a_key_has_a_bounded_length(server: Server):
    for key in ("", "k" * (limits.IDEMPOTENCY_KEY_LEN_MAX + 1)):
        response = await post(server, {"Idempotency-Key": key}, agent="ada", path="a")
        refused(response, 400, "invalid_request")
    longest = {"Idempotency-Key": "k" * limits.IDEMPOTENCY_KEY_LEN_MAX}
    assert (await post(server, longest, agent="ada", path="a")).status_code == 201


async def test_answers_are_remembered_over_a_restart(tmp_path):
    async with running_server(tmp_path) as before:
        first = await post(before, KEY, agent="ada", path="a")
    async with running_server(tmp_path) as after:
        again = await post(after, KEY, agent="ada", path="a")
        assert again.json()["id"] == first.json()["id"]
        assert len(await listed(after)) == 1


async def test_answers_are_remembered_for_a_day(clock: ShiftedClock, server: Server):
    first = await post(server, KEY, agent="ada", path="a")
    clock.advance(24 * 3600)
    again = await post(server, KEY, agent="ada", path="a")
    assert again.json()["id"] == first.json()["id"]
    assert again.headers["Idempotency-Replayed"] == "true"


async def test_the_same_request_many_times_at_once_has_one_effect(server: Server):
    answers: list[httpx.Response] = []

    async def ask() -> None:
        answers.append(await post(server, KEY, agent="ada", path="a"))

    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(ask)
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert sum("Idempotency-Replayed" not in answer.headers for answer in answers) == 1
    assert len(await listed(server)) == 1


async def test_a_client_that_went_away_asks_again_safely(server: Server):
    """The answer was lost, the effect perhaps not; the retry brings the one and not the other."""
    body = b'{"agent": "ada", "path": "a"}'
    for _ in range(5):
        async with await trio.open_tcp_stream("127.0.0.1", server.port) as stream:
            key = ("Idempotency-Key", "k-1")
            await stream.send_all(request_bytes("POST", "/api/reservations", body, (key,)))
    again = await post(server, KEY, agent="ada", path="a")
    assert again.status_code == 201
    assert len(await listed(server)) == 1


async def test_a_retirement_asked_again_answers_the_same_to_its_token_alone(server: Server):
    """The token ended with the agent, and whoever lost the answer has no other."""
    ada = await server.register("Ada")
    url = f"/api/agents/{ada['agent_id']}"
    own = KEY | {"X-Agent-ID": ada["agent_id"], "X-Agent-Token": ada["token"]}
    first, again = [await server.client.delete(url, headers=own) for _ in "ab"]
    assert (first.status_code, again.status_code) == (200, 200)
    assert again.content == first.content
    assert again.headers["Idempotency-Replayed"] == "true"
    wrong = await server.client.delete(url, headers=own | {"X-Agent-Token": ada["token"] + "x"})
    refused(wrong, 403, "agent_identity_mismatch")
    refused(await server.client.delete(url, headers=KEY), 422, "idempotency_key_reused")
