"""Clients that do everything at once and outlive the server: what was not answered is asked again.

Each is a program that goes on from where it was when the server is back, as a real client does,
with the same idempotency key. None of them knows when the server will die.
"""

import trio
from trio_websocket import ConnectionClosed, HandshakeError

from ..properties.paths import PATTERNS
from .ledger import Attempt
from .served import Gone, connect

# The line has paths of its own, so that who is granted what in it is known.
LINE = "z/y/*"
COMMON = tuple(pattern for pattern in PATTERNS if pattern not in (LINE, "**", "**/z"))
MODES = ("X", "X", "S", "IX", "IS", "SIX")
# The server could not say; or a bug, such as a test plants, has met the request.
UNKNOWN = (500, 503)
LOST = (Gone, OSError, ConnectionClosed, HandshakeError, trio.BrokenResourceError)


class Client:
    """Asks over HTTP, in one life after another, until there is an answer."""

    def __init__(self, served, ledger, project, chance):
        self.served = served
        self.ledger = ledger
        self.project = project
        self.chance = chance
        self._life = 0
        self._connection = None

    async def ask(self, method, path, members=None, *effects, agent=None, expected=()):
        """The members of the answer; it must be a success, or have one of the statuses expected."""
        headers = () if agent is None else (("X-Agent-ID", agent),)
        key = self.ledger.name("key")
        attempt = Attempt(self.project, method, path, members, key, effects, headers)
        self.ledger.begin(attempt)
        while not attempt.status:
            life = self.served.life
            try:
                status, told, body = await self.once(attempt)
            except LOST:
                attempt.lost += 1
                await self.served.up()
                continue
            # The commands of a batch are answered one by one, though they share what befalls them.
            statuses = {status, *(each["status"] for each in body.get("results", ()))}
            if not statuses.isdisjoint(UNKNOWN):
                attempt.lost += 1
                continue
            replayed = "idempotency-replayed" in told
            self.ledger.answered(attempt, status, body, place(told), life=life, replayed=replayed)
        assert attempt.done or attempt.status in expected, ("refused", attempt)
        return dict(attempt.body) if attempt.done else None

    async def look(self, path):
        """The answer to a question."""
        while True:
            try:
                status, _, body = await self.call("GET", path)
            except LOST:
                await self.served.up()
                continue
            if status not in UNKNOWN:
                assert status == 200, (path, body)
                return body

    async def once(self, attempt):
        headers = [("Idempotency-Key", attempt.key), *attempt.headers]
        return await self.call(attempt.method, attempt.path, headers, attempt.members)

    async def call(self, *request):
        if self._life != self.served.life:
            await self.close()
            life = self.served.life
            self._connection = await connect(self.served.port)
            self._life = life
        try:
            return await self._connection.call(*request)
        except Gone:
            await self.close()
            raise

    async def close(self):
        if self._connection is not None:
            connection, self._connection, self._life = self._connection, None, 0
            await connection.close()


def place(headers):
    """Where a decision stands, as its answer says; None for what was not decided."""
    if "intermute-epoch" not in headers:
        return None
    return int(headers["intermute-epoch"]), int(headers["intermute-seq"])


def wish(client, agent, **more):
    """The members of a request for paths, whose reason is its own."""
    chosen = sorted(client.chance.sample(COMMON, client.chance.choice((1, 1, 2))))
    reason = client.ledger.name("reason")
    mode = client.chance.choice(MODES)
    members = {"agent_id": agent, "patterns": chosen, "mode": mode, "reason": reason}
    return {"project": client.project, **members, **more}


# -- One who takes, renews, narrows and gives back, and never waits


async def hold(client):
    """Leases of all modes on sets of patterns."""
    chance, held = client.chance, []
    name = client.ledger.name("holder")
    members = {"name": name, "project": client.project}
    registered = await client.ask("POST", "/api/agents", members, ("agent.registered", name))
    agent = registered["agent_id"]
    while not client.ledger.closing:
        what = chance.choice((_take, _take, _take, _renew, _narrow, _give_back, _force, _beat))
        if what is _beat:
            await _beat(client, agent)
        elif held if what is not _take else len(held) < 4:
            await what(client, agent, held)
        else:
            await trio.lowlevel.checkpoint()
    while held:
        await _give_back(client, agent, held)


async def _take(client, agent, held):
    members = wish(client, agent)
    if members["patterns"] in [found["patterns"] for found in held]:
        # To ask for what one holds is to renew it.
        return
    path, effect = "/api/reservations", ("taken", members["reason"])
    found = await client.ask("POST", path, members, effect, expected=(409,))
    if found is not None:
        held.append(found)


