"""Nothing of one project can be read, written or counted with what belongs to another."""

import os
import re
from pathlib import Path

import httpx
import pytest
import trio

from intermute import app
from intermute.domain.entities.kinds import KINDS, Shape
from intermute.domain.stamp import make_id
from intermute.project.directory import project_tag

from .answers import refused
from .conftest import Server, running_server
from .listening import all_that_a_socket_tells, listening, rejected, streaming
from .routes import ROWS, Row, with_project
from .tenants import Tenants, make_tenants, revoke

CANARY = "canary-7f3a"
BETA = f"beta-{CANARY}"


@pytest.fixture
def tenants(tmp_path: Path) -> Tenants:
    return make_tenants(tmp_path / "keys.yaml", beta=BETA)


@pytest.fixture
async def locked(tmp_path: Path, tenants: Tenants):
    async with running_server(tmp_path, keys_file=tenants.keys_file) as running:
        yield running


@pytest.fixture
async def beta(locked: Server, tenants: Tenants) -> dict[str, str]:
    """The ids of an agent and a reservation of project beta, with the canary all over them."""
    return await settle_beta(locked, tenants)


async def settle_beta(server: Server, tenants: Tenants) -> dict[str, str]:
    headers, client = tenants.headers("b"), server.client
    registered = await client.post(
        "/api/agents",
        headers=headers,
        json={
            "name": CANARY,
            "status": CANARY,
            "capabilities": [CANARY],
            "metadata": {"repo": CANARY, CANARY: CANARY, "agent_kind": CANARY},
        },
    )
    agent_id = registered.json()["agent_id"]
    contact = {"contact_id": CANARY}
    await client.post(f"/api/agents/{agent_id}/contacts", json=contact, headers=headers)
    await client.patch("/api/project", json={"case_sensitive": True}, headers=headers)
    for holder, pattern in ((agent_id, f"{CANARY}/**"), (CANARY, "shared/**")):
        body = {"agent": holder, "path": pattern, "reason": CANARY}
        held = await client.post("/api/reservations", json=body, headers=headers)
        assert held.status_code == 201, held.text
    message = {
        "from": CANARY,
        "to": [agent_id, CANARY],
        "bcc": [f"{CANARY}-blind"],
        **dict.fromkeys(("subject", "topic", "body", "thread_id", "importance"), CANARY),
        "ack_required": True,
    }
    sent = await client.post("/api/messages", json=message, headers=headers)
    assert sent.status_code == 200, sent.text
    on = {"live_transport": True}
    set_on = await client.patch("/api/project", json=on, headers=tenants.headers("operator_b"))
    assert set_on.status_code == 200, set_on.text
    await settle_window(server, headers, registered.json(), message)
    wanted = {"agent": agent_id, "path": "shared/**", "reason": CANARY, "queue": True}
    queued = await client.post("/api/reservations", json=wanted, headers=headers)
    assert queued.status_code == 202, queued.text
    return await settle_entities(server, headers) | {
        "agent": agent_id,
        "reservation": held.json()["id"],
        "message": sent.json()["message_id"],
        "project": BETA,
        "ticket": queued.json()["ticket_id"],
    }


async def settle_window(
    server: Server, headers: dict[str, str], agent: dict[str, str], message: dict[str, object]
) -> None:
    """A window of the agent, and a message that could not be typed into it."""
    window = {
        "window_uuid": CANARY,
        "agent_id": agent["agent_id"],
        "display_name": CANARY,
        "tmux_target": CANARY,
        "registration_token": agent["token"],
    }
    made = await server.client.post("/api/windows", json=window, headers=headers)
    assert made.status_code == 200, made.text
    poke = message | {"to": [agent["agent_id"]], "transport": "both"}
    sent = await server.client.post("/api/messages", json=poke, headers=headers)
    assert sent.json()["delivery"] == "deferred", sent.text


