"""Who lives in a simulated town: agents that work, write, wait, sleep and leave, and an operator.

Each does as its own dice say, asks again when it does not know what became of a request, and tells
the judge what it wants, what it was answered, and from when on it counts on nothing any more.
"""

from datetime import datetime
from typing import TYPE_CHECKING, Any

import attrs
import trio

from intermute.domain.modes import Mode

from ..properties.oracle import Claim
from .clients import Answer, HttpClient
from .judge import Deed
from .virtual import WALL_S
from .world import WANTED

if TYPE_CHECKING:
    import random

    from .town import Town

MODES = (Mode.EXCLUSIVE,) * 5 + tuple(Mode)
TTLS_S = (15, 40, 120, 300)
WAITS_S = (5, 20, 60)
QUEUES_S = (20, 90, 240)
TRIES_MAX = 8
NAPS_S = (30, 130, 320, 420)
PROMPT_S = 15.0
# What a request may be refused with though nothing is wrong with it.
REFUSALS = {
    "reservation_conflict", "reservation_not_found", "reservation_lapsed", "deadlock",
    "stale_token", "ticket_not_found", "no_such_waiter", "not_covered", "limit_reached",
    "agent_not_found", "not_the_owner", "agent_identity_mismatch",
}  # fmt: skip


@attrs.define
class Held:
    """What an agent was granted, and may hold still."""

    key: str
    token: int
    patterns: tuple[str, ...]


class Inhabitant:
    """Somebody with a connection and dice of its own, in one project."""

    def __init__(self, town: "Town", name: str, project: str) -> None:
        self.town = town
        self.judge = town.judge
        self.name = name
        self.project = project
        self.dice: random.Random = town.machine.dice(name)
        self.http = HttpClient(town.network, town.judge, name, project)
        self._deeds = 0

    async def pause(self, mean_s: float) -> None:
        await trio.sleep(self.dice.expovariate(1 / mean_s))

    def deed(self, kind: str, agent_id: str, **more: Any) -> Deed:
        self._deeds += 1
        mark = f"{self.name}-{self._deeds} of {self.project}"
        found = Deed(kind, self.project, agent_id, mark, **more)
        self.judge.deeds[mark] = found
        return found

    async def ask(
        self,
        method: str,
        target: str,
        members: Any = None,
        *,
        key: str | None = None,
        tries: int = TRIES_MAX,
        headers: tuple[tuple[str, str], ...] = (),
        also: str = "",
        **how: Any,
    ) -> Answer | None:
        """Ask, and ask again as long as it is not known what came of it; None if it never is.

        Args:
            also: One more refusal that is no mistake of who asks.
        """
        if key is not None:
            headers = (*headers, ("Idempotency-Key", key))
        try:
            return await self._ask(method, target, members, headers, tries, also, how)
        finally:
            self.http.linger_no_more()

    async def _ask(
        self,
        method: str,
        target: str,
        members: Any,
        headers: tuple[tuple[str, str], ...],
        tries: int,
        also: str,
        how: dict[str, Any],
    ) -> Answer | None:
        asked_s = trio.current_time()
        for attempt in range(tries):
            answer = await self.http.call(method, target, members, headers=headers, **how)
            if answer is not None and answer.status != 503:
                if answer.status >= 400:
                    self.judge.count(answer.error)
                    known = answer.error in REFUSALS or answer.error == also
                    self.judge.hold_to(known, f"{method} {target} {members}: {answer.body}")
                if answer.replayed:
                    self.judge.count("replayed")
                return attrs.evolve(answer, asked_s=asked_s, attempt=attempt)
            self.judge.count("unknown" if answer is None else f"503 {answer.error}")
            if self.http.lingers:
                self.town.operators[self.project].make_way(members)
            else:
                await self.pause(2.0)
        return None


