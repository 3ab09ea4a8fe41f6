"""Entities: made once, changed on the version that was seen, bounded."""

import pytest

from intermute.domain import limits
from intermute.domain.commands import CreateEntity, DeleteEntity, ReplaceEntity, UpdateEntity
from intermute.domain.entities.kinds import KINDS, Entity, Shape
from intermute.domain.events.entities import kept_event, removed_event
from intermute.domain.refusals import Code
from intermute.domain.stamp import make_id
from intermute.domain.views import RemovedView

from .table import (
    ALICE,
    BOB,
    MINUTE,
    PROJECT,
    SESSIONS,
    TAG,
    WALL,
    Later,
    S,
    ask,
    bound,
    caller,
    check,
    registered,
    stamp_of,
    state_of,
    token_of,
)

ALL = tuple(KINDS)
WORDED = [(kind.name, field) for kind in KINDS.values() for field in kind.fields if field.words]
REFERRING = [(k.name, field) for k in KINDS.values() for field in k.fields if field.refers_to]
VERSIONED = [kind.name for kind in KINDS.values() if kind.versioned]
UNVERSIONED = [kind.name for kind in KINDS.values() if not kind.versioned]


def entity(kind: str, entity_id: str = "x", version: int = 1, **fields) -> Entity:
    held = {}
    for field in KINDS[kind].fields:
        held[field.name] = fields.pop(field.name, field.words[0] if field.words else field.empty)
    at_us = {name: fields.pop(name, WALL) for name in ("created_at_us", "updated_at_us")}
    assert not fields, fields
    return Entity(kind, entity_id, PROJECT, held, version, **at_us)


def made(kind: str, entity_id: str = "x", version: int = 1, **fields):
    return kept_event("created", entity(kind, entity_id, version, **fields))


def updated(kind: str, entity_id: str = "x", version: int = 2, **fields):
    return kept_event("updated", entity(kind, entity_id, version, **fields))


def full(kind: str) -> dict:
    """Every field of the kind, with something in it; words are the last ones."""
    values = {
        Shape.LINE: "line",
        Shape.TEXT: "text",
        Shape.TEXTS: ["one", "two"],
        Shape.NUMBER: 0.5,
        Shape.STEPS: [{"order": 1, "action": "a", "expected": "b", "alternatives": ["c"]}],
    }
    return {
        field.name: field.words[-1] if field.words else values[field.shape]
        for field in KINDS[kind].fields
    }


def referred(kind: str):
    """The entities that `full` refers to."""
    return [made(field.refers_to[0], "line") for field in KINDS[kind].fields if field.refers_to]


# -- Create -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ALL)
def test_an_entity_is_made_with_all_that_is_given(kind):
    expected = entity(kind, "mine", **full(kind))
    check(
        referred(kind),
        CreateEntity(kind, "mine", fields=full(kind)),
        (kept_event("created", expected),),
        answer=expected,
    )


@pytest.mark.parametrize("kind", ALL)
def test_an_entity_may_be_empty_and_gets_an_id_and_its_first_words(kind):
    state = state_of()
    expected = entity(kind, make_id(kind, TAG, stamp_of(state).unique()))
    check((), CreateEntity(kind, ""), (kept_event("created", expected),), answer=expected)


@pytest.mark.parametrize("kind", ALL)
def test_a_clients_times_are_kept(kind):
    expected = entity(kind, created_at_us=5, updated_at_us=7)
    command = CreateEntity(kind, "x", created_at_us=5, updated_at_us=7)
    check((), command, (kept_event("created", expected),), answer=expected)


@pytest.mark.parametrize("kind", ALL)
def test_b53_what_is_there_is_not_made_again(kind):
    _, refusal = check([made(kind), updated(kind)], CreateEntity(kind, "x"), Code.ENTITY_EXISTS)
    assert refusal.data == {"current_version": 2}
    check([made(kind), removed_event(kind, "x")], CreateEntity(kind, "x"), (made(kind),))


def test_ids_are_apart_by_kind():
    check([made("spec")], CreateEntity("epic", "x"), (made("epic"),))


@pytest.mark.parametrize(("kind", "field"), WORDED)
def test_b55_only_the_words_of_the_vocabulary_are_taken(kind, field):
    fields = {field.name: "bogus"}
    for given, command in (
        ((), CreateEntity(kind, "x", fields=fields)),
        ([made(kind)], ReplaceEntity(kind, "x", fields=fields, version=1)),
        ([made(kind)], UpdateEntity(kind, "x", fields=fields)),
    ):
        _, refusal = check(given, command, Code.INVALID_STATUS)
        assert refusal.data == {"field": field.name, "allowed": list(field.words)}
        assert "bogus" in refusal.detail
    for word in field.words:
        _, answer = check(
            (),
            CreateEntity(kind, "x", fields={field.name: word}),
            (made(kind, **{field.name: word}),),
        )
        assert answer.fields[field.name] == word


