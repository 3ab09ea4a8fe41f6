"""The log is the truth: folded, rebuilt or written a second time, it says the same."""

import logging
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intermute.domain import commands
from intermute.domain.commands import Caller, RegisterAgent
from intermute.domain.decision import Accepted
from intermute.domain.entities.kinds import KINDS
from intermute.domain.events import MessageCreated
from intermute.domain.modes import Mode
from intermute.project.messages import Ask, Told

from ..project.harness import (
    MONO,
    Desk,
    assert_consistent,
    check,
    log_of,
    quick_folder,
    raw_log,
    release,
    renew,
    reserve,
    tables,
)
from .paths import PATTERNS

SESSIONS = tuple(
    f"{digit * 8}-{digit * 4}-4{digit * 3}-8{digit * 3}-{digit * 12}" for digit in "abcd"
)
quick = settings(deadline=None, max_examples=40, derandomize=True, database=None)

places = st.integers(0, 3)
texts = st.text('abz\u00e9\U0001f600"\\', max_size=4)
maps = st.dictionaries(texts, texts, max_size=3)
changes = st.dictionaries(texts, st.none() | texts, min_size=1, max_size=3)
policies = st.sampled_from(("open", "auto", "contacts_only", "block_all"))
patterns = st.lists(st.sampled_from(PATTERNS), min_size=1, max_size=2)
kinds = st.sampled_from(tuple(KINDS))
entity_ids = st.sampled_from(("", "e1", "e2"))
entity_fields = st.fixed_dictionaries(
    {},
    optional={
        "title": texts,
        "agent": entity_ids,
        "status": st.sampled_from(("done", "validated", "idle")),
        "spec_id": entity_ids,
        "score": st.floats(-9, 9),
        "priority": st.sampled_from(("high", "low")),
        "acceptance_criteria": st.lists(texts, max_size=2),
    },
)
marks = st.sampled_from(("read", "ack"))
people = st.lists(places, max_size=3)
names = st.sampled_from(("", "m1", "m2", "m3"))
steps = st.one_of(
    st.tuples(st.just("register"), places, st.none() | maps, st.none() | st.tuples(texts)),
    st.tuples(st.just("return"), places),
    st.tuples(st.just("heartbeat"), places, st.sampled_from((None, "thinking"))),
    st.tuples(st.just("metadata"), places, changes),
    st.tuples(st.just("policy"), places, policies),
    st.tuples(st.just("contact"), places, texts),
    st.tuples(st.just("no contact"), places, texts),
    st.tuples(st.just("retire"), places),
    st.tuples(st.just("reserve"), places, patterns, st.booleans(), st.sampled_from((1, 60, 900))),
    st.tuples(st.just("queue"), places, patterns, st.booleans(), st.sampled_from((20, 900))),
    st.tuples(st.just("confirm"), places),
    st.tuples(st.just("cancel"), places),
    st.tuples(st.just("narrow"), places, patterns),
    st.tuples(st.just("renew"), places),
    st.tuples(st.just("release"), places),
    st.tuples(st.just("check"), patterns),
    st.tuples(st.just("case"), st.booleans()),
    st.tuples(st.just("send"), places, people, people, people, st.none() | names, names, texts),
    st.tuples(st.just("broadcast"), places, st.booleans()),
    st.tuples(st.just("mark"), places, names, marks),
    st.tuples(st.just("marks"), places, st.lists(names, min_size=1), marks),
    st.tuples(st.just("create"), kinds, entity_ids, entity_fields),
    st.tuples(st.just("replace"), kinds, entity_ids, entity_fields, st.integers(1, 3)),
    st.tuples(st.just("update"), kinds, entity_ids, entity_fields),
    st.tuples(st.just("delete"), kinds, entity_ids),
    st.tuples(st.just("assign"), entity_ids, entity_ids, st.booleans()),
    st.tuples(st.just("link"), entity_ids, entity_ids),
    st.tuples(st.just("link cuj"), entity_ids, texts, st.booleans()),
    st.tuples(
        st.just("later"),
        st.sampled_from((1, 59, 60, 301)),
        st.sampled_from((0, 0, -90_000, 90_000)),
    ),
    st.tuples(st.just("restart"), st.sampled_from((0, 30, 400))),
)
lives = st.lists(steps, min_size=5, max_size=40)


