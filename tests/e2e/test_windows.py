"""Windows and deferred pokes over HTTP."""

from email.utils import parsedate_to_datetime

import pytest

from intermute.domain import limits
from intermute.domain.stamp import make_id

from .answers import place, refused
from .conftest import Server
from .live import Peer, peer, send

URL = "/api/windows"
POKES = "/api/inbox/pokes"


@pytest.fixture
async def ada(server: Server) -> Peer:
    return await peer(server, "Ada")


async def test_a_window_is_registered_listed_and_ended(server: Server, ada: Peer):
    response = await ada.open_window("u/1", "work:main.0", display_name="desk")
    assert response.status_code == 200
    made = response.json()
    token = made.pop("pane_token")
    assert made.pop("pane_command") == (
        f'tmux set-option -p -t "$TMUX_PANE" @intermute_pane_token {token}'
    )
    assert made["id"].startswith("win_")
    assert (made["project"], made["window_uuid"], made["agent_id"]) == (
        "default",
        "u/1",
        ada.agent_id,
    )
    assert (made["display_name"], made["tmux_target"]) == ("desk", "work:main.0")
    assert made["created_at"] == made["last_active_at"]
    assert "expires_at" not in made
    assert place(response)[0] == 1
    listed = await server.client.get(URL, params={"project": "default"})
    assert listed.json() == {"windows": [made], "cursor": made["cursor"], "more": False}
    ended = await server.client.delete(f"{URL}/u%2F1", params={"project": "default"})
    assert ended.status_code == 200
    assert ended.json()["status"] == "expired"
    again = await server.client.delete(f"{URL}/u/1", params={"project": "default"})
    refused(again, 404, "window_not_found")
    listed = await server.client.get(URL, params={"project": "default"})
    assert listed.json() == {"windows": [], "cursor": 0, "more": False}


async def test_registering_again_keeps_the_window_and_replaces_the_rest(server: Server, ada: Peer):
    first = (await ada.open_window("u1", "work")).json()
    second = (await ada.open_window("u1", "", display_name="")).json()
    assert second["id"] == first["id"]
    assert second["created_at"] == first["created_at"]
    assert second["last_active_at"] >= first["last_active_at"]
    assert second["display_name"] == ada.agent_id
    assert "tmux_target" not in second
    assert "pane_token" not in second, "there is nothing to prove"
    third = (await ada.open_window("u1", "work")).json()
    assert third["pane_token"] != first["pane_token"]
    ended = await server.client.delete(f"{URL}/u1", params={"project": "default"})
    assert ended.status_code == 200
    fourth = (await ada.open_window("u1", "work")).json()
    assert fourth["id"] != first["id"]


async def test_windows_are_listed_by_activity_in_pages(server: Server, ada: Peer):
    for uuid in ("u1", "u2", "u3", "u1"):
        await ada.open_window(uuid, "work")
    seen, cursor, more = [], None, True
    while more:
        params = {"project": "default", "limit": "2", **({"cursor": cursor} if cursor else {})}
        page = (await server.client.get(URL, params=params)).json()
        assert len(page["windows"]) <= 2
        seen += [window["window_uuid"] for window in page["windows"]]
        cursor, more = page["cursor"], page["more"]
    assert seen == ["u1", "u3", "u2"]


async def test_a_local_caller_names_a_project(server: Server, ada: Peer):
    for path in (URL, f"{POKES}?agent=a"):
        refused(await server.client.get(path), 400, "invalid_request")
    refused(await server.client.delete(f"{URL}/u1"), 400, "invalid_request")
    refused(await server.client.post(f"{POKES}/m/ack?agent=a"), 400, "invalid_request")
    refused(await ada.open_window("u1", "work", project=""), 400, "invalid_request")
    assert list((await server.client.get(f"{URL}?project=none")).json()["windows"]) == []


@pytest.mark.parametrize(
    "members",
    [
        {"window_uuid": ""},
        {"agent_id": " "},
        {"window_uuid": "u" * 101},
        {"window_uuid": "u\n1"},
        {"display_name": "a\x1bb"},
        {"display_name": "d" * 201},
        {"tmux_target": "a b"},
        {"tmux_target": "work\n"},
        {"tmux_target": "work:0.0\n"},
        {"tmux_target": "x" * 201},
        {"tmux_target": 5},
        {"registration_token": "t" * 201},
    ],
)
async def test_what_is_no_window_is_400(server: Server, ada: Peer, members: dict):
    refused(await ada.open_window("u1", "work", **members), 400, "invalid_request")


