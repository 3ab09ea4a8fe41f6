"""Entities against a dictionary: whatever is asked in whatever order, versions never lie."""

import logging
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intermute.domain.commands import (
    AssignTask,
    CreateEntity,
    DeleteEntity,
    ReplaceEntity,
    UpdateEntity,
)
from intermute.domain.decision import Accepted
from intermute.domain.entities.kinds import KINDS
from intermute.storage.reader import Reader

from ..project.harness import Desk, assert_consistent, quick_folder

quick = settings(deadline=None, max_examples=60, derandomize=True, database=None)
KIND_NAMES = ("task", "session")
IDS = ("a", "b")
AGENTS = ("ada", "bob")

kinds = st.sampled_from(KIND_NAMES)
ids = st.sampled_from(IDS)
agents = st.sampled_from(AGENTS)
# Which version is named: none, the present one, or one that is off by so much.
versions = st.sampled_from((None, 0, 0, 0, -1, 1))
# Fields that both kinds have; an empty status stands for keeping the one there is.
fields = st.fixed_dictionaries(
    {},
    optional={
        "agent": st.sampled_from(("", *AGENTS)),
        "status": st.sampled_from(("", "running", "pending", "done", "idle")),
    },
)
steps = st.one_of(
    st.tuples(st.just("create"), kinds, ids, fields),
    st.tuples(st.just("replace"), kinds, ids, fields, versions),
    st.tuples(st.just("update"), kinds, ids, fields, versions),
    st.tuples(st.just("delete"), kinds, ids),
    st.tuples(st.just("assign"), ids, agents, st.booleans(), versions),
    st.tuples(st.just("later")),
)


class Model:
    """What a project's entities are, said a second time in the shortest way."""

    def __init__(self):
        self.held = {}

    def create(self, kind, entity_id, given):
        if (kind, entity_id) in self.held:
            return "entity_exists"
        words = self._words(kind)
        status = given.get("status") or words[0]
        if status not in words:
            return "invalid_status"
        return self._keep(kind, entity_id, given.get("agent", ""), status, 1, "created")

    def replace(self, kind, entity_id, given, version):
        return self._change(kind, entity_id, {"agent": "", **given}, version, "replace")

    def update(self, kind, entity_id, given, version):
        return self._change(kind, entity_id, given, version, "update")

    def _change(self, kind, entity_id, given, version, how):
        present = self.held.get((kind, entity_id))
        if present is None:
            return "entity_not_found"
        agent, status, now = present
        if version is None and (kind, how) == ("task", "replace"):
            return "version_conflict"
        if version not in (None, now):
            return "version_conflict"
        new_agent = given.get("agent", agent)
        new_status = given.get("status") or status
        if how == "update":
            if (new_agent, new_status) == (agent, status):
                return now, None
            if kind == "task" and version is None and agent and new_agent != agent:
                return "task_claimed"
        if new_status not in self._words(kind):
            return "invalid_status"
        done = kind == "task" and new_status == "done" != status
        happened = "completed" if done else "updated"
        return self._keep(kind, entity_id, new_agent, new_status, now + 1, happened)

    def delete(self, kind, entity_id):
        if self.held.pop((kind, entity_id), None) is None:
            return "entity_not_found"
        return None, {"task": "task.deleted", "session": "session.stopped"}[kind]

    def assign(self, entity_id, agent, reassign, version):
        present = self.held.get(("task", entity_id))
        if present is None:
            return "entity_not_found"
        holder, status, now = present
        if version not in (None, now):
            return "version_conflict"
        if (holder, status) == (agent, "running"):
            return now, None
        if not reassign and (status == "done" or holder not in ("", agent)):
            return "task_claimed"
        return self._keep("task", entity_id, agent, "running", now + 1, "assigned")

    def _keep(self, kind, entity_id, agent, status, version, happened):
        self.held[kind, entity_id] = (agent, status, version)
        return version, KINDS[kind].event_type(happened)

    @staticmethod
    def _words(kind):
        return KINDS[kind].field("status").words


def command_of(step, versions_seen):
    """The command, and the arguments for the model with the version that is really named."""
    kind, *rest = step

    def named(key, version):
        return None if version is None else versions_seen.get(key, 1) + version

    if kind == "create":
        return CreateEntity(rest[0], rest[1], fields=rest[2]), rest
    if kind == "delete":
        return DeleteEntity(*rest), rest
    if kind == "assign":
        entity_id, agent, reassign, off = rest
        version = named(("task", entity_id), off)
        command = AssignTask("task", entity_id, assignee=agent, reassign=reassign, version=version)
        return command, [entity_id, agent, reassign, version]
    make = {"replace": ReplaceEntity, "update": UpdateEntity}[kind]
    version = named((rest[0], rest[1]), rest[3])
    return make(rest[0], rest[1], fields=rest[2], version=version), [*rest[:3], version]


def told_of(decision):
    """The version answered and the type of the event, or the code of the refusal."""
    if not isinstance(decision, Accepted):
        return decision.code.value
    version = getattr(decision.answer, "version", None)
    types = [event.type for event in decision.events]
    assert len(types) <= 1
    return version, types[0] if types else None


@pytest.fixture(autouse=True)
def quiet():
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@quick
@given(st.lists(steps, min_size=5, max_size=40))
def test_entities_are_what_a_dictionary_says(life):
    model, seen, born = Model(), {}, {}
    with quick_folder() as folder:
        desk = Desk(Path(folder) / "x.sqlite3")
        for step in life:
            if step[0] == "later":
                desk.clock.later(60)
                continue
            command, arguments = command_of(step, seen)
            (told,) = desk.tell(command)
            assert told_of(told.decision) == getattr(model, step[0])(*arguments), step
            seen = {key: held[2] for key, held in model.held.items()}
            born = {key: born.get(key, desk.clock.at_us) for key in model.held}
        reader = Reader.open(desk.path)
        for kind in KIND_NAMES:
            page, more = reader.entities(KINDS[kind], {}, limit=10)
            assert not more
            shown = {
                (kind, e.entity_id): (e.fields["agent"], e.fields["status"], e.version)
                for e in page
            }
            assert shown == {key: held for key, held in model.held.items() if key[0] == kind}
            for entity in page:
                assert entity.created_at_us == born[kind, entity.entity_id]
                assert entity.updated_at_us >= entity.created_at_us
        reader.close()
        assert desk.state.entities_len == len(model.held)
        assert_consistent(desk.path, Path(folder) / "scratch.sqlite3", desk.state)
        desk.close()
