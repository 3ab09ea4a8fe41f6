"""Asking a holder for its paths, and what it answers."""

from typing import Any

import httpx
import pytest

from actors import Overloaded
from intermute.domain.commands import SendMessage
from intermute.project.directory import Projects

from .answers import refused
from .conftest import Server
from .line import queue, ticket


async def ask(server: Server, held: dict[str, Any], sender: str, **members: Any) -> httpx.Response:
    body = {"from": sender, "patterns": ["src/a.py"], "note": "for the release", **members}
    return await server.client.post(f"/api/reservations/{held['id']}/request", json=body)


async def answer(server: Server, held: dict[str, Any], request_id: str, **members: Any) -> Any:
    body = {"agent_id": held["agent_id"], "request_id": request_id, **members}
    return await server.client.post(f"/api/reservations/{held['id']}/answer", json=body)


async def mail(server: Server, agent_id: str) -> list[dict[str, Any]]:
    response = await server.client.get(f"/api/inbox/{agent_id}")
    assert response.status_code == 200, response.text
    return response.json()["messages"]


@pytest.fixture
async def ada(server: Server) -> str:
    return (await server.register("Ada"))["agent_id"]


@pytest.fixture
async def bob(server: Server) -> str:
    return (await server.register("Bob"))["agent_id"]


async def test_a_holder_is_asked_by_message(server: Server, ada: str, bob: str):
    held = await server.reserve(ada, "src")
    response = await ask(server, held, bob)
    assert response.status_code == 201, response.text
    asked = response.json()
    assert asked["holder"] == ada
    (message,) = await mail(server, ada)
    assert message["id"] == asked["request_id"]
    assert message["from"] == bob
    assert message["thread_id"] == held["id"]
    assert message["ack_required"] is True
    for word in ("src/a.py", "for the release", f"/api/reservations/{held['id']}/answer"):
        assert word in message["body"]


async def test_release_narrow_and_keep(server: Server, ada: str, bob: str):
    for word, members, kept in (
        ("keep", {}, ["src"]),
        ("narrow", {"patterns": ["src/b.py"]}, ["src/b.py"]),
        ("release", {}, None),
    ):
        held = await server.reserve(ada, "src")
        waiting = await queue(server, bob, "src/a.py")
        request_id = (await ask(server, held, bob)).json()["request_id"]
        response = await answer(server, held, request_id, answer=word, note="there", **members)
        assert response.status_code == 200, response.text
        told = (await mail(server, bob))[-1]
        assert told["id"] == response.json()["message_id"]
        assert told["thread_id"] == held["id"]
        assert word in told["subject"]
        assert "there" in told["body"]
        now = (await server.client.get(f"/api/reservations/{held['id']}")).json()
        assert now["is_active"] is (kept is not None)
        if kept is not None:
            assert now["patterns"] == kept
        state = (await ticket(server, waiting["ticket_id"]))["state"]
        assert state == ("waiting" if word == "keep" else "granted")
        path = f"/api/reservations/tickets/{waiting['ticket_id']}"
        await server.client.delete(path, headers={"X-Agent-ID": bob})
        await server.release(ada, held["id"])


async def test_a_retried_answer_tells_the_asker_once(server: Server, ada: str, bob: str):
    held = await server.reserve(ada, "src")
    request_id = (await ask(server, held, bob)).json()["request_id"]
    body = {"agent_id": ada, "request_id": request_id, "answer": "release"}
    path, key = f"/api/reservations/{held['id']}/answer", {"Idempotency-Key": "k"}
    first, again = [await server.client.post(path, json=body, headers=key) for _ in range(2)]
    assert first.status_code == again.status_code == 200
    assert first.json()["message_id"] == again.json()["message_id"]
    assert len(await mail(server, bob)) == 1


async def test_what_was_done_is_answered_although_the_asker_cannot_be_told(
    server: Server, ada: str, bob: str, monkeypatch: pytest.MonkeyPatch
):
    held = await server.reserve(ada, "src")
    request_id = (await ask(server, held, bob)).json()["request_id"]
    send = Projects.send

    def full(projects: Projects, project: str, asked: Any) -> Any:
        if any(isinstance(each.command, SendMessage) for each in asked):
            raise Overloaded("full")
        return send(projects, project, asked)

    monkeypatch.setattr(Projects, "send", full)
    response = await answer(server, held, request_id, answer="release")
    assert response.status_code == 200, response.text
    assert response.json()["message_id"] is None
    assert response.json()["reservation"]["is_active"] is False


async def test_only_the_one_who_was_asked_answers(server: Server, ada: str, bob: str):
    held = await server.reserve(ada, "src")
    request_id = (await ask(server, held, bob)).json()["request_id"]
    for other in (bob, "stranger"):
        response = await answer(server, held, request_id, answer="release", agent_id=other)
        refused(response, 404, "message_not_found")
    elsewhere = await server.reserve(ada, "docs")
    response = await answer(server, elsewhere, request_id, answer="release")
    refused(response, 404, "message_not_found")


@pytest.mark.parametrize(
    "members",
    [
        {},
        {"answer": "perhaps"},
        {"answer": "narrow"},
        {"answer": "release", "patterns": ["src"]},
        {"answer": "keep", "request_id": ""},
    ],
)
async def test_an_answer_that_makes_no_sense_is_400(server: Server, ada: str, members):
    held = await server.reserve(ada, "src")
    refused(await answer(server, held, **{"request_id": "m", **members}), 400, "invalid_request")


async def test_a_request_that_makes_no_sense_is_refused(server: Server, ada: str, bob: str):
    held = await server.reserve(ada, "src")
    refused(await ask(server, held, ada), 400, "invalid_request")
    refused(await ask(server, held, ""), 400, "invalid_request")
    refused(await ask(server, held, bob, patterns=[]), 400, "invalid_request")
    refused(await ask(server, held, bob, patterns=["src/{a"]), 400, "invalid_pattern")
    await server.release(ada, held["id"])
    refused(await ask(server, held, bob), 404, "reservation_not_found")


async def test_a_batch_of_requests_reads_no_more_patterns_than_one_may(
    server: Server, ada: str, bob: str
):
    held = await server.reserve(ada, "src")
    slow = ["{{a,b}}" * 16 + "a" * 300 + f"{{}}-{n}*" for n in range(40)]
    params = {"reservation_id": held["id"], "from": bob}
    commands = [
        {
            "method": "reservations.request",
            "params": {**params, "patterns": [text.format(n) for text in slow]},
        }
        for n in range(6)
    ]
    response = await server.client.post("/api/batch", json={"commands": commands})
    assert response.status_code == 200, response.text
    statuses = [result["status"] for result in response.json()["results"]]
    assert statuses[0] == 201
    assert statuses[-1] == 429
    # Each by itself is within what one may spend.
    assert (await ask(server, held, bob, patterns=commands[-1]["params"]["patterns"])).is_success