async def test_the_token_must_be_the_agents(server: Server, ada: Peer):
    bob = await peer(server, "Bob")
    elsewhere = await server.register("Eve", project="other")
    for members in (
        {"registration_token": ""},
        {"registration_token": bob.token},
        {"registration_token": ada.token + "x"},
        {"agent_id": "nobody"},
        {"agent_id": elsewhere["agent_id"], "registration_token": elsewhere["token"]},
        {"project": "other"},
    ):
        found = await ada.open_window("u1", "work", **members)
        assert "agent_token_mismatch" in refused(found, 403, "agent_token_mismatch")["detail"]
    listed = await server.client.get(URL, params={"project": "default"})
    assert listed.json()["windows"] == []


async def test_a_name_alone_opens_no_window_to_others(server: Server, ada: Peer):
    """What clients without a token do beside that goes on."""
    policy, contacts = [f"/api/agents/{ada.agent_id}/{what}" for what in ("policy", "contacts")]
    client = server.client
    await client.put(policy, json={"live_contact_policy": "contacts_only"})
    await ada.open_window("u1", "work")
    for headers in ({}, {"X-Agent-ID": ada.agent_id}):
        for response in (
            await client.put(policy, json={"live_contact_policy": "open"}, headers=headers),
            await client.post(contacts, json={"contact_id": "mallory"}, headers=headers),
        ):
            refused(response, 403, "agent_token_required")
    await ada.focus("at-prompt")
    assert await ada.pokes() == []
    assert (await ada.open_window("u1", "work")).status_code == 200
    done = await client.put(policy, json={"live_contact_policy": "open"}, headers=ada.proof)
    assert done.status_code == 200


async def test_neither_token_is_kept_anywhere(server: Server, ada: Peer):
    made = (await ada.open_window("u1", "work")).json()
    keyed = {"Idempotency-Key": "k1"}
    body = {"project": "default", "window_uuid": "u2", "agent_id": ada.agent_id}
    body |= {"tmux_target": "work", "registration_token": ada.token}
    again = await server.client.post(URL, json=body, headers=keyed)
    for path in server.settings.data.iterdir():
        content = path.read_bytes() if path.is_file() else b""
        for token in (made["pane_token"], again.json()["pane_token"], ada.token):
            assert token.encode() not in content


async def test_a_retry_finds_the_same_window_and_brings_a_new_token(server: Server, ada: Peer):
    body = {"project": "default", "window_uuid": "u1", "agent_id": ada.agent_id}
    body |= {"tmux_target": "work", "registration_token": ada.token}
    first, second = [
        await server.client.post(URL, json=body, headers={"Idempotency-Key": "k"}) for _ in "ab"
    ]
    assert second.headers["Idempotency-Replayed"] == "true"
    assert first.json()["id"] == second.json()["id"]
    assert first.json()["pane_token"] != second.json()["pane_token"]


async def test_an_agent_has_only_so_many_windows(server: Server, ada: Peer):
    for n in range(limits.WINDOWS_PER_AGENT_MAX):
        assert (await ada.open_window(f"u{n}", "work")).status_code == 200
    refused(await ada.open_window("more", "work"), 429, "limit_reached")
    assert (await ada.open_window("u0", "work")).status_code == 200


async def test_retirement_ends_windows(server: Server, ada: Peer):
    await ada.open_window("u1", "work")
    await server.client.delete(f"/api/agents/{ada.agent_id}")
    listed = await server.client.get(URL, params={"project": "default"})
    assert listed.json()["windows"] == []


# -- Settings


async def test_only_an_operator_switches_live_transport(server: Server):
    settings = "/api/project"
    assert (await server.client.get(settings)).json() == {
        "project": "default",
        "case_sensitive": True,
        "live_transport": False,
        "live_transport_set_by": "server",
    }
    for word, shown, by in ((True, True, "project"), (False, False, "project"), (None, False,
                            "server")):  # fmt: skip
        done = await server.client.patch(settings, json={"live_transport": word})
        assert done.status_code == 200
        assert (done.json()["live_transport"], done.json()["live_transport_set_by"]) == (shown, by)
        assert (await server.client.get(settings)).json() == done.json()
    for wrong in ("on", 1, []):
        done = await server.client.patch(settings, json={"live_transport": wrong})
        refused(done, 400, "invalid_request")


