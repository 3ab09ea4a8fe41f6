"""Entities on the wire: bodies, the shape of what is shown, frames."""

import pytest

from intermute.domain import limits
from intermute.domain.entities.kinds import CUJ, INSIGHT, KINDS, TASK, Entity, Shape
from intermute.domain.events.entities import (
    ENTITY_EVENTS,
    CujLinked,
    CujUnlinked,
    kept_event,
    removed_event,
)
from intermute.domain.views import LinkView
from intermute.wire import entities as wire
from intermute.wire.bodies import BadRequest

ALL = tuple(KINDS.values())
SPEC = KINDS["spec"]
NEW_YEAR_US = 1_767_225_600_000_000
named = pytest.mark.parametrize("kind", ALL, ids=tuple(KINDS))

# What today's clients send and are shown, kind by kind; `?` marks what is left out when empty.
MEMBERS = {
    "spec": "id project title vision? users? problem? status version created_at updated_at",
    "epic": "id project spec_id? title description? status version created_at updated_at",
    "story": "id project epic_id title acceptance_criteria? status version created_at updated_at",
    "task": "id project story_id? title agent? session_id? status version created_at updated_at",
    "insight": "id project spec_id? source category title body? url? score created_at version "
    "updated_at",
    "session": "id project name agent task_id? status started_at updated_at version",
    "cuj": "id spec_id project title persona? priority entry_point? exit_point? steps? "
    "success_criteria? error_recovery? status version created_at updated_at",
}


def entity(kind, **fields):
    empty = {f.name: f.words[0] if f.words else f.empty for f in kind.fields}
    return Entity(kind.name, "x", "house", {**empty, **fields}, 3, NEW_YEAR_US, NEW_YEAR_US + 500)


def filled(kind):
    values = {
        Shape.TEXTS: ["one"],
        Shape.NUMBER: 0.5,
        Shape.STEPS: [{"order": 1, "action": "a", "expected": "b"}],
    }
    return {
        field.name: field.words[-1] if field.words else values.get(field.shape, "text")
        for field in kind.fields
    }


def created(kind, members):
    return wire.create(kind, wire.read_entity(kind, members), agent_id=None)


@named
def test_an_entity_has_the_members_that_clients_know(kind):
    known = MEMBERS[kind.name].split()
    shown = wire.entity(entity(kind, **filled(kind)))
    assert shown.keys() == {name.rstrip("?") for name in known}
    assert shown.items() >= filled(kind).items()
    assert shown["version"] == 3
    assert shown[kind.created] == "2026-01-01T00:00:00Z"
    assert shown["updated_at"] == "2026-01-01T00:00:00.0005Z"
    bare = wire.entity(entity(kind))
    assert bare.keys() == {name for name in known if not name.endswith("?")}


@named
def test_what_is_shown_can_be_sent_back(kind):
    shown = wire.entity(entity(kind, **filled(kind)))
    command = created(kind, shown)
    assert command.fields == filled(kind)
    assert (command.entity_kind, command.entity_id) == (kind.name, "x")
    assert (command.created_at_us, command.updated_at_us) == (NEW_YEAR_US, NEW_YEAR_US + 500)
    body = wire.read_entity(kind, shown)
    replacement = wire.replace(kind, "y", body, agent_id="ada")
    assert (replacement.entity_id, replacement.version, replacement.acting) == ("y", 3, "ada")
    assert replacement.fields == filled(kind)
    assert wire.update(kind, "y", body, agent_id=None).fields == filled(kind)


@named
def test_nothing_must_be_there(kind):
    body = wire.read_entity(kind, {})
    assert body == wire.EntityBody("", "", None, None, None, {})
    assert wire.update(kind, "x", body, agent_id=None).version is None


@named
def test_null_empties_a_field_and_says_nothing_elsewhere(kind):
    nulls = {field.name.upper(): None for field in kind.fields}
    body = wire.read_entity(kind, {**nulls, "version": None, "Project": None, "other": None})
    assert body.fields == {field.name: field.empty for field in kind.fields}
    assert (body.version, body.project) == (None, "")


def test_a_member_may_not_be_there_twice_even_as_null():
    with pytest.raises(BadRequest):
        wire.read_entity(SPEC, {"title": "t", "Title": None})


