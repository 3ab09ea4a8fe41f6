"""An agent's contact list over the wire."""

import pytest

from .answers import refused
from .conftest import Server, running_server


@pytest.fixture
async def url(server: Server) -> str:
    registered = await server.register("Ada")
    return f"/api/agents/{registered['agent_id']}/contacts"


def agent_id(url: str) -> str:
    return url.split("/")[3]


async def test_a_new_agent_has_no_contacts(server: Server, url: str):
    response = await server.client.get(url)
    assert response.status_code == 200
    assert response.json() == {"agent_id": agent_id(url), "contacts": []}


async def test_contacts_are_added_in_order_and_once(server: Server, url: str):
    for contact in ("zed", "Bob", "zed"):
        response = await server.client.post(url, json={"contact_id": contact})
        assert response.status_code == 200
    assert response.json() == {"agent_id": agent_id(url), "contacts": ["zed", "Bob"]}
    assert (await server.client.get(url)).json() == response.json()


async def test_a_contact_may_be_named_contact_and_is_trimmed(server: Server, url: str):
    response = await server.client.post(url, json={"contact": "  bob "})
    assert response.json()["contacts"] == ["bob"]


async def test_a_contact_is_removed(server: Server, url: str):
    for contact in ("a", "b/c d", "e"):
        await server.client.post(url, json={"contact_id": contact})
    response = await server.client.delete(f"{url}/b%2Fc%20d")
    assert response.status_code == 200
    assert response.json()["contacts"] == ["a", "e"]
    refused(await server.client.delete(f"{url}/b%2Fc%20d"), 404, "contact_not_found")
    assert (await server.client.get(url)).json()["contacts"] == ["a", "e"]


@pytest.mark.parametrize("members", [{}, {"contact_id": ""}, {"contact_id": "  "}])
async def test_a_contact_must_be_named(server: Server, url: str, members: object):
    response = await server.client.post(url, json=members)
    assert "contact_id required" in refused(response, 400, "invalid_request")["detail"]


async def test_contacts_of_an_unknown_agent_are_404(server: Server, url: str):
    unknown = url.replace(agent_id(url), agent_id(url)[:-1] + "x")
    refused(await server.client.get(unknown), 404, "agent_not_found")
    refused(await server.client.post(unknown, json={"contact": "a"}), 404, "agent_not_found")
    refused(await server.client.delete(f"{unknown}/a"), 404, "agent_not_found")


async def test_a_full_contact_list_takes_no_more(
    server: Server, url: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("intermute.domain.limits.CONTACTS_MAX", 2)
    for contact in ("a", "b", "a"):
        assert (await server.client.post(url, json={"contact": contact})).status_code == 200
    refused(await server.client.post(url, json={"contact": "c"}), 429, "limit_reached")


async def test_another_agents_contacts_cannot_be_changed(server: Server, url: str):
    bob = await server.register("Bob")
    headers = {"X-Agent-ID": bob["agent_id"]}
    for response in (
        await server.client.post(url, json={"contact": "x"}, headers=headers),
        await server.client.delete(f"{url}/x", headers=headers),
    ):
        refused(response, 403, "agent_identity_mismatch")
    assert (await server.client.get(url)).json()["contacts"] == []


async def test_contacts_survive_a_restart(tmp_path):
    async with running_server(tmp_path) as before:
        registered = await before.register("Ada")
        path = f"/api/agents/{registered['agent_id']}/contacts"
        for contact in ("b", "a"):
            await before.client.post(path, json={"contact": contact})
    async with running_server(tmp_path) as after:
        assert (await after.client.get(path)).json()["contacts"] == ["b", "a"]
        response = await after.client.post(path, json={"contact": "c"})
        assert response.json()["contacts"] == ["b", "a", "c"]