def own(kind, given):
    """What of the fields the kind has."""
    return {name: held for name, held in given.items() if KINDS[kind].field(name)}


class Life:
    """Lives through steps, one by one; keeps what was asked and what was acknowledged."""

    def __init__(self, path):
        self.desk = Desk(path)
        self.asked = []
        self.acknowledged = []

    def agent(self, place):
        """The place-th agent by its session, or a name that is not registered."""
        return self.desk.state.sessions.get(SESSIONS[place], f"ghost{place}")

    def held(self, place):
        held = [*self.desk.state.holdings.by_id.values(), *self.desk.state.lapsed.by_id.values()]
        return (held[place].key, held[place].agent_id) if place < len(held) else ("-", "-")

    def ticket(self, place):
        granted = [held for held in self.desk.state.holdings.by_id.values() if held.ticket_id]
        known = [(held.ticket_id, held.agent_id) for held in granted]
        known += [(ticket.key, ticket.agent_id) for ticket in self.desk.state.line.by_id.values()]
        return known[place] if place < len(known) else ("-", "-")

    def queue(self, place, wanted, exclusive, s):
        mode = Mode.EXCLUSIVE if exclusive else Mode.INTENT_SHARED
        return commands.QueuePaths(
            self.agent(place), tuple(wanted), mode, ttl_ms=60_000, wait_ms=s * 1000
        )

    def command(self, kind, *rest):
        make = {
            "register": self.register,
            "return": lambda place: self.register(place, None, None, token=True),
            "heartbeat": lambda p, focus: commands.Heartbeat(self.agent(p), focus),
            "metadata": lambda p, change: commands.MergeMetadata(self.agent(p), change),
            "policy": lambda p, policy: commands.SetPolicy(self.agent(p), policy),
            "contact": lambda p, name: commands.AddContact(self.agent(p), name),
            "no contact": lambda p, name: commands.RemoveContact(self.agent(p), name),
            "retire": lambda p: commands.RetireAgent(self.agent(p)),
            "reserve": lambda p, wanted, exclusive, s: reserve(
                self.agent(p), *wanted, exclusive=exclusive, ttl_s=s
            ),
            "queue": self.queue,
            "confirm": lambda p: commands.ConfirmGrant(*self.ticket(p)),
            "cancel": lambda p: commands.CancelTicket(*self.ticket(p)),
            "narrow": lambda p, kept: commands.NarrowReservation(
                self.held(p)[0], tuple(kept), self.held(p)[1]
            ),
            "renew": lambda p: renew(*self.held(p)),
            "release": lambda p: release(*self.held(p)),
            "check": lambda wanted: check(*wanted),
            "case": commands.ConfigureProject,
            "create": lambda k, i, given: commands.CreateEntity(k, i, fields=own(k, given)),
            "replace": lambda k, i, given, version: commands.ReplaceEntity(
                k, i, fields=own(k, given), version=version
            ),
            "update": lambda k, i, given: commands.UpdateEntity(k, i, fields=own(k, given)),
            "delete": commands.DeleteEntity,
            "assign": lambda i, agent, reassign: commands.AssignTask(
                "task", i, assignee=agent, reassign=reassign
            ),
            "link": lambda i, spec: commands.LinkInsight("insight", i, spec_id=spec),
            "link cuj": lambda i, feature, on: (commands.LinkCuj if on else commands.UnlinkCuj)(
                "cuj", i, feature_id=feature
            ),
            "send": self.send,
            "broadcast": lambda p, stale: commands.Broadcast(
                self.agent(p), "topic", "body", include_stale=stale
            ),
            "mark": lambda p, name, mark: commands.MarkMessage(
                self.message(name), self.agent(p), mark
            ),
            "marks": lambda p, some, mark: commands.MarkMessages(
                self.agent(p), tuple(map(self.message, some)), mark
            ),
        }
        return make[kind](*rest)

    def send(self, place, to, cc, bcc, message_id, thread_id, text):
        return commands.SendMessage(
            sender=self.agent(place),
            to=tuple(map(self.agent, to)),
            cc=tuple(map(self.agent, cc)),
            bcc=tuple(map(self.agent, bcc)),
            thread_id=thread_id,
            subject=text[:1],
            topic=text[1:2],
            body=text * 150,
            ack_required=len(text) % 2 == 1,
            message_id=message_id or None,
        )

    def message(self, name):
        """The message of that name; without one, the last of all."""
        sent = [data for data in self.acknowledged if isinstance(data, MessageCreated)]
        return name or (sent[-1].message_id if sent else "-")

    def register(self, place, metadata, capabilities, *, token=False):
        who = Caller(self.agent(place), b"t" * 32) if token else Caller()
        command = RegisterAgent(
            b"t" * 32,
            session_id=SESSIONS[place],
            metadata=metadata,
            capabilities=capabilities,
        )
        return self.desk.ask(command, who)

    def live(self, life):
        clock = self.desk.clock
        for kind, *rest in life:
            if kind == "later":
                clock.later(rest[0], wall_s=rest[1])
            elif kind == "restart":
                self.desk.close()
                clock.later(rest[0])
                clock.restart()
                self.asked.append(clock.at_us)
                self.desk.open()
            else:
                command = self.command(kind, *rest)
                ask = command if isinstance(command, Ask) else self.desk.ask(command)
                self.asked.append(ask)
                (told,) = self.desk.tell(ask)
                assert isinstance(told, Told), told
                if isinstance(told.decision, Accepted):
                    self.acknowledged += told.decision.events