async def settle_entities(server: Server, headers: dict[str, str]) -> dict[str, str]:
    """The ids of one entity of each kind, with the canary wherever a text may be."""
    ids = {}
    for kind in KINDS.values():
        texts = [f for f in kind.fields if f.shape in (Shape.LINE, Shape.TEXT, Shape.TEXTS)]
        members = {f.name: CANARY for f in texts if not f.words and not f.refers_to}
        path = f"/api/{kind.collection}"
        made = await server.client.post(path, json=members, headers=headers)
        assert made.status_code == 201, made.text
        ids[kind.name] = made.json()["id"]
    path = f"/api/cujs/{ids['cuj']}/link"
    await server.client.post(path, json={"feature_id": CANARY}, headers=headers)
    return ids


async def send(
    server: Server, row: Row, path: str, members: object, headers: dict[str, str]
) -> httpx.Response:
    if row.is_socket:
        return await all_that_a_socket_tells(server, path, headers)
    return await server.client.request(row.method, path, json=members, headers=headers)


def told(response: httpx.Response, named: str = "") -> tuple[object, ...]:
    """All that an answer tells, but for the name that was asked for."""
    text = response.text.replace(named, "NAME") if named else response.text
    headers = tuple(sorted(each for each in response.headers.items() if each[0] != "date"))
    return response.status_code, text, headers


async def test_every_route_of_the_app_has_a_row(tmp_path: Path):
    built = app.Application(app.Settings(data=tmp_path / "data", keys_file=tmp_path / "k.yaml"))
    routes = {
        (method, rule.rule)
        for rule in built.quart.url_map.iter_rules()
        for method in rule.methods - {"HEAD", "OPTIONS"}
    }
    assert routes == {(row.method, row.rule) for row in ROWS}
    async with trio.open_nursery() as nursery:
        await nursery.start(built.projects.serve)
        built.projects.stop()


async def test_without_a_valid_key_every_route_answers_the_same(
    locked: Server, tenants: Tenants, beta: dict[str, str]
):
    strangers = {
        "no key": {},
        "unknown key": {"Authorization": "Bearer imk_0123456789_" + "k" * 43},
        "no key at all": {"Authorization": "Bearer nonsense"},
        "expired": tenants.headers("expired"),
        "revoked": tenants.headers("revoked"),
        "wrong scheme": {"Authorization": f"Basic {tenants.a}"},
    }
    seen = set()
    for row in ROWS:
        for who, headers in strangers.items():
            response = await send(locked, row, row.at(**beta), row.members, headers)
            if row.needs_key:
                refused(response, 401, "unauthorized")
                seen.add(told(response))
            else:
                assert response.status_code == 200, (row, who)
            assert CANARY not in response.text
    assert len(seen) == 1


async def test_a_key_that_is_revoked_while_the_server_runs_is_worth_nothing(
    locked: Server, tenants: Tenants, beta: dict[str, str]
):
    revoke(tenants.keys_file, tenants.b)
    locked.reload_keys()
    for row in ROWS:
        if row.needs_key:
            answer = await send(locked, row, row.at(**beta), row.members, tenants.headers("b"))
            refused(answer, 401, "unauthorized")


async def test_not_yours_is_told_as_not_there(
    locked: Server, tenants: Tenants, beta: dict[str, str]
):
    """Every route with an id, asked with another project's key, for ids of every kind."""
    own, absent = project_tag("alpha"), "01a1fbbed5083eb93a45b8b8e26e"
    for who in ("a", "operator"):
        for row in ROWS:
            if not row.has_id or row.named is not None:
                continue
            theirs = beta[row.ids[-1]]
            kind = theirs.split("_")[0]
            foreign = (
                theirs,
                make_id(kind, project_tag(BETA), absent),
                make_id(kind, project_tag("nobody"), absent),
            )
            answers = []
            # Whoever is no operator is told that before an id of one's own project is looked for.
            refused_first = who == "a" and row.rule.endswith("/force-release")
            missing = () if refused_first else (make_id(kind, own, absent), "nonsense")
            for identifier in (*foreign, *missing):
                path = row.with_id(identifier)
                response = await send(locked, row, path, row.members, tenants.headers(who))
                assert response.status_code == 404, (row, identifier, response.text)
                answers.append(told(response, identifier))
            assert len(set(answers[: len(foreign)])) == 1, (row, answers)
            # An id with one's own tag is looked for, so this answer has a place in an order too.
            assert len({answer[:2] for answer in answers}) == 1, (row, answers)


