"""kill -9 under mail, marks, entities and reservations, while two feeds follow across the kills.

What was acknowledged is there, and both feeds have seen the log, in order, once.
"""

import random
import signal
from contextlib import suppress
from types import SimpleNamespace

import attrs
import h11
import trio
from trio_websocket import ConnectionClosed

from intermute.domain.events import ReservationCreated
from intermute.storage.files import file_name

from ..e2e.listening import listening, streaming
from ..project.harness import assert_consistent, log_of
from .served import Gone, connected, start
from .test_io_mail import mailboxes_are_right

SEED = 20_261_121
CYCLES = 3
CLIENTS = 5
BLIND = "blind"


@attrs.define
class Ledger:
    """What clients were told yes to, and beside it what they had asked for."""

    sent: dict[str, str] = attrs.field(factory=dict)
    edited: set[str] = attrs.field(factory=set)
    editing: set[str] = attrs.field(factory=set)
    read: set[str] = attrs.field(factory=set)
    reading: set[str] = attrs.field(factory=set)
    tasks: set[str] = attrs.field(factory=set)
    done: set[str] = attrs.field(factory=set)
    reserved: set[str] = attrs.field(factory=set)
    unknown: list[str] = attrs.field(factory=list)
    made: int = 0
    left: int = 0
    enough: trio.Event = attrs.field(factory=trio.Event)

    def acknowledged(self):
        self.left -= 1
        if self.left <= 0:
            self.enough.set()


@attrs.define
class Follower:
    """All that one feed has brought, over all its connections."""

    seen: list[tuple[int, str, str]] = attrs.field(factory=list)

    @property
    def cursor(self):
        return self.seen[-1][0] if self.seen else 0

    def take(self, frame):
        self.seen.append((frame["cursor"], frame["type"], frame["entity_id"]))


async def follow_socket(port, follower, opened, until):
    server = SimpleNamespace(port=port)
    async with listening(server, since_cursor=follower.cursor) as listener:
        opened.set()
        with suppress(ConnectionClosed):
            while follower.cursor < until:
                follower.take(await listener.event())


async def follow_stream(port, follower, opened, until):
    headers = {"Last-Event-ID": str(follower.cursor)}
    async with streaming(SimpleNamespace(port=port), headers=headers) as stream:
        opened.set()
        with suppress(h11.RemoteProtocolError, trio.BrokenResourceError):
            while follower.cursor < until:
                follower.take((await anext(stream)).data)


FOLLOWING = (follow_socket, follow_stream)


async def send(client, ledger, key):
    """A message with an id of the client's own, so that it can be sent again."""
    to = f"in{int(key[4:]) % 3}"
    body = {"id": key, "from": "load", "to": [to], "cc": ["copy"], "bcc": [BLIND], "body": key}
    ledger.unknown.append(key)
    more = {"subject": f"on{key}", "thread_id": f"t{len(key)}", "topic": "load"}
    status, answer = await client.call("POST", "/api/messages", (), body | more)
    assert status == 200, answer
    ledger.unknown.remove(key)
    ledger.sent[key] = to
    ledger.acknowledged()


async def edit(client, ledger, key):
    ledger.editing.add(key)
    body = {"id": key, "from": "load", "to": [ledger.sent[key]], "body": f"new{key}"}
    status, answer = await client.call("POST", "/api/messages", (), body | {"subject": f"on{key}"})
    assert status == 200, answer
    ledger.edited.add(key)
    ledger.acknowledged()


async def mark(client, ledger, key):
    ledger.reading.add(key)
    body = {"agent": ledger.sent[key], "message_ids": [key]}
    status, answer = await client.call("POST", "/api/messages/read", (), body)
    assert status == 200, answer
    ledger.read.add(key)
    ledger.acknowledged()


async def work(client, ledger, key):
    """A task is made, and done."""
    status, answer = await client.call("POST", "/api/tasks", (), {"id": key, "title": key})
    assert status == 201, answer
    ledger.tasks.add(key)
    status, answer = await client.call("PATCH", f"/api/tasks/{key}", (), {"status": "done"})
    assert status == 200, answer
    ledger.done.add(key)
    ledger.acknowledged()


async def reserve(client, ledger, key):
    members = {"agent_id": "load", "path": key, "reason": key}
    headers = [("Idempotency-Key", key)]
    status, answer = await client.call("POST", "/api/reservations", headers, members)
    assert status == 201, answer
    ledger.reserved.add(key)
    ledger.acknowledged()