async def _renew(client, agent, held):
    found = client.chance.choice(held)
    ttl_s = 1_800 + client.chance.randrange(70_000)
    members = {"ttl_seconds": ttl_s, "fencing_token": found["fencing_token"]}
    effect = ("renewed", found["id"], ttl_s * 1000)
    path = f"/api/reservations/{found['id']}/renew"
    answer = await client.ask("POST", path, members, effect, agent=agent)
    assert answer["is_active"]
    assert answer["fencing_token"] == found["fencing_token"], "renewing keeps the token"


async def _narrow(client, agent, held):
    found = client.chance.choice(held)
    kept = found["patterns"][:1]
    # Nothing is held twice, so one who holds just that has to release this one instead.
    if kept not in [each["patterns"] for each in held]:
        path, effect = f"/api/reservations/{found['id']}", ("reservation.narrowed", found["id"])
        await client.ask("PATCH", path, {"patterns": kept}, effect, agent=agent)
        found["patterns"] = kept


async def _give_back(client, agent, held):
    found = held.pop(client.chance.randrange(len(held)))
    path = f"/api/reservations/{found['id']}"
    await client.ask("DELETE", path, None, ("released", found["id"]), agent=agent)


async def _force(client, agent, held):
    found, reason = held.pop(), client.ledger.name("force")
    path = f"/api/reservations/{found['id']}/force-release"
    effects = ("released", found["id"]), ("cause", "forced", reason)
    await client.ask("POST", path, {"reason": reason}, *effects)


async def _beat(client, agent):
    answer = await client.ask("POST", f"/api/agents/{agent}/heartbeat", {})
    client.ledger.seen[agent] = answer["last_seen"]


# -- One who stays on the line for what others hold


async def wait(client):
    """Open calls. Holding nothing meanwhile, it closes no circle."""
    agent = client.ledger.name("waiter")
    while not client.ledger.closing:
        members = wish(client, agent, wait_seconds=600)
        effect = ("taken", members["reason"])
        found = await client.ask("POST", "/api/reservations", members, effect)
        assert found["is_active"]
        assert "ticket_id" not in found, "what a call is told of was taken up"
        path = f"/api/reservations/{found['id']}"
        await client.ask("DELETE", path, None, ("released", found["id"]), agent=agent)


# -- Three who take turns on one path, by tickets


async def take_turns(client):
    """One holds, the others wait; places, leases and tokens are looked at before every turn."""
    agents = []
    for name in [client.ledger.name("turn") for _ in range(3)]:
        members = {"name": name, "project": client.project}
        effect = ("agent.registered", name)
        agents.append((await client.ask("POST", "/api/agents", members, effect))["agent_id"])
    members = _turn(client, agents[0], queue=False)
    lease = await client.ask("POST", "/api/reservations", members, ("taken", members["reason"]))
    tickets = [await _queue(client, agent, at) for at, agent in enumerate(agents[1:], 1)]
    while not client.ledger.closing:
        await _look_at_line(client, lease, tickets)
        if client.chance.random() < 0.25:
            await _leave(client, agents[2], tickets.pop())
        else:
            lease = await _next_turn(client, agents, lease, tickets)
            agents.append(agents.pop(0))
        tickets.append(await _queue(client, agents[2], 2))
    await _leave(client, agents[2], tickets.pop())
    lease = await _next_turn(client, agents, lease, tickets)
    path, effect = f"/api/reservations/{lease['id']}", ("released", lease["id"])
    await client.ask("DELETE", path, None, effect, agent=agents[1])


def _turn(client, agent, *, queue):
    reason = client.ledger.name("reason")
    members = {"agent_id": agent, "patterns": [LINE], "reason": reason, "queue": queue}
    return {"project": client.project, **members}


async def _queue(client, agent, place_in_line):
    members = _turn(client, agent, queue=True)
    ticket = await client.ask("POST", "/api/reservations", members, ("queued", members["reason"]))
    assert (ticket["state"], ticket["position"]) == ("waiting", place_in_line)
    return ticket["ticket_id"]


async def _leave(client, agent, ticket):
    path = f"/api/reservations/tickets/{ticket}"
    await client.ask("DELETE", path, None, ("reservation.cancelled", ticket), agent=agent)


async def _look_at_line(client, lease, tickets):
    for at, ticket in enumerate(tickets, 1):
        found = await client.look(f"/api/reservations/tickets/{ticket}")
        assert (found["state"], found["position"]) == ("waiting", at), "the place in line is lost"
    found = await client.look(f"/api/reservations/{lease['id']}")
    assert found["is_active"], "the lease is lost"
    assert found["fencing_token"] == lease["fencing_token"]


