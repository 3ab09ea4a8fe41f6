"""Tasks are claimed, insights and user journeys are linked."""

import pytest

from intermute.domain import limits
from intermute.domain.commands import (
    AssignTask,
    DeleteEntity,
    LinkCuj,
    LinkInsight,
    ReplaceEntity,
    UnlinkCuj,
    UpdateEntity,
)
from intermute.domain.events.entities import CujLinked, CujUnlinked, kept_event, removed_event
from intermute.domain.refusals import Code
from intermute.domain.views import LinkView

from .table import ALICE, BOB, MINUTE, PROJECT, WALL, Later, S, ask, caller, check, state_of
from .test_entities import entity, made, updated

STATUSES = ("pending", "running", "blocked", "done")


def task(**fields):
    return made("task", **fields)


def assigned(agent, version=2, **fields):
    fields = {"status": "running", **fields}
    return kept_event("assigned", entity("task", version=version, agent=agent, **fields))


@pytest.mark.parametrize("status", ["pending", "running", "blocked"])
def test_a_task_that_nobody_has_is_taken(status):
    expected = assigned(BOB, title="t")
    check(
        [task(status=status, title="t")],
        AssignTask("task", "x", assignee=BOB),
        (expected,),
        answer=expected.entity,
    )


@pytest.mark.parametrize("status", STATUSES)
def test_b54_a_task_that_somebody_has_is_not_taken(status):
    _, refusal = check(
        [task(status=status, agent=ALICE)],
        AssignTask("task", "x", assignee=BOB),
        Code.TASK_CLAIMED,
    )
    assert refusal.data == {"held_by": ALICE, "task_status": status, "current_version": 1}


@pytest.mark.parametrize("agent", ["", BOB])
def test_b54_a_task_that_is_done_is_not_taken(agent):
    _, refusal = check(
        [task(status="done", agent=agent)],
        AssignTask("task", "x", assignee=BOB),
        Code.TASK_CLAIMED,
    )
    assert refusal.data["held_by"] == agent


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("agent", ["", ALICE])
def test_a_reassignment_takes_it_whoever_has_it(agent, status):
    command = AssignTask("task", "x", assignee=BOB, reassign=True)
    check([task(status=status, agent=agent)], command, (assigned(BOB),))


def test_taking_what_one_has_changes_nothing():
    held = task(status="running", agent=BOB)
    for reassign in (False, True):
        command = AssignTask("task", "x", assignee=BOB, reassign=reassign)
        check([held], command, (), answer=held.entity)
    for status in ("pending", "blocked"):
        given = [task(status=status, agent=BOB)]
        check(given, AssignTask("task", "x", assignee=BOB), (assigned(BOB),))


def test_a_claim_may_name_the_version_it_has_seen():
    given = [task()]
    command = AssignTask("task", "x", assignee=BOB, version=1)
    check(given, command, (assigned(BOB),))
    command = AssignTask("task", "x", assignee=BOB, version=2)
    check(given, command, Code.VERSION_CONFLICT)
    check((), command, Code.ENTITY_NOT_FOUND)


def test_b54_an_update_takes_a_task_from_its_holder_only_on_the_version_seen():
    given = [task(status="running", agent=ALICE)]
    for agent in (BOB, ""):
        fields = {"agent": agent}
        check(given, UpdateEntity("task", "x", fields=fields), Code.TASK_CLAIMED)
        changed = updated("task", status="running", agent=agent)
        check(given, UpdateEntity("task", "x", fields=fields, version=1), (changed,))
        check(given, ReplaceEntity("task", "x", fields=fields, version=1), (changed,))
    fields = {"status": "blocked", "agent": ALICE}
    check(given, UpdateEntity("task", "x", fields=fields), (updated("task", **fields),))
    check([task()], UpdateEntity("task", "x", fields=fields), (updated("task", **fields),))


def test_an_insight_is_linked_to_a_spec_that_is_there():
    given = [made("insight", title="t"), made("spec", "s")]
    linked = kept_event("linked", entity("insight", version=2, title="t", spec_id="s"))
    command = LinkInsight("insight", "x", spec_id="s")
    state, _ = check(given, command, (linked,), answer=linked.entity)
    assert ask(state, command).events == ()
    _, refusal = check(given[:1], command, Code.REFERENCE_NOT_FOUND)
    assert refusal.data == {"field": "spec_id", "id": "s"}
    check(given[1:], command, Code.ENTITY_NOT_FOUND)


def test_a_user_journey_is_linked_to_features():
    given = [made("cuj", "c")]
    link, event = LinkView("c", "f", PROJECT, WALL), CujLinked("c", "f")
    state, _ = check(given, LinkCuj("cuj", "c", feature_id="f"), (event,), answer=link)
    assert state.rows.cuj_link("c", "f") == link
    again = LinkView("c", "f", PROJECT, WALL + MINUTE * S)
    state, _ = check(
        [*given, event, Later(MINUTE)], LinkCuj("cuj", "c", feature_id="f"), (event,), answer=again
    )
    assert state.rows.cuj_link("c", "f") == again
    gone = CujUnlinked("c", "f")
    state, _ = check([*given, event], UnlinkCuj("cuj", "c", feature_id="f"), (gone,), answer=link)
    assert state.rows.cuj_link("c", "f") is None


def test_b55_only_a_user_journey_that_is_there_is_linked():
    for command in (LinkCuj("cuj", "c", feature_id="f"), UnlinkCuj("cuj", "c", feature_id="f")):
        check([made("spec", "c")], command, Code.ENTITY_NOT_FOUND)
    for given in ((), (CujLinked("c", "g"),)):
        command = UnlinkCuj("cuj", "c", feature_id="f")
        check([made("cuj", "c"), *given], command, Code.LINK_NOT_FOUND)


def test_a_user_journeys_links_go_with_it():
    given = [made("cuj", "c"), made("cuj", "d"), CujLinked("c", "f"), CujLinked("d", "f")]
    state, _ = check(given, DeleteEntity("cuj", "c"), (removed_event("cuj", "c"),))
    assert state.rows.cuj_link("c", "f") is None
    assert state.rows.cuj_link("d", "f") is not None


def test_a_user_journey_has_a_bounded_number_of_links(monkeypatch):
    monkeypatch.setattr(limits, "CUJ_LINKS_MAX", 2)
    given = [made("cuj", "c"), CujLinked("c", "f"), CujLinked("c", "g")]
    check(given, LinkCuj("cuj", "c", feature_id="h"), Code.LIMIT_REACHED)
    check(given, LinkCuj("cuj", "c", feature_id="g"), (CujLinked("c", "g"),))
    check(
        [*given, CujUnlinked("c", "f")], LinkCuj("cuj", "c", feature_id="h"), (CujLinked("c", "h"),)
    )


@pytest.mark.parametrize(
    "command",
    [
        AssignTask("task", "t", ALICE, assignee=BOB),
        LinkInsight("insight", "i", ALICE, spec_id="s"),
        LinkCuj("cuj", "c", ALICE, feature_id="g"),
        UnlinkCuj("cuj", "c", ALICE, feature_id="f"),
    ],
)
def test_the_actor_is_who_asks(command):
    given = [made("task", "t"), made("insight", "i"), made("spec", "s"), made("cuj", "c")]
    state = state_of([*given, CujLinked("c", "f")])
    assert ask(state, command, caller(ALICE)).actor == ALICE
    check([*given, CujLinked("c", "f")], command, Code.AGENT_IDENTITY_MISMATCH, who=caller(BOB))