class Agent(Inhabitant):
    """One agent. `careful` ones show their token; some never register."""

    def __init__(self, town: "Town", name: str, project: str) -> None:
        super().__init__(town, name, project)
        self.careful = self.dice.random() < 0.4
        self.registers = self.dice.random() < 0.85
        self.pace_s = self.dice.choice((1.0, 3.0, 8.0))
        self.agent_id = name
        self.token = ""
        self.held: dict[str, Held] = {}
        self.read_to = 0

    async def live(self) -> None:
        await self.pause(3.0)
        await self.register()
        deeds = (self.reserve, self.tend, self.write, self.read, self.beat, self.sleep, self.leave)
        while True:
            await self.pause(self.pace_s)
            (deed,) = self.dice.choices(deeds, (8, 12, 5, 3, 3, 0.6, 0.3))
            await deed()

    # Who one is

    @property
    def proof(self) -> tuple[tuple[str, str], ...]:
        own = (("X-Agent-ID", self.agent_id),)
        return (*own, ("X-Agent-Token", self.token)) if self.careful and self.token else own

    def key(self) -> str | None:
        return f"key-{self.dice.getrandbits(64):x}" if self.dice.random() < 0.8 else None

    async def register(self) -> None:
        if not self.registers:
            self.town.welcome(self.project, self.agent_id, self.proof)
            return
        while True:
            key = f"key-{self.dice.getrandbits(64):x}"
            members = {"name": self.name, "project": self.project}
            answer = await self.ask("POST", "/api/agents", members, key=key)
            if answer is not None:
                break
        self.agent_id, self.token = answer.body["agent_id"], answer.body["token"]
        self.judge.acknowledge(self.project, "agent.registered", self.agent_id)
        self.town.welcome(self.project, self.agent_id, self.proof)
        self.held.clear()
        self.read_to = 0

    async def leave(self) -> None:
        """For good; somebody new comes."""
        if not self.registers:
            return
        self.judge.let_all_go(self.agent_id)
        answer = await self.ask("DELETE", f"/api/agents/{self.agent_id}", headers=self.proof)
        if answer is not None and answer.status == 200:
            self.judge.acknowledge(self.project, "agent.retired", self.agent_id)
        await self.register()

    async def beat(self) -> None:
        if self.registers:
            await self.ask("POST", f"/api/agents/{self.agent_id}/heartbeat", headers=self.proof)

    async def sleep(self) -> None:
        """Long enough that leases may be over; then it comes back as if nothing had been."""
        await trio.sleep(self.dice.choice(NAPS_S))
        self.judge.count("nap")
        for held in list(self.held.values()):
            await self.renew(held)

    # Reservations

    async def reserve(self) -> None:
        kind = self.dice.choices(("reserve", "wait", "queue"), (4, 3, 3))[0]
        if kind == "queue" and not self.registers:
            kind = "wait"
        key = self.key()
        deed = self.deed(kind, self.agent_id, once=key is not None)
        wanted = self.dice.sample(WANTED, self.dice.choice((1, 1, 2)))
        members = {
            "agent_id": self.agent_id,
            "project": self.project,
            "patterns": wanted,
            "mode": self.dice.choice(MODES).value,
            "ttl_seconds": self.dice.choice(TTLS_S),
            "reason": deed.mark,
            # A feed of its own would renew it for ever, and careful agents have no followers.
            "renew_on_heartbeat": self.dice.random() < 0.4 and self.careful,
        }
        how: dict[str, Any] = {}
        if kind == "wait":
            members["wait_seconds"] = how["wait_s"] = self.dice.choice(WAITS_S)
            if self.dice.random() < 0.3:
                # Whoever goes away does not ask again, but for some.
                how["leave_s"] = self.dice.uniform(0, members["wait_seconds"])
                how["orderly"] = self.dice.random() < 0.5
                how["tries"] = self.dice.choice((1, 1, 3))
            elif self.dice.random() < 0.5:
                # Others lose patience, and ask again before they hang up.
                how["leave_s"] = self.dice.uniform(0, members["wait_seconds"] / 2)
                how["linger_turns"], how["tries"] = self.dice.randrange(12), 5
        elif kind == "queue":
            members |= {"queue": True, "queue_seconds": self.dice.choice(QUEUES_S)}
        answer = await self.ask(
            "POST", "/api/reservations", members, key=key, headers=self.proof, **how
        )
        if answer is None:
            return
        if answer.status == 201:
            self.judge.done(deed, answer.body["id"])
            if kind == "wait" and answer.body["reason"] == deed.mark:
                self.was_prompt(answer)
            self.granted(answer)
        elif kind == "wait":
            self.judge.hold_to(
                answer.error != "ticket_not_found", f"{self.name} has not cancelled: {answer}"
            )
        elif answer.status == 202:
            await self.take_turn(answer.body["ticket_id"])

    def was_prompt(self, answer: Answer) -> None:
        """Whoever is on the line hears of a grant at once, and not when its time is over.

        But for a disk that fails after the grant: then it hears when the disk is well again.
        """
        granted_at_s = _seconds(answer.body["created_at"])
        if (
            answer.attempt
            or self.town.machine.wall_jumps
            or self.town.disk_failed_since(granted_at_s)
        ):
            return
        since_s = trio.current_time() - granted_at_s
        self.judge.hold_to(since_s < PROMPT_S, f"told {since_s} s late: {answer.body}")

    def granted(self, answer: Answer) -> None:
        body = answer.body
        held = Held(body["id"], body["fencing_token"], tuple(body["patterns"]))
        self.judge.acknowledge(self.project, "reservation.created", held.key)
        self.held[held.key] = held
        self.believe(answer)

    def believe(self, answer: Answer) -> None:
        """Count on what was answered for as long as is certain."""
        body = answer.body
        if answer.place is None or not body["is_active"]:
            return
        if answer.replayed and self.town.machine.wall_jumps:
            # It was granted before, and perhaps judged by another wall clock since.
            return
        until_s = answer.asked_s + body["ttl_seconds"]
        if not self.town.machine.wall_jumps:
            until_s = _seconds(body["expires_at"])
        self.judge.believe(self.project, body, until_s=until_s, place=answer.place)

    async def take_turn(self, ticket_id: str) -> None:
        """Wait for a ticket, look at it now and then, and perhaps take up what it is granted."""
        target = f"/api/reservations/tickets/{ticket_id}"
        patience = self.dice.randrange(1, 12)
        for _ in range(patience):
            await self.pause(8.0)
            answer = await self.ask("GET", target)
            if answer is None:
                continue
            if answer.status != 200 or answer.body["state"] in ("skipped", "cancelled"):
                return
            if answer.body["state"] == "granted":
                if self.dice.random() < 0.15:
                    return
                answer = await self.ask("POST", f"{target}/confirm", headers=self.proof)
                if answer is not None and answer.status == 200:
                    self.judge.count("confirmed")
                    self.granted(answer)
                return
            await self.beat()
        if self.dice.random() < 0.7:
            await self.ask("DELETE", target, headers=self.proof)

    async def tend(self) -> None:
        """Do something about what one holds."""
        if not self.held:
            return
        held = self.dice.choice(list(self.held.values()))
        deeds = (self.renew, self.release, self.narrow, self.hand_over, self.look_at_fence)
        (deed,) = self.dice.choices(deeds, (4, 6, 1.5, 2.5, 2))
        await deed(held)

    def shown(self, held: Held) -> dict[str, Any]:
        """Its token, or not."""
        return {"fencing_token": held.token} if self.dice.random() < 0.5 else {}

    async def renew(self, held: Held) -> None:
        target = f"/api/reservations/{held.key}/renew"
        members = {"agent_id": self.agent_id, **self.shown(held)}
        # A renewal that is answered again from memory says nothing about now.
        answer = await self.ask("POST", target, members, headers=self.proof)
        if answer is None or answer.status != 200:
            self.held.pop(held.key, None)
            return
        self.judge.acknowledge(self.project, "reservation.renewed", held.key)
        self.believe(answer)

    async def release(self, held: Held) -> None:
        self.judge.let_go(held.key)
        target = f"/api/reservations/{held.key}"
        answer = await self.ask("DELETE", target, headers=self.proof, key=self.key())
        self.held.pop(held.key, None)
        if answer is not None and answer.status == 200 and "released_at" in answer.body:
            self.judge.acknowledge(self.project, "reservation.released", held.key)

    async def narrow(self, held: Held) -> None:
        self.judge.unsettle(held.key)
        members = {"agent_id": self.agent_id, "patterns": held.patterns[:1], **self.shown(held)}
        answer = await self.ask(
            "PATCH",
            f"/api/reservations/{held.key}",
            members,
            headers=self.proof,
            # It holds, or waits for, just what would be left.
            also="invalid_request",
        )
        if answer is None or answer.status != 200:
            self.held.pop(held.key, None)
            return
        self.judge.count("narrowed")
        held.patterns = held.patterns[:1]
        self.judge.narrow(held.key, held.patterns)
        # The lease stays as it is, and of how long that is only the wall clock tells.
        if not self.town.machine.wall_jumps:
            self.believe(answer)

    async def hand_over(self, held: Held) -> None:
        found = await self.ask("GET", f"/api/reservations/tickets?project={self.project}", tries=1)
        if found is None or found.status != 200 or not found.body["tickets"]:
            return
        to = self.dice.choice(found.body["tickets"])["agent_id"]
        self.judge.let_go(held.key)
        target = f"/api/reservations/{held.key}/handover"
        members = {"agent_id": self.agent_id, "to": to}
        answer = await self.ask("POST", target, members, headers=self.proof, key=self.key())
        self.held.pop(held.key, None)
        if answer is not None and answer.status == 200:
            self.judge.acknowledge(self.project, "reservation.released", held.key)

    async def look_at_fence(self, held: Held) -> None:
        known = self.judge.superseder(self.project, held.token)
        target = f"/api/reservations/fence?project={self.project}&token={held.token}"
        answer = await self.ask("GET", target)
        if answer is None or answer.status != 200:
            return
        self.judge.count(f"fence {answer.body['status']}")
        stale = not answer.body["newest"]
        self.judge.hold_to(stale or known is None, f"{held} is not newer than {known}")

    # Messages

    async def write(self) -> None:
        others = self.town.members[self.project]
        to = tuple(dict.fromkeys(self.dice.choices(others, k=self.dice.choice((1, 1, 2, 4)))))
        how = self.dice.choice(("key", "key", "id", "neither"))
        deed = self.deed("message", self.agent_id, to=to, once=how != "neither")
        members = {"from": self.agent_id, "to": to, "project": self.project, "subject": deed.mark}
        members["body"] = "x" * self.dice.choice((10, 10, 100, 3_000))
        if how == "id":
            members["id"] = deed.mark
        answer = await self.ask(
            "POST",
            "/api/messages",
            members,
            key=f"key-{self.dice.getrandbits(64):x}" if how == "key" else None,
            headers=self.proof,
            tries=1 if how == "neither" else TRIES_MAX,
        )
        if answer is not None and answer.status == 200:
            self.judge.done(deed, answer.body["message_id"])
            self.judge.acknowledge(self.project, "message.created", answer.body["message_id"])

    async def read(self) -> None:
        target = f"/api/inbox/{self.agent_id}?project={self.project}&since_cursor={self.read_to}"
        page = await self.ask("GET", target, headers=self.proof)
        if page is None or page.status != 200:
            return
        self.read_to = page.body["cursor"]
        for message in page.body["messages"][:3]:
            target = f"/api/messages/{message['id'].replace(' ', '%20')}/ack?project={self.project}"
            members = {"agent": self.agent_id}
            answer = await self.ask("POST", target, members, headers=self.proof)
            if answer is not None and answer.status == 200:
                what = f"{message['id']} {self.agent_id}"
                self.judge.acknowledge(self.project, "message.ack", what)