async def _next_turn(client, agents, lease, tickets):
    """The holder gives back or hands over; whoever is first in line has it then. Its lease."""
    ticket, path = tickets.pop(0), f"/api/reservations/{lease['id']}"
    effects = (("released", lease["id"]), ("taken by", ticket), ("reservation.granted", ticket))
    if client.chance.random() < 0.5:
        await client.ask("DELETE", path, None, *effects, agent=agents[0])
    else:
        members = {"to": agents[1]}
        await client.ask("POST", f"{path}/handover", members, *effects, agent=agents[0])
    found = await client.look(f"/api/reservations/tickets/{ticket}")
    assert found["state"] == "granted", "nobody was let on"
    confirm = f"/api/reservations/tickets/{ticket}/confirm"
    effect = ("confirmed", found["reservation_id"])
    after = await client.ask("POST", confirm, {}, effect, agent=agents[1])
    assert after["fencing_token"] > lease["fencing_token"], "a token did not grow"
    return after


# -- One who writes: mail and marks, entities, windows, batches


async def write(client):
    """Messages and what is done with them, tasks, windows, and several of them in one request."""
    sent = []
    while not client.ledger.closing:
        what = client.chance.choice((_send, _send, _edit, _mark, _mark, _work, _window, _batch))
        await what(client, sent)


def message(client):
    """The members of a message, which is one of its own."""
    key = client.ledger.name("word")
    to = f"in{client.chance.randrange(3)}"
    members = {"id": key, "from": "load", "to": [to], "cc": ["copy"], "bcc": ["blind"]}
    more = {"subject": f"on{key}", "thread_id": f"t{key[-2]}", "body": key, "topic": "load"}
    return {"project": client.project, **members, **more}


async def _send(client, sent):
    members = message(client)
    await client.ask("POST", "/api/messages", dict(members), ("message.created", members["id"]))
    sent.append((members, []))


async def _edit(client, sent):
    if sent:
        members, _ = client.chance.choice(sent)
        members["body"] = client.ledger.name("new")
        effect = ("message.updated", members["id"], members["body"])
        await client.ask("POST", "/api/messages", dict(members), effect)


async def _mark(client, sent):
    if sent:
        members, marks = client.chance.choice(sent)
        kind = client.chance.choice(("read", "ack"))
        reader = client.chance.choice((*members["to"], "copy", "blind"))
        if (kind, reader) not in marks:
            marks.append((kind, reader))
            path = f"/api/messages/{members['id']}/{kind}?project={client.project}"
            effect = (f"message.{kind}", members["id"], reader)
            await client.ask("POST", path, {"agent": reader}, effect)


async def _work(client, _):
    key = client.ledger.name("task")
    members = {"id": key, "title": key, "project": client.project}
    await client.ask("POST", "/api/tasks", members, ("task.created", key))
    path, members = f"/api/tasks/{key}", {"status": "done", "project": client.project}
    await client.ask("PATCH", path, members, ("task.completed", key))


async def _window(client, _):
    name, uuid = client.ledger.name("sitter"), client.ledger.name("window")
    members = {"name": name, "project": client.project}
    agent = await client.ask("POST", "/api/agents", members, ("agent.registered", name))
    members = {"window_uuid": uuid, "agent_id": agent["agent_id"], "project": client.project}
    members["registration_token"] = agent["token"]
    await client.ask("POST", "/api/windows", members, ("window.registered", uuid))


async def _batch(client, _):
    """Several in one request, which are one commit."""
    commands, effects = [], []
    for method in client.chance.choices(("messages.send", "tasks.create"), k=4):
        if method == "messages.send":
            params = message(client)
            effects.append(("message.created", params["id"]))
        else:
            params = {"id": client.ledger.name("task"), "title": "one of several"}
            effects.append(("task.created", params["id"]))
        commands.append({"method": method, "params": params})
    members = {"project": client.project, "commands": commands}
    answer = await client.ask("POST", "/api/batch", members, *effects)
    for result in answer["results"]:
        assert result["status"] in (200, 201), result


async def begin_projects(client):
    """A project that nobody has used yet in every life, so that files are made and migrated."""
    while not client.ledger.closing:
        life = client.served.life
        client.project = client.ledger.name("new")
        await _send(client, [])
        await _work(client, [])
        while client.served.life == life and not client.ledger.closing:
            await client.served.next_life()