@pytest.mark.parametrize(
    "members",
    [
        {"title": 1},
        {"title": ["t"]},
        {"status": True},
        {"version": "1"},
        {"version": 1.0},
        {"project": 1},
        {"id": 1},
        {"id": "a\nb"},
        {"id": "x" * (limits.ENTITY_ID_LEN_MAX + 1)},
        {"title": "x" * (limits.ENTITY_TITLE_LEN_MAX + 1)},
        {"vision": "x" * (limits.ENTITY_TEXT_LEN_MAX + 1)},
        {"status": "x" * (limits.ENTITY_WORD_LEN_MAX + 1)},
        {"created_at": "yesterday"},
        {"created_at": "2026-01-01"},
        {"created_at": "2026-01-01T00:00:00"},
        {"created_at": 5},
        {"created_at": "1969-12-31T23:59:59Z"},
        {"created_at": "9999-12-31T23:59:59-01:00"},
        {"updated_at": "2026-13-01T00:00:00Z"},
    ],
)
def test_a_bad_spec_is_refused(members):
    with pytest.raises(BadRequest):
        created(SPEC, members)


@pytest.mark.parametrize(
    "members",
    [
        {"steps": "a"},
        {"steps": ["a"]},
        {"steps": [{"order": "1"}]},
        {"steps": [{"alternatives": "a"}]},
        {"steps": [{"action": "x" * (limits.ENTITY_ITEM_LEN_MAX + 1)}]},
        {"steps": [{"alternatives": ["a"] * (limits.CUJ_ALTERNATIVES_MAX + 1)}]},
        {"steps": [{}] * (limits.CUJ_STEPS_MAX + 1)},
        {"success_criteria": 1},
        {"success_criteria": [1]},
        {"success_criteria": {"a": "b"}},
        {"success_criteria": ["a"] * (limits.ENTITY_ITEMS_MAX + 1)},
        {"error_recovery": ["x" * (limits.ENTITY_ITEM_LEN_MAX + 1)]},
        {"error_recovery": "x" * (limits.ENTITY_TEXT_LEN_MAX + 1)},
    ],
)
def test_a_bad_user_journey_is_refused(members):
    with pytest.raises(BadRequest):
        created(CUJ, members)


def test_what_is_wrong_with_a_step_is_said_with_its_place():
    with pytest.raises(BadRequest, match=r"\$\.order` of `\$\.steps\[1\]"):
        created(CUJ, {"steps": [{}, {"order": "x"}]})


def test_steps_are_read_in_any_case_and_kept_in_one():
    steps = [{"Order": 2, "ACTION": "go", "expected": None, "alternatives": ["walk"], "more": 1}]
    assert created(CUJ, {"steps": steps}).fields == {
        "steps": [{"order": 2, "action": "go", "expected": "", "alternatives": ["walk"]}]
    }


def test_criteria_may_be_a_list_or_one_text():
    story = KINDS["story"]
    for held in (["one", "two"], "one"):
        assert created(story, {"acceptance_criteria": held}).fields == {"acceptance_criteria": held}


def test_a_score_is_any_number():
    assert created(INSIGHT, {"score": 3}).fields == {"score": 3.0}
    assert created(INSIGHT, {"score": -0.25}).fields == {"score": -0.25}
    for score in ("3", True):
        with pytest.raises(BadRequest):
            created(INSIGHT, {"score": score})


def test_lines_are_trimmed_and_texts_are_not():
    command = created(TASK, {"id": " x ", "title": " t ", "agent": " ada "})
    assert command.entity_id == "x"
    assert command.fields == {"title": " t ", "agent": "ada"}
    with pytest.raises(BadRequest):
        created(TASK, {"agent": "a\tb"})


@pytest.mark.parametrize(
    ("text", "at_us"),
    [
        ("2026-01-01T00:00:00Z", NEW_YEAR_US),
        ("2026-01-01T02:00:00+02:00", NEW_YEAR_US),
        ("2025-12-31T18:30:00.000001-05:30", NEW_YEAR_US + 1),
        ("2026-01-01T00:00:00.25Z", NEW_YEAR_US + 250_000),
        ("2026-01-01T00:00:00.123456789Z", NEW_YEAR_US + 123_457),
        ("1970-01-01T00:00:00Z", 0),
        ("0001-01-01T00:00:00Z", None),
        ("0001-01-01T00:00:00+00:00", None),
        ("0001-01-01T00:00:00-08:00", None),
        (None, None),
    ],
)
def test_times_have_any_offset_and_the_zero_time_is_none(text, at_us):
    assert created(SPEC, {"created_at": text}).created_at_us == at_us
    assert created(SPEC, {"updated_at": text}).updated_at_us == at_us
    assert created(KINDS["session"], {"started_at": text}).created_at_us == at_us


