"""The same for messages, marks, broadcasts, entities, windows and pokes: each step fails once.

Beside the log, the counts of every mailbox, the threads and the words are those of the messages.
"""

import shutil

import pytest

from intermute.domain import commands
from intermute.domain.commands import (
    AssignTask,
    Broadcast,
    Caller,
    ConfigureProject,
    CreateEntity,
    DeleteEntity,
    ExpireWindow,
    Heartbeat,
    LinkCuj,
    LinkInsight,
    MarkMessage,
    MarkMessages,
    PokeOutcome,
    RegisterWindow,
    ReplaceEntity,
    ResumePokes,
    SendMessage,
    SettlePokes,
    SurfacePoke,
    UnlinkCuj,
    UpdateEntity,
)
from intermute.domain.commands.base import AgentCommand
from intermute.domain.commands.entities import EntityCommand
from intermute.domain.decision import Accepted
from intermute.domain.entities.kinds import KINDS
from intermute.domain.events import PeerWindowPoke

from ..project.harness import Desk, opened
from .lives import ERRORS, fail_at_every_step, keyed, later_desk

LONG = "word " * 3_000


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A file with some mail in it, an entity of each kind and a window that can be typed into."""
    desk = Desk(tmp_path_factory.mktemp("base") / "x.sqlite3")
    alice, bob, carol = (desk.register(name) for name in ("alice", "bob", "carol"))
    desk.one(commands.SetPolicy(bob, "open", "open"))
    desk.one(ConfigureProject(None, "on"), Caller(operator=True))
    for n in range(4):
        desk.one(mail(f"m{n}", alice, bob, cc=(carol,), bcc=("dora",), thread_id="t"))
    for kind in KINDS:
        desk.one(CreateEntity(kind, f"{kind}1"))
    desk.one(window(bob))
    desk.one(Heartbeat(bob, "at-prompt"))
    assert desk.one(mail("typed", alice, bob, transport="both")).delivery == {bob: "pending"}
    desk.close()
    return desk.path


def mail(name, sender, *to, **members):
    """A message that tells which one it is by its subject."""
    body = members.pop("body", f"the words of {name}")
    return SendMessage(sender, to, subject=name, body=body, message_id=name, **members)


def window(agent_id):
    return RegisterWindow("w", agent_id, b"bob".ljust(32), b"p" * 32, tmux_target="main:0.0")


def entity(kind, name):
    named = "name" if kind == "session" else "title"
    return CreateEntity(kind, "", fields={named: name})


def batches(desk):
    """Every kind of command, alone and together."""
    alice, bob, carol = list(desk.state.agents)[:3]
    edit = {"cc": (carol,), "bcc": ("dora",)}
    yield [desk.ask(mail("n1", alice, bob, carol, bcc=("dora",), thread_id="u"), key="n1")]
    yield [desk.ask(mail("m0", alice, bob, body=LONG, thread_id="u", **edit), key="edit")]
    yield [
        desk.ask(MarkMessage("m0", "dora", "read"), key="read"),
        desk.ask(MarkMessages(bob, ("m1", "m2", "none"), "ack"), key="acks"),
        desk.ask(mail("n2", bob, alice, thread_id="t", ack_required=True), key="n2"),
        keyed(desk, "k1", "one"),
    ]
    yield [desk.ask(Broadcast(alice, "news", "all hands", "b1"), key="b1")]
    yield [desk.ask(Heartbeat(bob, "at-prompt"))]
    yield [
        desk.ask(mail("p1", alice, bob, transport="both"), key="p1"),
        desk.ask(mail("p2", "eve", bob, carol, transport="both"), key="p2"),
    ]
    yield [desk.ask(SettlePokes("p1", (PokeOutcome(bob, False, "pane_gone"),)), key="settle")]
    yield [desk.ask(ResumePokes(), key="resume")]
    yield [desk.ask(SurfacePoke(bob, "p1"))]
    yield [desk.ask(window(bob), key="w"), desk.ask(ExpireWindow("w"), key="expire")]
    yield [desk.ask(entity("cuj", "c"), key="c"), desk.ask(LinkCuj("cuj", "cuj1", None, "f"))]
    yield [desk.ask(UnlinkCuj("cuj", "cuj1", None, "f"))]
    yield [
        desk.ask(ReplaceEntity("epic", "epic1", None, {"spec_id": "spec1"}, 1), key="put"),
        desk.ask(UpdateEntity("story", "story1", None, {"status": "done"}), key="patch"),
        desk.ask(AssignTask("task", "task1", None, bob), key="assign"),
        desk.ask(LinkInsight("insight", "insight1", None, "spec1"), key="link"),
    ]
    yield [desk.ask(DeleteEntity("cuj", "cuj1"), key="gone")]
    yield [desk.ask(mail(f"many{n}", alice, bob, f"to{n}"), key=f"many{n}") for n in range(6)]
    yield [desk.ask(mail("last", alice, bob, thread_id="t"), key="last")]


def test_the_script_has_every_kind_of_command(base, folder):
    """What is not in this one is in that of the reservations and the agents. All is accepted."""
    shutil.copy(base, folder / "x.sqlite3")
    desk = later_desk(folder / "x.sqlite3", 30)
    asked = set()
    for batch in batches(desk):
        for ask, told in zip(batch, desk.tell(*batch), strict=True):
            assert isinstance(told.decision, Accepted), told
            asked.add(type(ask.command))
    log = [event.data for event in desk.events()]
    desk.close()
    assert {data.result for data in log if isinstance(data, PeerWindowPoke)} >= {"pending"}
    mine = ("messages", "entities", "windows", "pokes")
    every = {
        found
        for noun in mine
        for found in vars(getattr(commands, noun)).values()
        if isinstance(found, type) and issubclass(found, commands.Command) and found.kind
    }
    assert every - {commands.Command, AgentCommand, EntityCommand} <= asked


def mailboxes_are_right(path):
    """The counts are those of the rows, and each message is found by its words once."""
    with opened(path) as connection:
        counted = connection.execute(
            "SELECT agent_id, count(*), sum(read_at_us IS NULL) FROM deliveries GROUP BY agent_id"
        )
        kept = connection.execute("SELECT agent_id, total, unread FROM mailboxes")
        assert sorted(counted) == sorted(kept)
        for message_id, cursor, subject in list(
            connection.execute("SELECT message_id, cursor, subject FROM messages")
        ):
            found = connection.execute(
                "SELECT rowid FROM message_words WHERE message_words MATCH ?",
                (f'subject : "{subject}"',),
            )
            assert [rowid for (rowid,) in found] == [cursor], message_id


@pytest.mark.parametrize("for_good", [False, True], ids=["once", "for good"])
@pytest.mark.parametrize("error", ERRORS)
def test_mail_and_entities_outlive_any_failing_step(base, folder, error, for_good):
    passed = fail_at_every_step(
        *(base, folder, batches),
        error=error,
        for_good=for_good,
        # What is broken for good is broken for what follows, whatever the step was.
        every=3 if for_good else 1,
        look=mailboxes_are_right,
    )
    assert passed > 50, "the script is long enough to be worth it, and ends"