def _seconds(text: str) -> float:
    """A time of an answer on the clock of the simulation, if nobody has set the wall clock."""
    return datetime.fromisoformat(text).timestamp() - WALL_S


class Operator(Inhabitant):
    """Ends reservations of others, now and then or just when somebody leaves and asks again."""

    def __init__(self, town: "Town", name: str, project: str) -> None:
        super().__init__(town, name, project)
        self._chosen: list[str] = []
        self._called = trio.Event()

    def make_way(self, wanted: dict[str, Any]) -> None:
        """Let somebody have what it waits for, as far as holders are in its way."""
        claim = Claim(
            "", wanted["agent_id"], tuple(wanted["patterns"]), Mode(wanted["mode"]), cursor=0
        )
        self._chosen = self.judge.in_the_way(self.project, claim)
        if self._chosen:
            self._called.set()

    async def live(self) -> None:
        while True:
            self._called = trio.Event()
            with trio.move_on_after(self.dice.expovariate(1 / 40.0)) as alone:
                await self._called.wait()
            if not alone.cancelled_caught:
                for chosen in self._chosen:
                    await self.end(chosen)
                continue
            found = await self.ask("GET", f"/api/reservations?project={self.project}")
            if found is not None and found.body.get("reservations"):
                await self.end(self.dice.choice(found.body["reservations"])["id"])

    async def end(self, chosen: str) -> None:
        self.judge.let_go(chosen)
        target = f"/api/reservations/{chosen}/force-release"
        answer = await self.ask("POST", target, {"reason": "by order of a test"})
        if answer is not None and answer.status == 200:
            self.judge.acknowledge(self.project, "reservation.released", chosen)