def test_a_claim_names_who_takes_the_task():
    command = wire.assign("t", {"agent": " ada ", "reassign": True, "version": 2}, agent_id="bob")
    assert (command.entity_id, command.assignee, command.acting) == ("t", "ada", "bob")
    assert (command.reassign, command.version) == (True, 2)
    plain = wire.assign("t", {"agent_id": "ada"}, agent_id=None)
    assert (plain.assignee, plain.reassign, plain.version) == ("ada", False, None)
    for members in ({}, {"agent": " "}, {"agent": 1}, {"agent": "a", "reassign": "yes"}):
        with pytest.raises(BadRequest):
            wire.assign("t", members, agent_id="bob")


def test_links_name_what_they_lead_to():
    insight = wire.link_insight("i", {"spec_id": " s "}, agent_id="ada")
    assert (insight.entity_id, insight.spec_id, insight.acting) == ("i", "s", "ada")
    for read in (wire.link_cuj, wire.unlink_cuj):
        command = read("c", {"feature_id": " f "}, agent_id="ada")
        assert (command.entity_id, command.feature_id, command.acting) == ("c", "f", "ada")
    for members in ({}, {"spec_id": "", "feature_id": " "}, {"spec_id": 1, "feature_id": 1}):
        for read in (wire.link_insight, wire.link_cuj, wire.unlink_cuj):
            with pytest.raises(BadRequest):
                read("x", members, agent_id=None)


def test_a_link_is_shown_with_its_time():
    assert wire.cuj_link(LinkView("c", "f", "house", NEW_YEAR_US)) == {
        "cuj_id": "c",
        "feature_id": "f",
        "project": "house",
        "linked_at": "2026-01-01T00:00:00Z",
    }


@named
def test_lists_are_filtered_by_what_is_named_and_not_empty(kind):
    assert wire.filters(kind, lambda _: None) == {}
    assert wire.filters(kind, lambda _: "") == {}
    assert wire.filters(kind, lambda name: f" {name} ") == {
        field: name for name, field in kind.filters.items()
    }
    with pytest.raises(BadRequest):
        wire.filters(kind, lambda _: "a\nb")


def test_the_filters_of_todays_clients_are_there():
    known = {
        "spec": {"status"},
        "epic": {"spec"},
        "story": {"epic"},
        "task": {"status", "agent"},
        "insight": {"spec", "category"},
        "session": {"status"},
        "cuj": {"spec"},
    }
    for name, names in known.items():
        assert names <= KINDS[name].filters.keys()


@named
def test_a_frame_has_all_of_the_entity_or_null(kind):
    whole = entity(kind, **filled(kind))
    for happened in ("created", "updated"):
        assert wire.frame_data(kept_event(happened, whole)) == wire.entity(whole)
    assert wire.frame_data(removed_event(kind.name, "x")) is None


def test_frames_of_links_have_the_link():
    linked = kept_event("linked", entity(INSIGHT, spec_id="s"))
    assert wire.frame_data(linked) == {"spec_id": "s"}
    for event in (CujLinked("c", "f"), CujUnlinked("c", "f")):
        assert wire.frame_data(event) == {"feature_id": "f"}
        assert event.entity_id == "c"
    for kind, happened in ((TASK, "assigned"), (TASK, "completed"), (CUJ, "completed")):
        whole = entity(kind)
        assert wire.frame_data(kept_event(happened, whole)) == wire.entity(whole)


def test_the_event_types_are_the_known_ones_and_those_that_were_silent():
    known = {
        "spec": ("created", "updated", "archived"),
        "epic": ("created", "updated", "deleted"),
        "story": ("created", "updated", "deleted"),
        "task": ("created", "assigned", "completed", "updated", "deleted"),
        "insight": ("created", "linked", "updated", "deleted"),
        "session": ("started", "updated", "stopped"),
        "cuj": ("created", "updated", "validated", "archived", "linked", "unlinked"),
    }
    types = [f"{kind}.{happened}" for kind, words in known.items() for happened in words]
    assert sorted(event.type for event in ENTITY_EVENTS) == sorted(types)