async def test_the_switch_works_while_reservations_are_held(server: Server):
    held = await server.reserve("ada", "a")
    done = await server.client.patch("/api/project", json={"live_transport": True})
    assert done.status_code == 200
    await server.reserve("bob", "a", expected=409)
    assert (await server.release("ada", held["id"])).status_code == 200


# -- Pokes


async def poke(server: Server, to: Peer, message_id: str, **more: object) -> None:
    response = await send(server, "bob", to.agent_id, transport="both", id=message_id, **more)
    assert response.json()["delivery"] == "deferred", response.text


@pytest.fixture
async def busy(server: Server, ada: Peer) -> Peer:
    """An agent that nobody can reach in a window, where that would be done."""
    await server.client.patch("/api/project", json={"live_transport": True})
    return ada


async def test_pokes_are_listed_oldest_first_in_pages(server: Server, busy: Peer):
    for n in range(5):
        await poke(server, busy, f"m{n}", thread_id="t1", body=f"body {n}")
    seen, cursor, more = [], 0, True
    while more:
        params = {"agent": busy.agent_id, "project": "default", "limit": 2, "since_cursor": cursor}
        page = (await server.client.get(POKES, params=params)).json()
        seen += page["pokes"]
        cursor, more = page["cursor"], page["more"]
    assert [found["message_id"] for found in seen] == [f"m{n}" for n in range(5)]
    first = seen[0]
    assert first["sender"] == "bob"
    assert first["thread_id"] == "t1"
    assert first["reason"] == "recipient_unknown"
    assert first["created_at"].endswith(" GMT")
    assert parsedate_to_datetime(first["created_at"])
    assert len(await busy.inbox()) == 5, "they are in the inbox as well"


async def test_a_poke_is_surfaced_once_and_reads_nothing(server: Server, busy: Peer):
    await poke(server, busy, "m/1")
    await poke(server, busy, "m2")
    params = {"agent": busy.agent_id, "project": "default"}
    for path in (f"{POKES}/m%2F1/ack", f"{POKES}/m/1/ack"):
        done = await server.client.post(path, params=params)
        assert done.status_code == 200
        assert done.json()["status"] == "ok"
    assert [found["message_id"] for found in await busy.pokes()] == ["m2"]
    refused(await server.client.post(f"{POKES}/m9/ack", params=params), 404, "poke_not_found")
    other = {**params, "agent": "bob"}
    refused(await server.client.post(f"{POKES}/m2/ack", params=other), 404, "poke_not_found")
    counts = await server.client.get(f"/api/inbox/{busy.agent_id}/counts")
    assert counts.json()["unread"] == 2


async def test_pokes_are_for_the_eyes_of_their_agent(server: Server, busy: Peer):
    await poke(server, busy, "m1")
    params = {"agent": busy.agent_id, "project": "default"}
    mallory = {"X-Agent-ID": "mallory"}
    for method, path in (("GET", POKES), ("POST", f"{POKES}/m1/ack")):
        found = await server.client.request(method, path, params=params, headers=mallory)
        refused(found, 403, "agent_identity_mismatch")
    await server.client.post(f"/api/agents/{busy.agent_id}/heartbeat", headers=busy.proof)
    for method, path in (("GET", POKES), ("POST", f"{POKES}/m1/ack")):
        found = await server.client.request(method, path, params=params)
        refused(found, 403, "agent_token_required")
        found = await server.client.request(method, path, params=params, headers=busy.proof)
        assert found.status_code == 200


async def test_an_agent_called_pokes_does_not_hide_the_pokes(server: Server):
    listed = await server.client.get(POKES, params={"agent": "pokes", "project": "default"})
    assert listed.json() == {"pokes": [], "cursor": 0, "more": False}
    for params in ({"project": "default"}, {"agent": " ", "project": "default"}):
        refused(await server.client.get(POKES, params=params), 400, "invalid_request")
    foreign = {"agent": make_id("agt", "a" * 12, "0" * 28), "project": "default"}
    refused(await server.client.get(POKES, params=foreign), 404, "agent_not_found")


async def test_an_agent_shows_since_when_its_focus_is_what_it_is(server: Server, ada: Peer):
    before = await server.agent(ada.agent_id)
    await ada.focus("thinking")
    after = await server.agent(ada.agent_id)
    assert after["focus_state"] == "thinking"
    assert after["focus_at"] > before["focus_at"]
    await server.client.post(f"/api/agents/{ada.agent_id}/heartbeat", json={})
    assert (await server.agent(ada.agent_id))["focus_at"] == after["focus_at"]