@pytest.mark.parametrize(("kind", "field"), REFERRING)
def test_b55_a_reference_must_lead_somewhere_when_it_is_set(kind, field):
    fields = {field.name: "other"}
    there = made(field.refers_to[0], "other")
    for given, command in (
        ([], CreateEntity(kind, "x", fields=fields)),
        ([made(kind)], ReplaceEntity(kind, "x", fields=fields, version=1)),
        ([made(kind)], UpdateEntity(kind, "x", fields=fields)),
    ):
        _, refusal = check(given, command, Code.REFERENCE_NOT_FOUND)
        assert refusal.data == {"field": field.name, "id": "other"}
        gone = removed_event(there.entity.kind, "other")
        check([*given, there, gone], command, Code.REFERENCE_NOT_FOUND)
        state = state_of([*given, there])
        assert ask(state, command).answer.fields[field.name] == "other"


@pytest.mark.parametrize(("kind", "field"), REFERRING)
def test_a_reference_stays_when_what_it_names_goes(kind, field):
    fields = {field.name: "other"}
    there = made(field.refers_to[0], "other")
    given = [there, made(kind, **fields), removed_event(there.entity.kind, "other")]
    title = KINDS[kind].field("title") or KINDS[kind].field("name")
    changes = {title.name: "new"}
    check(given, UpdateEntity(kind, "x", fields=changes), (updated(kind, **fields, **changes),))
    check(
        given,
        ReplaceEntity(kind, "x", fields={**fields, **changes}, version=1),
        (updated(kind, **fields, **changes),),
    )
    check(given, UpdateEntity(kind, "x", fields={field.name: ""}), (updated(kind),))


def test_a_tasks_session_may_be_that_of_a_registered_agent():
    session = SESSIONS[ALICE]
    for spelled in (session, session.upper(), session.replace("-", "")):
        command = CreateEntity("task", "x", fields={"session_id": spelled})
        check((), command, Code.REFERENCE_NOT_FOUND)
        check([registered(BOB)], command, Code.REFERENCE_NOT_FOUND)
        check([registered(ALICE)], command, (made("task", session_id=spelled),))
    command = CreateEntity("epic", "x", fields={"spec_id": session})
    check([registered(ALICE)], command, Code.REFERENCE_NOT_FOUND)


