"""Clients of the server's live connections, over one life of the server after another."""

from types import SimpleNamespace

import attrs
import h11

from ..e2e.listening import listening, streaming
from .clients import LOST, UNKNOWN, message, wish
from .ledger import Attempt


async def pipeline(client):
    """Reserve, send and release over one WebSocket, without waiting for the answers."""
    waiting, held = {}, []
    agent = client.ledger.name("piper")
    while not client.ledger.closing or waiting or held:
        with client.served.this_life():
            try:
                await _talk(client, agent, waiting, held)
            except* LOST:
                for attempt in waiting.values():
                    attempt.lost += 1
        await client.served.up()


async def _talk(client, agent, waiting, held):
    life, server = client.served.life, SimpleNamespace(port=client.served.port)
    async with listening(server, agent, project=client.project) as listener:
        while not client.ledger.closing or waiting or held:
            _plan(client, agent, waiting, held)
            for attempt in tuple(waiting.values()):
                await listener.say(_rpc(attempt))
            for attempt in tuple(waiting.values()):
                answer = await listener.answer(attempt.key)
                _take_answer(client, attempt, answer, life, waiting, held)


def _rpc(attempt):
    params = {**attempt.members, "idempotency_key": attempt.key}
    return {"jsonrpc": "2.0", "id": attempt.key, "method": attempt.path, "params": params}


def _plan(client, agent, waiting, held):
    """Give as many commands as there may be on their way; all that is left when it is the end."""
    while held and (client.ledger.closing or len(held) > 2):
        lease = held.pop(0)
        members = {"reservation_id": lease["id"], "agent_id": agent}
        _add(client, waiting, "reservations.release", members, ("released", lease["id"]))
    while len(waiting) < 5 and not client.ledger.closing:
        if client.chance.random() < 0.5:
            members = wish(client, agent)
            others = [attempt.members.get("patterns") for attempt in waiting.values()]
            if members["patterns"] in others + [lease["patterns"] for lease in held]:
                # To ask for what one holds is to renew it.
                continue
            effect = ("taken", members["reason"])
            _add(client, waiting, "reservations.create", members, effect)
        else:
            members = message(client)
            _add(client, waiting, "messages.send", members, ("message.created", members["id"]))


def _add(client, waiting, method, params, effect):
    key = client.ledger.name("key")
    attempt = Attempt(client.project, "RPC", method, params, key, (effect,))
    waiting[key] = client.ledger.begin(attempt)


def _take_answer(client, attempt, answer, life, waiting, held):
    status = answer["error"]["code"] if "error" in answer else 200
    if status in UNKNOWN:
        attempt.lost += 1
        return
    assert status in (200, 409), ("refused", answer)
    del waiting[attempt.key]
    body = answer.get("result") or answer["error"]
    where = (answer["epoch"], answer["seq"])
    replayed = bool(answer.get("replayed"))
    client.ledger.answered(attempt, status, body, where, life=life, replayed=replayed)
    if attempt.path == "reservations.create" and status == 200:
        held.append(dict(body))


@attrs.define
class Follower:
    """All that one feed has brought, over all its connections.

    Attributes:
        until: The cursor at which to stop, once that is known.
    """

    project: str
    seen: list[tuple[int, str, str]] = attrs.field(factory=list)
    until: float = float("inf")

    @property
    def cursor(self):
        return self.seen[-1][0] if self.seen else 0

    @property
    def wants_more(self):
        return self.cursor < self.until

    def take(self, frame):
        self.seen.append((frame["cursor"], frame["type"], frame["entity_id"]))


async def follow_socket(served, follower):
    """Listen over a WebSocket."""
    server = SimpleNamespace(port=served.port)
    query = {"since_cursor": follower.cursor, "project": follower.project}
    async with listening(server, **query) as listener:
        while follower.wants_more:
            follower.take(await listener.event())


async def follow_stream(served, follower):
    """Listen to an event stream."""
    server = SimpleNamespace(port=served.port)
    headers = {"Last-Event-ID": str(follower.cursor)}
    async with streaming(server, headers=headers, project=follower.project) as stream:
        async for event in stream:
            follower.take(event.data)
            if not follower.wants_more:
                break


async def follow(served, follower, once):
    """Listen in that way, life after life, until it has brought all that is wanted."""
    await served.up()
    while follower.wants_more:
        with served.this_life():
            try:
                await once(served, follower)
            except* (*LOST, h11.RemoteProtocolError):
                pass
        await served.up()


FOLLOWING = (follow_socket, follow_stream)