async def test_a_foreign_projects_name_is_told_as_one_that_is_not_there(
    locked: Server, tenants: Tenants, beta: dict[str, str]
):
    for row in ROWS:
        if row.named is None:
            continue
        answers = set()
        for project in (BETA, "nobody-" + CANARY, BETA.upper()):
            path, members = with_project(row, row.at(**beta), project)
            response = await send(locked, row, path, members, tenants.headers("a"))
            refused(response, 403, "project_mismatch")
            answers.add(told(response, project))
        assert len(answers) == 1, row


async def test_the_canary_is_seen_by_nobody_else(
    locked: Server, tenants: Tenants, beta: dict[str, str]
):
    mine = await locked.client.post(
        "/api/agents", json={"name": "Ada"}, headers=tenants.headers("a")
    )
    held = await locked.client.post(
        "/api/reservations",
        json={"agent": mine.json()["agent_id"], "path": "**"},
        headers=tenants.headers("a"),
    )
    assert held.status_code == 201, "what beta holds is not in alpha's way"
    own = {"agent": mine.json()["agent_id"], "reservation": held.json()["id"]}
    own |= {"message": "mine", "project": "alpha", "ticket": "mine", **dict.fromkeys(KINDS, "mine")}
    for ids in (own, beta, dict.fromkeys(own, CANARY)):
        for row in ROWS:
            path, identity = row.at(**ids), {"X-Agent-ID": ids["agent"]}
            headers = tenants.headers("a") | identity
            response = await send(locked, row, path, row.members, headers)
            shown = f"{response.headers} {response.text}"
            if ids["agent"] == CANARY:
                # Whom it was asked for is said again, and that is all.
                shown = response.text.replace(repr(CANARY), "")
                shown = shown.replace(f'"agent":"{CANARY}"', "")
            assert CANARY not in shown, (row, shown)
    listed = await locked.client.get(
        "/api/agents", params={"capability": CANARY}, headers=tenants.headers("a")
    )
    assert listed.json()["agents"] == []


async def test_what_is_asked_of_beta_with_alphas_key_changes_nothing(
    locked: Server, tenants: Tenants, beta: dict[str, str]
):
    async def whole() -> list[str]:
        paths = [row.at(**beta) for row in ROWS if row.method == "GET" and row.needs_key]
        headers = tenants.headers("b")
        texts = [(await locked.client.get(path, headers=headers)).text for path in paths]
        # How old something is, is all that may differ.
        return [re.sub(r'"age_seconds":\d+', "", text) for text in texts]

    before = await whole()
    for row in ROWS:
        for who in ("a", "operator"):
            headers = tenants.headers(who) | {"X-Agent-ID": beta["agent"]}
            await send(locked, row, row.at(**beta), row.members, headers)
    assert await whole() == before


async def test_ids_of_another_project_open_no_file(tmp_path: Path, tenants: Tenants):
    async with running_server(tmp_path, keys_file=tenants.keys_file) as before:
        beta = await settle_beta(before, tenants)
    async with running_server(tmp_path, keys_file=tenants.keys_file) as after:
        (theirs,) = after.settings.data.glob(f"{project_tag(BETA)}*.sqlite3")
        for row in ROWS:
            if row.has_id:
                await send(after, row, row.at(**beta), row.members, tenants.headers("a"))
            assert str(theirs) not in open_files(), row
        answer = await after.client.get(
            f"/api/agents/{beta['agent']}", headers=tenants.headers("b")
        )
        assert answer.json()["name"] == CANARY
        assert str(theirs) in open_files()


