"""Commands of every kind in random order, made from a project's state: mostly sensible ones.

The same seed asked of the same state gives the same commands.
"""

import random

from intermute.domain import commands
from intermute.domain.commands import Caller
from intermute.domain.entities.kinds import KINDS
from intermute.domain.modes import Mode

OPERATOR = Caller(operator=True)
AGENTS = ("ann", "bea", "cy", "dan")
PATHS = ("a", "a/*", "b", "b/x", "{a,b}/y", "c/**")
TASKS = ("t1", "t2")
EDITED = ("task", "spec", "cuj", "insight")
BODY_LENS = (10, 300, 6_000)


class Mix:
    """Draws the batches of one life.

    Args:
        desk: The `Desk` that will be asked.
        dice: Decides everything.
        name: Begins what is made up, so that two lives on one file make different things.
    """

    def __init__(self, desk, dice: random.Random, name: str) -> None:
        self._desk = desk
        self._dice = dice
        self._name = name
        self._made = 0
        self._sent: list[str] = []
        makers = sorted(name for name in vars(type(self)) if name.startswith("make_"))
        self._makers = [getattr(self, name) for name in makers]

    def turn_to(self, desk) -> None:
        """Ask this one from now on: the next process on the same file."""
        self._desk = desk

    def batch(self) -> list:
        """One to eight requests; one in three can be asked again."""
        size = self._dice.choice((1, 1, 1, 2, 3, 8))
        return [self._ask() for _ in range(size)]

    def _ask(self):
        made = self._dice.choice(self._makers)()
        key = self._new("key") if made.changes and self._dice.random() < 0.3 else None
        return self._desk.ask(made, OPERATOR, key=key)

    def _new(self, kind):
        self._made += 1
        return f"{self._name}-{kind}{self._made}"

    def _agent(self):
        """An agent that is registered, or a name that is not."""
        return self._dice.choice([*self._desk.state.agents, *AGENTS[:2]])

    def _registered(self):
        return self._dice.choice(list(self._desk.state.agents) or AGENTS)

    def _held(self):
        """The id, the holder and the patterns of something that is held, or of nothing."""
        held = list(self._desk.state.holdings.by_id.values())
        if not held:
            return "none", "ann", ("a",)
        one = self._dice.choice(held)
        return one.key, one.agent_id, one.patterns

    def _ticket(self):
        state = self._desk.state
        granted = [(r.ticket_id, r.agent_id) for r in state.holdings.by_id.values() if r.ticket_id]
        waiting = [(ticket.key, ticket.agent_id) for ticket in state.line.by_id.values()]
        return self._dice.choice([*granted, *granted, *waiting] or [("none", "ann")])

    def _wish(self):
        return {
            "agent_id": self._agent(),
            "patterns": tuple(self._dice.sample(PATHS, self._dice.choice((1, 1, 2)))),
            "mode": self._dice.choice((Mode.EXCLUSIVE, *Mode)),
            "reason": self._new("reason"),
            "ttl_ms": self._dice.choice((10_000, 60_000, 900_000)),
            "renew_on_heartbeat": self._dice.random() < 0.3,
        }

    def _entity(self, kind=None):
        return kind or self._dice.choice((*EDITED, *KINDS)), self._dice.choice(TASKS)

    # Agents

    def make_agent(self):
        name = self._dice.choice(AGENTS)
        return commands.RegisterAgent(self._new(name).encode().ljust(32), name=name)

    def make_heartbeat(self):
        focus = self._dice.choice((None, "thinking", "at-prompt", "at-prompt"))
        return commands.Heartbeat(self._registered(), focus)

    def make_metadata(self):
        value = self._dice.choice((None, "x" * 900))
        return commands.MergeMetadata(self._registered(), {self._dice.choice("kl"): value})

    def make_policy(self):
        return commands.SetPolicy(self._registered(), self._dice.choice(("open", "auto")), "open")

    def make_contact(self):
        kind = self._dice.choice((commands.AddContact, commands.RemoveContact))
        return kind(self._registered(), self._dice.choice(AGENTS))

    def make_retirement(self):
        agents = list(self._desk.state.agents)
        if len(agents) < 4:
            return self.make_agent()
        return commands.RetireAgent(self._dice.choice(agents))

    # Reservations

    def make_reservation(self):
        return commands.ReservePaths(**self._wish())

    def make_queued(self):
        wait_ms = self._dice.choice((20_000, 2_000_000))
        return commands.QueuePaths(
            **self._wish(), wait_ms=wait_ms, held_open=self._dice.random() < 0.3, call=1
        )

    make_more_queued = make_queued

    def make_confirmation(self):
        return commands.ConfirmGrant(*self._ticket())

    def make_cancelled(self):
        return commands.CancelTicket(*self._ticket())

    def make_hung_up(self):
        return commands.HangUp(self._ticket()[0], 1)

    def make_ticket_look(self):
        return commands.DescribeTicket(self._ticket()[0])

    def make_renewal(self):
        key, agent_id, _ = self._held()
        return commands.RenewReservation(key, agent_id)

    def make_release(self):
        key, agent_id, _ = self._held()
        return commands.ReleaseReservation(key, agent_id)

    make_more_releases = make_release

    def make_narrowed(self):
        key, agent_id, patterns = self._held()
        kept = self._dice.choice((*patterns, "c/d"))
        return commands.NarrowReservation(key, (kept,), agent_id)

    def make_hand_over(self):
        state = self._desk.state
        pairs = [
            (held, waiting)
            for held in state.holdings.by_id.values()
            for waiting in state.line.by_id.values()
            if set(held.patterns) & set(waiting.patterns) and held.agent_id != waiting.agent_id
        ]
        if not pairs:
            return self.make_more_queued()
        held, waiting = self._dice.choice(pairs)
        return commands.HandOver(held.key, waiting.agent_id, held.agent_id)

    make_more_hand_overs = make_hand_over

    def make_forced(self):
        return commands.ForceRelease(self._held()[0], "by order of a test", "a test")

    def make_check(self):
        return commands.CheckPaths((self._dice.choice(PATHS),))

    def make_fence(self):
        return commands.CheckFence(self._dice.randrange(1, max(2, self._desk.state.cursor)))

    def make_plan(self):
        steps = [
            commands.PlannedStep(f"s{n}", self._agent(), (self._dice.choice(PATHS),))
            for n in range(3)
        ]
        return commands.PreflightPlan(tuple(steps))

    def make_sweep(self):
        return commands.ExpireLeases()

    def make_taken_up(self):
        return self._dice.choice((commands.ResumeLeases(), commands.ResumePokes()))

    # Messages

    def make_message(self):
        name = self._new("message")
        if self._sent and self._dice.random() < 0.2:
            name = self._dice.choice(self._sent)
        self._sent.append(name)
        return commands.SendMessage(
            self._registered(),
            tuple(dict.fromkeys((self._agent(), self._agent()))),
            cc=(self._agent(),),
            bcc=("dora",),
            thread_id=self._dice.choice(("", "t", "u")),
            subject=name,
            body="word " * (self._dice.choice(BODY_LENS) // 5),
            ack_required=self._dice.random() < 0.5,
            message_id=name,
            transport=self._dice.choice(("", "both", "both")),
        )

    def make_broadcast(self):
        return commands.Broadcast(self._registered(), "news", "all hands", self._new("news"))

    def make_mark(self):
        message = self._dice.choice(self._sent or ["none"])
        return commands.MarkMessage(message, "dora", self._dice.choice(("read", "ack")))

    def make_marks(self):
        some = tuple(self._dice.choices(self._sent or ["none"], k=3))
        return commands.MarkMessages(self._agent(), some, "read")

    # Windows and pokes

    def make_window(self):
        state = self._desk.state
        agent_id = self._registered()
        token = state.agents[agent_id].token_hash if agent_id in state.agents else b"t" * 32
        pane = self._new("pane").encode().ljust(32)
        return commands.RegisterWindow(
            f"w-{agent_id[:20]}", agent_id, token, pane, tmux_target="main:0.0"
        )

    def make_expired_window(self):
        known = list(self._desk.state.windows.by_uuid) or ["none"]
        return commands.ExpireWindow(self._dice.choice(known))

    def make_settled(self):
        pending = list(self._desk.state.pokes) or [("none", "ann")]
        message_id, agent_id = self._dice.choice(pending)
        injected = self._dice.random() < 0.5
        outcome = commands.PokeOutcome(agent_id, injected, "" if injected else "pane_gone")
        return commands.SettlePokes(message_id, (outcome,))

    def make_surfaced(self):
        message_id = self._dice.choice(self._sent or ["none"])
        return commands.SurfacePoke(self._agent(), message_id)

    # Entities

    def make_entity(self):
        kind, entity_id = self._entity()
        return commands.CreateEntity(kind, f"{kind}-{entity_id}")

    make_more_entities = make_entity

    def make_task(self):
        return commands.CreateEntity("task", f"task-{self._dice.choice(TASKS)}")

    def make_edit(self):
        kind, entity_id = self._entity(self._dice.choice(EDITED))
        edit = self._dice.choice((commands.ReplaceEntity, commands.UpdateEntity))
        return edit(kind, f"{kind}-{entity_id}", None, {"title": self._new("title")})

    def make_deletion(self):
        if self._dice.random() < 0.5:
            return self.make_entity()
        kind, entity_id = self._entity()
        return commands.DeleteEntity(kind, f"{kind}-{entity_id}")

    def make_claim(self):
        return commands.AssignTask(
            *("task", f"task-{self._dice.choice(TASKS)}", None, self._agent()), reassign=True
        )

    def make_link(self):
        spec = f"spec-{self._dice.choice(TASKS)}"
        return commands.LinkInsight("insight", f"insight-{self._dice.choice(TASKS)}", None, spec)

    def make_cuj(self):
        kind = self._dice.choice((commands.LinkCuj, commands.UnlinkCuj))
        return kind("cuj", f"cuj-{self._dice.choice(TASKS)}", None, "f")

    def make_setting(self):
        live = self._dice.choice(("on", "on", "default"))
        return commands.ConfigureProject(None, live)