async def load(port, ledger, seed):
    """One client, until the server is gone. It changes only what it has sent itself."""
    chance = random.Random(seed)
    mine = []
    async with connected(port) as client:
        with suppress(Gone):
            while True:
                ledger.made += 1
                key = f"word{ledger.made}"
                what = chance.choice((send, send, send, edit, mark, mark, work, reserve))
                if what in (edit, mark):
                    if not mine:
                        continue
                    key = chance.choice(mine)
                await what(client, ledger, key)
                if what is send:
                    mine.append(key)


async def live_until_killed(folder, ledger, followers, chance):
    async with trio.open_nursery() as nursery:
        process, port = await start(folder, nursery)
        for follow, follower in zip(FOLLOWING, followers, strict=True):
            opened = trio.Event()
            nursery.start_soon(follow, port, follower, opened, float("inf"))
            await opened.wait()
        ledger.left, ledger.enough = chance.randrange(60, 160), trio.Event()
        for _ in range(CLIENTS):
            nursery.start_soon(load, port, ledger, chance.random())
        await ledger.enough.wait()
        process.kill()
        await process.wait()


async def get(client, path):
    status, answer = await client.call("GET", path)
    assert status == 200, (path, answer)
    return answer


async def look_at_messages(client, ledger):
    for key in ledger.sent:
        body = (await get(client, f"/api/messages/{key}"))["body"]
        allowed = {f"new{key}"} if key in ledger.edited else {key}
        assert body in (allowed | {f"new{key}"} if key in ledger.editing else allowed), key
        for word in {key, f"new{key}"}:
            found = (await get(client, f"/api/search?q={word}"))["messages"]
            assert [message["id"] for message in found] == ([key] if word == body else [])


async def look_at_inboxes(client, ledger):
    for agent_id in ("in0", "in1", "in2", "copy", BLIND):
        mail = (await get(client, f"/api/inbox/{agent_id}?limit=1000"))["messages"]
        sent = {key for key, to in ledger.sent.items() if agent_id in (to, "copy", BLIND)}
        assert len(mail) == len(sent)
        assert {message["id"] for message in mail} == sent
        read = {message["id"] for message in mail if "read_at" in message}
        assert ledger.read & sent <= read <= ledger.reading or agent_id in ("copy", BLIND)
        counts = await get(client, f"/api/inbox/{agent_id}/counts")
        assert counts == {"total": len(mail), "unread": len(mail) - len(read)}


async def look(folder, ledger, followers):
    """Start again, send again what is unknown, compare, follow to the end, stop the clean way."""
    async with trio.open_nursery() as nursery:
        process, port = await start(folder, nursery)
        async with connected(port) as client:
            for key in tuple(ledger.unknown):
                ledger.unknown.remove(key)
                await send(client, ledger, key)
            await look_at_messages(client, ledger)
            await look_at_inboxes(client, ledger)
            for key in ledger.tasks:
                task = await get(client, f"/api/tasks/{key}")
                assert task["status"] == "done" or key not in ledger.done
            head = (await get(client, "/api/events?since_cursor=0&limit=1000000"))["cursor"]
            while (page := await get(client, f"/api/events?since_cursor={head}"))["events"]:
                head = page["cursor"]
        for follow, follower in zip(FOLLOWING, followers, strict=True):
            await follow(port, follower, trio.Event(), head)
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0


async def test_feeds_that_resume_across_kills_see_the_log_once(tmp_path):
    chance = random.Random(SEED)
    ledger, followers = Ledger(), [Follower() for _ in FOLLOWING]
    for _ in range(CYCLES):
        with trio.fail_after(120):
            await live_until_killed(tmp_path, ledger, followers, chance)
    with trio.fail_after(120):
        await look(tmp_path, ledger, followers)
    path = tmp_path / "data" / file_name("default")
    assert_consistent(path, tmp_path / "scratch.sqlite3")
    mailboxes_are_right(path)
    log = log_of(path)
    told = [(event.cursor, event.type, event.data.entity_id) for event in log]
    for follower in followers:
        assert follower.seen == told
    held = {event.data.reason for event in log if isinstance(event.data, ReservationCreated)}
    assert ledger.reserved <= held
    assert len(ledger.sent) > 50, "there was some load"
    assert all((ledger.read, ledger.edited, ledger.done, ledger.reserved))