def live_again(asked, path, batch_len):
    """The same asks once more, in batches; a number is a restart at that time."""
    desk = Desk(path)
    waiting = []

    def flush():
        if waiting:
            desk.tell(*waiting)
            waiting.clear()

    for ask in asked:
        if isinstance(ask, Ask):
            waiting.append(ask)
            if len(waiting) == batch_len:
                flush()
        else:
            flush()
            desk.close()
            desk.clock.at_us, desk.clock.mono_us = ask, MONO
            desk.open()
    flush()
    desk.close()


@pytest.fixture(autouse=True)
def quiet():
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@quick
@given(lives)
def test_the_log_the_tables_and_the_live_state_say_the_same(life):
    with quick_folder() as folder:
        one = Life(Path(folder) / "x.sqlite3")
        one.live(life)
        assert_consistent(one.desk.path, Path(folder) / "scratch.sqlite3", one.desk.state)
        log = [event.data for event in log_of(one.desk.path)]
        one.desk.close()
        place = 0
        for data in one.acknowledged:
            place = log.index(data, place) + 1


@quick
@given(lives, st.integers(1, 50))
def test_the_same_life_leaves_the_same_bytes(life, batch_len):
    """In two files, decided one by one and in batches."""
    with quick_folder() as folder:
        one = Life(Path(folder) / "one.sqlite3")
        one.live(life)
        one.desk.close()
        other = Path(folder) / "other.sqlite3"
        live_again(one.asked, other, batch_len)
        assert raw_log(one.desk.path) == raw_log(other)
        assert tables(one.desk.path) == tables(other)


@quick
@given(lives)
def test_a_clean_restart_changes_nothing_but_leases(life):
    with quick_folder() as folder:
        one = Life(Path(folder) / "x.sqlite3")
        one.live([step for step in life if step[0] != "restart"])
        before = tables(one.desk.path)
        one.desk.reopen()
        after = tables(one.desk.path)
        assert_consistent(one.desk.path, Path(folder) / "scratch.sqlite3", one.desk.state)
        one.desk.close()
        for name in ("reservations", "tickets"):
            before.pop(name), after.pop(name)
        assert after == before
