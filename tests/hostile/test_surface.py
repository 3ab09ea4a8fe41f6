"""Every route asked in every described way, over a real socket of a real server process."""

import os
import secrets
import signal
import sys
from functools import partial
from pathlib import Path

import httpx
import pytest
import trio

from intermute import app
from intermute.web.calls import HttpCall

from ..e2e.conftest import Server
from ..e2e.processes import client, serve_options, started
from ..e2e.routes import ROWS
from ..effort import LONG, effort
from .schema import describe, documented_codes, openapi_path, queries_of

FIXED_SEED = 7


def test_every_route_of_the_app_is_described(tmp_path: Path):
    built = app.Application(app.Settings(data=tmp_path / "data", keys_file=tmp_path / "k.yaml"))
    served = {
        (method.lower(), openapi_path(rule.rule))
        for rule in built.quart.url_map.iter_rules()
        for method in rule.methods - {"HEAD", "OPTIONS"}
    }
    paths = describe({"agent": "a"})["paths"]
    described = {(method, path) for path, methods in paths.items() for method in methods}
    assert served == described


async def test_every_word_of_a_query_is_described(server: Server, monkeypatch: pytest.MonkeyPatch):
    """The words that routes read are looked at on the way."""
    read: set[str] = set()
    query, queries = HttpCall.query, HttpCall.queries

    def reading(self: HttpCall, name: str) -> str | None:
        read.add(name)
        return query(self, name)

    def reading_all(self: HttpCall, name: str) -> list[str]:
        read.add(name)
        return queries(self, name)

    monkeypatch.setattr(HttpCall, "query", reading)
    monkeypatch.setattr(HttpCall, "queries", reading_all)
    for row in ROWS:
        read.clear()
        path = row.with_id("x")
        await server.client.request(row.method, path, json=row.members)
        assert read <= queries_of(row), row.rule


def seeds() -> list[int]:
    """Some that are always the same, and one that nobody has seen."""
    chosen = os.environ.get("INTERMUTE_SURFACE_SEED")
    return [int(chosen)] if chosen else [FIXED_SEED, secrets.randbits(32)]


async def known_ids(http: httpx.AsyncClient) -> dict[str, str]:
    """Ids of things that are there."""
    ids = {"name": "bob", "project": "default"}
    answers = {
        "agent": ("agent_id", "/api/agents", {"name": "Bob"}),
        "reservation": ("id", "/api/reservations", {"agent": "ada", "path": "held"}),
        "ticket": (
            "ticket_id",
            "/api/reservations",
            {"agent": "{agent}", "path": "held", "queue": True},
        ),
        "message": ("message_id", "/api/messages", {"from": "ada", "to": ["bob"], "body": "x"}),
        "spec": ("id", "/api/specs", {"title": "x"}),
    }
    for name, (own, path, body) in answers.items():
        body = {
            member: ids["agent"] if text == "{agent}" else text for member, text in body.items()
        }
        answer = await http.post(path, json=body)
        assert answer.status_code < 300, answer.text
        ids[name] = answer.json()[own]
    return ids


def _say(operation: str) -> None:
    if LONG:
        sys.stderr.write(f"{operation}\n")


async def test_no_request_within_or_beyond_the_description_finds_a_bug(tmp_path: Path):
    # The library takes a third of a second to load, which only this test has to pay.
    from .surface import fuzz

    statuses: dict[int, int] = {}
    async with started(serve_options(tmp_path)) as process:
        port = await process.port()
        async with client(port) as http:
            ids = await known_ids(http)
            for chosen in seeds():
                run = partial(
                    fuzz,
                    describe(ids),
                    f"http://127.0.0.1:{port}",
                    operations=effort(12, 1000),
                    examples=effort(4, 70),
                    chosen_seed=chosen,
                    progress=_say,
                )
                for status, count in (await trio.to_thread.run_sync(run)).items():
                    statuses[status] = statuses.get(status, 0) + count
            ready = await http.get("/ready")
            assert ready.status_code == 200
            assert all(each["storage_faults"] == 0 for each in ready.json()["projects"])
        assert await process.end(signal.SIGTERM) == 0
    assert statuses.keys() >= {200, 400, 404}, statuses
    assert "incident" not in process.text
    assert "ERROR" not in process.text
    assert "Traceback" not in process.text


def test_the_codes_that_answers_may_have_are_those_of_the_description():
    assert documented_codes()["reservation_conflict"] == 409
    assert "internal_error" in documented_codes()