def test_the_texts_of_an_entity_are_bounded_together():
    half = "x" * (limits.ENTITY_LEN_MAX // 2)
    step = {"order": 1, "action": "a", "expected": "", "alternatives": ["b"]}
    fits = {"persona": half, "entry_point": half[:-14], "steps": [step], "success_criteria": ["c"]}
    # Its two words, `medium` and `draft`, count as well.
    command = CreateEntity("cuj", "x", fields=fits)
    assert ask(state_of(), command).answer.version == 1
    for field in ({"title": "t"}, {"success_criteria": ["c", "d"]}):
        check((), CreateEntity("cuj", "x", fields={**fits, **field}), Code.INVALID_REQUEST)
    given = [made("cuj", persona=half)]
    check(given, UpdateEntity("cuj", "x", fields={"entry_point": half}), Code.INVALID_REQUEST)


def test_a_project_has_a_bounded_number_of_entities(monkeypatch):
    monkeypatch.setattr(limits, "ENTITIES_MAX", 2)
    given = [made("spec"), made("epic")]
    _, refusal = check(given, CreateEntity("cuj", ""), Code.LIMIT_REACHED)
    assert refusal.data == {"held": 2, "limit": 2}
    gone = [*given, removed_event("spec", "x")]
    check(gone, CreateEntity("cuj", "y"), (made("cuj", "y"),))


# -- Replace ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ALL)
def test_b52_a_replacement_empties_what_it_leaves_out_and_keeps_words_and_beginning(kind):
    given = [*referred(kind), made(kind, **full(kind), created_at_us=5), Later(MINUTE)]
    words = {field.name: field.words[-1] for name, field in WORDED if name == kind}
    expected = updated(kind, **words, created_at_us=5, updated_at_us=WALL + MINUTE * S)
    state, answer = check(given, ReplaceEntity(kind, "x", version=1), (expected,))
    assert answer == expected.entity
    assert state.rows.entity(kind, "x") == expected.entity


@pytest.mark.parametrize("kind", ALL)
def test_a_replacement_is_always_a_new_version(kind):
    state = state_of([made(kind)])
    decision = ask(state, ReplaceEntity(kind, "x", version=1))
    assert [event.entity.version for event in decision.events] == [2]


@pytest.mark.parametrize("kind", VERSIONED)
def test_a_replacement_names_the_version_it_replaces(kind):
    for version in (None, 0, 1, 3, -1):
        _, refusal = check(
            [made(kind), updated(kind)],
            ReplaceEntity(kind, "x", version=version),
            Code.VERSION_CONFLICT,
        )
        assert refusal.data == {"current_version": 2}


@pytest.mark.parametrize("kind", UNVERSIONED)
def test_a_replacement_of_what_never_had_versions_need_not_name_one(kind):
    given = [made(kind)]
    check(given, ReplaceEntity(kind, "x"), (updated(kind),))
    check(given, ReplaceEntity(kind, "x", version=1), (updated(kind),))
    check(given, ReplaceEntity(kind, "x", version=2), Code.VERSION_CONFLICT)


# -- Update -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ALL)
def test_an_update_changes_what_is_given_and_nothing_else(kind):
    given = [*referred(kind), made(kind, **full(kind))]
    for name, held in full(kind).items():
        field = KINDS[kind].field(name)
        changed = field.words[0] if field.words else field.empty
        if changed != held:
            expected = updated(kind, **{**full(kind), name: changed})
            command = UpdateEntity(kind, "x", fields={name: changed}, version=1)
            check(given, command, (expected,), answer=expected.entity)


@pytest.mark.parametrize("kind", ALL)
def test_an_update_that_changes_nothing_is_no_event(kind):
    given = [*referred(kind), made(kind, **full(kind))]
    for fields in ({}, full(kind)):
        check(
            given,
            UpdateEntity(kind, "x", fields=fields),
            (),
            answer=entity(kind, **full(kind)),
        )
    check(given, UpdateEntity(kind, "x", version=2), Code.VERSION_CONFLICT)


@pytest.mark.parametrize(("kind", "field"), WORDED)
def test_what_may_not_be_empty_is_kept(kind, field):
    given = [made(kind, **{field.name: field.words[-1]})]
    check(given, UpdateEntity(kind, "x", fields={field.name: ""}), ())


@pytest.mark.parametrize(("kind", "status"), [("task", "done"), ("cuj", "validated")])
def test_becoming_complete_is_an_event_of_its_own(kind, status):
    fields = {"status": status}
    done = kept_event("completed", entity(kind, version=2, **fields))
    assert done.type == {"task": "task.completed", "cuj": "cuj.validated"}[kind]
    check([made(kind)], UpdateEntity(kind, "x", fields=fields), (done,))
    check([made(kind)], ReplaceEntity(kind, "x", fields=fields, version=1), (done,))
    again = UpdateEntity(kind, "x", fields={"title": "t"})
    check([made(kind, **fields)], again, (updated(kind, title="t", **fields),))


def test_other_kinds_have_no_completion():
    for kind, status in (("epic", "done"), ("story", "done"), ("spec", "validated")):
        command = UpdateEntity(kind, "x", fields={"status": status})
        check([made(kind)], command, (updated(kind, status=status),))


# -- Delete, and who --------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ALL)
def test_b51_what_is_not_there_can_be_neither_changed_nor_deleted(kind):
    given = [made(kind, "other"), made("spec" if kind != "spec" else "epic", "x")]
    for command in (
        ReplaceEntity(kind, "x", version=1),
        UpdateEntity(kind, "x"),
        DeleteEntity(kind, "x"),
    ):
        check(given, command, Code.ENTITY_NOT_FOUND)


@pytest.mark.parametrize("kind", ALL)
def test_a_deleted_entity_is_gone(kind):
    state, answer = check([made(kind)], DeleteEntity(kind, "x"), (removed_event(kind, "x"),))
    assert answer == RemovedView("x")
    assert state.rows.entity(kind, "x") is None
    assert state.entities_len == 0


@pytest.mark.parametrize(
    "command",
    [
        CreateEntity("spec", "y", BOB),
        ReplaceEntity("spec", "x", BOB, version=1),
        UpdateEntity("spec", "x", BOB, fields={"title": "t"}),
        DeleteEntity("spec", "x", BOB),
    ],
)
def test_who_acts_is_who_it_says(command):
    given = [made("spec"), registered(BOB), token_of(BOB)]
    assert ask(state_of(given), command, caller(BOB)).actor == BOB
    assert ask(state_of(given), command, caller(BOB, "token")).actor == BOB
    check(given, command, Code.AGENT_IDENTITY_MISMATCH, who=caller(BOB, "wrong"))
    check(given, command, Code.AGENT_IDENTITY_MISMATCH, who=caller(ALICE))
    check([*given, bound(BOB)], command, Code.AGENT_TOKEN_REQUIRED, who=caller(BOB))


def test_nobody_need_act():
    decision = ask(state_of(), CreateEntity("spec", "x"))
    assert decision.actor is None