async def test_an_agents_token_is_worth_nothing_in_another_project(
    locked: Server, tenants: Tenants, beta: dict[str, str]
):
    eve = await locked.client.post("/api/agents", json={}, headers=tenants.headers("b"))
    right = {"X-Agent-ID": eve.json()["agent_id"], "X-Agent-Token": eve.json()["token"]}
    wrong = right | {"X-Agent-Token": "nonsense"}
    for row in ROWS:
        if row.has_id or not row.needs_key:
            continue
        answers = set()
        for proof in (right, wrong):
            headers = tenants.headers("a") | proof
            response = await send(locked, row, row.at(**beta), row.members, headers)
            refused(response, 403, "agent_identity_mismatch")
            answers.add(response.text)
        assert len(answers) == 1, row


async def test_feeds_are_told_apart_by_key_id_and_cursor(
    locked: Server, tenants: Tenants, beta: dict[str, str]
):
    """Every kind of feed, with another project's agent and with cursors of another project."""
    mine = tenants.headers("a")
    path = f"/ws/agents/{beta['agent']}"
    status, members = await rejected(locked, path, headers=mine)
    assert (status, members["error"]) == (404, "agent_not_found")
    for accept in ("application/json", "text/event-stream"):
        response = await locked.client.get(
            "/api/events", params={"agent": beta["agent"]}, headers=mine | {"Accept": accept}
        )
        refused(response, 404, "agent_not_found")
    await locked.client.post("/api/agents", json={"name": "Ada"}, headers=mine)
    cursor = (await locked.client.get("/api/events", headers=tenants.headers("b"))).json()["cursor"]
    assert cursor > 1
    for accept in ("application/json", "text/event-stream"):
        response = await locked.client.get(
            "/api/events", params={"since_cursor": cursor}, headers=mine | {"Accept": accept}
        )
        assert CANARY not in str(refused(response, 410, "cursor_gone"))
    assert (await rejected(locked, "/ws/events", headers=mine, since_cursor=cursor))[0] == 410
    async with (
        listening(locked, headers=mine, since_cursor=0) as socket,
        listening(locked, CANARY, headers=mine, since_cursor=0) as agents,
        streaming(locked, headers=mine, since_cursor=0) as stream,
    ):
        shout = {"from": CANARY, "to": [CANARY], "body": CANARY}
        await locked.client.post("/api/messages", json=shout, headers=tenants.headers("b"))
        await locked.client.post("/api/agents", json={"name": "Bob"}, headers=mine)
        for found in (await socket.events(2), await agents.events(2)):
            assert [frame["data"]["name"] for frame in found] == ["Ada", "Bob"]
        assert [(await anext(stream)).data["data"]["name"] for _ in range(2)] == ["Ada", "Bob"]


def open_files() -> set[str]:
    """The files that this process, the server included, has open."""
    found = set()
    for entry in os.scandir("/proc/self/fd"):
        try:
            found.add(os.readlink(entry.path))
        except FileNotFoundError:
            continue
    return found


async def test_local_lists_of_agents_span_projects_and_nothing_else_does(server: Server):
    for project in ("one", "two"):
        await server.register("Ada", project=project)
        await server.reserve("ada", "a", project=project)
    for path in ("/api/agents", "/api/agents/presence"):
        assert len((await server.client.get(path)).json()["agents"]) == 2
    assert (await server.client.get("/api/reservations")).json()["reservations"] == []
    by_name = await server.client.get("/api/reservations", params={"agent": "ada"})
    assert by_name.json()["reservations"] == []
    assert (await server.check("a"))["free"] is True


async def test_a_local_caller_with_a_key_acts_in_the_keys_project(tmp_path: Path):
    keys_file = tmp_path / "keys.yaml"
    key = app.make_key(keys_file, "alpha", operator=False, expires_at=None)
    async with running_server(tmp_path, keys_file=keys_file) as server:
        await server.register("Bob", project="beta")
        headers = {"Authorization": f"Bearer {key}"}
        ada = await server.client.post("/api/agents", json={"name": "Ada"}, headers=headers)
        assert ada.json()["project"] == "alpha"
        seen = await server.client.get("/api/agents", headers=headers)
        assert [agent["name"] for agent in seen.json()["agents"]] == ["Ada"]
        wrong = {"Authorization": "Bearer wrong"}
        refused(await server.client.get("/api/agents", headers=wrong), 401, "unauthorized")
