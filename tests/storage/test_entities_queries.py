"""Lists of entities: filtered, in order, page by page, and never by looking at all of them."""

import pytest

from intermute.domain.commands import (
    AssignTask,
    CreateEntity,
    DeleteEntity,
    LinkCuj,
    UnlinkCuj,
    UpdateEntity,
)
from intermute.domain.entities.kinds import CUJ, INSIGHT, KINDS, TASK
from intermute.domain.views import LinkView
from intermute.storage.queries import entities as queries
from intermute.storage.reader import Reader

from ..project.harness import PROJECT, WALL, Desk, S, opened

named = pytest.mark.parametrize("kind", KINDS.values(), ids=tuple(KINDS))
SPEC = KINDS["spec"]
SESSION = KINDS["session"]


@pytest.fixture
def desk(tmp_path):
    desk = Desk(tmp_path / "x.sqlite3")
    yield desk
    desk.close()


@pytest.fixture
def reader(desk):
    reader = Reader.open(desk.path)
    yield reader
    reader.close()


def make(desk, kind, *entity_ids, at_us=None, **fields):
    for entity_id in entity_ids:
        desk.clock.later(1)
        command = CreateEntity(
            kind.name, entity_id, fields=fields, created_at_us=at_us, updated_at_us=at_us
        )
        assert desk.one(command).entity_id == entity_id


def change(desk, kind, entity_id, **fields):
    desk.clock.later(1)
    return desk.one(UpdateEntity(kind.name, entity_id, fields=fields))


def listed(reader, kind, limit=100, offset=0, **wanted):
    page, _ = reader.entities(kind, wanted, limit=limit, offset=offset)
    return "".join(entity.entity_id for entity in page)


@named
def test_an_entity_is_read_as_it_was_answered(desk, reader, kind):
    answered = desk.one(CreateEntity(kind.name, "x"))
    assert reader.entity(kind.name, "x") == answered
    assert reader.has_entity(kind.name, "x")
    desk.one(DeleteEntity(kind.name, "x"))
    assert reader.entity(kind.name, "x") is None
    assert not reader.has_entity(kind.name, "x")


@named
def test_lists_hold_one_kind_and_bear_to_be_empty(desk, reader, kind):
    for other in KINDS.values():
        assert reader.entities(kind, {}, limit=10) == ([], False)
        if other is not kind:
            make(desk, other, "x")


@pytest.mark.parametrize("name", ["spec", "epic", "story", "task"])
def test_most_are_listed_last_changed_first(desk, reader, name):
    kind = KINDS[name]
    make(desk, kind, *"abcd")
    assert listed(reader, kind) == "dcba"
    change(desk, kind, "b", title="t")
    assert listed(reader, kind) == "bdca"


def test_those_of_one_moment_are_listed_newest_first(desk, reader):
    make(desk, SPEC, *"abcd", at_us=WALL)
    assert listed(reader, SPEC) == "dcba"


def test_b25_order_is_that_of_time_and_not_of_text(desk, reader):
    """Written out, `.5Z` and `Z` of one second sort the other way round."""
    for entity_id, at_us in (("a", WALL), ("b", WALL + S // 2), ("c", WALL + 1), ("d", WALL + S)):
        make(desk, SPEC, entity_id, at_us=at_us)
    assert listed(reader, SPEC) == "dbca"


def test_sessions_are_listed_last_started_first(desk, reader):
    make(desk, SESSION, *"abc")
    change(desk, SESSION, "a", status="idle")
    assert listed(reader, SESSION) == "cba"


def test_insights_are_listed_by_score_then_newest_first(desk, reader):
    for entity_id, score in (("a", 0.5), ("b", 2), ("c", -1), ("d", 0.5), ("e", 0)):
        make(desk, INSIGHT, entity_id, score=float(score))
    assert listed(reader, INSIGHT) == "bdaec"
    change(desk, INSIGHT, "c", score=1e300)
    change(desk, INSIGHT, "a", title="t")
    assert listed(reader, INSIGHT) == "cbdae"


def test_user_journeys_are_listed_by_their_priority_as_text(desk, reader):
    for entity_id, priority in (("a", "low"), ("b", "medium"), ("c", "high"), ("d", "high")):
        make(desk, CUJ, entity_id, priority=priority)
    assert listed(reader, CUJ) == "dcab"
    change(desk, CUJ, "b", priority="high")
    assert listed(reader, CUJ) == "bdca"


def test_lists_are_filtered(desk, reader):
    make(desk, KINDS["story"], "s")
    make(desk, TASK, "a", "b")
    make(desk, TASK, "c", agent="ada", story_id="s")
    make(desk, TASK, "d", agent="bob", status="done")
    make(desk, TASK, "e", agent="ada", status="done")
    assert listed(reader, TASK, agent="ada") == "ec"
    assert listed(reader, TASK, status="done") == "ed"
    assert listed(reader, TASK, status="done", agent="ada") == "e"
    assert listed(reader, TASK, story_id="s") == "c"
    assert listed(reader, TASK, agent="eve") == ""
    desk.one(AssignTask("task", "c", assignee="bob", reassign=True))
    assert listed(reader, TASK, agent="ada") == "e"
    assert listed(reader, TASK, agent="bob", status="running") == "c"


def test_insights_are_filtered_by_category(desk, reader):
    make(desk, SPEC, "s")
    make(desk, INSIGHT, "a", category="risk", spec_id="s")
    make(desk, INSIGHT, "b", category="risk", score=3.0)
    make(desk, INSIGHT, "c", category="idea", spec_id="s")
    assert listed(reader, INSIGHT, category="risk") == "ba"
    assert listed(reader, INSIGHT, spec_id="s") == "ca"
    assert listed(reader, INSIGHT, spec_id="s", category="risk") == "a"


def test_a_list_comes_in_pages(desk, reader):
    make(desk, SPEC, *"abcde")
    assert [
        (listed(reader, SPEC, 2, offset), reader.entities(SPEC, {}, limit=2, offset=offset)[1])
        for offset in (0, 2, 3, 4, 5, 6)
    ] == [("ed", True), ("cb", True), ("ba", False), ("a", False), ("", False), ("", False)]


def test_a_page_has_a_bounded_length(desk, reader, monkeypatch):
    make(desk, SPEC, *"abcd", vision="x" * 1_000)
    monkeypatch.setattr(queries, "ENTITY_PAGE_LEN_MAX", 2_800)
    assert listed(reader, SPEC) == "dc"
    assert reader.entities(SPEC, {}, limit=100)[1] is True
    assert reader.entities(SPEC, {}, limit=100, offset=2)[1] is False
    monkeypatch.setattr(queries, "ENTITY_PAGE_LEN_MAX", 1)
    assert listed(reader, SPEC, offset=1) == "c"


def test_a_page_that_ended_early_holds_on_to_nothing(desk, reader):
    make(desk, SPEC, *"abcd")
    page, more = reader.entities(SPEC, {}, limit=1)
    make(desk, SPEC, "e")
    assert (page[0].entity_id, more) == ("d", True)
    assert listed(reader, SPEC, 1) == "e"


@named
def test_no_list_looks_at_more_than_its_page(desk, kind):
    """Neither a scan of a table nor a sort, whichever filter is asked for."""
    seen = []
    reader = Reader.open(desk.path)
    reader._connection.exec_trace = lambda _, sql, values: seen.append((sql, values)) or True
    for wanted in ({}, *({field: "w"} for field in kind.filters.values())):
        reader.entities(kind, wanted, limit=10)
    reader.entities(kind, dict.fromkeys(kind.filters.values(), "w"), limit=10)
    reader.close()
    assert len(seen) == len(kind.filters) + 2
    with opened(desk.path) as connection:
        for sql, values in seen:
            plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", values)]
            (step,) = plan
            assert step.startswith("SEARCH entities USING INDEX entities_by_"), plan
            by_filter = "AND" in sql
            assert ("entities_by_kind" in step) is not by_filter, (sql, plan)


def test_links_are_listed_first_linked_first(desk, reader):
    assert reader.cuj_links("c") is None
    make(desk, CUJ, "c", "d")
    assert reader.cuj_links("c") == []
    links = []
    for feature_id in ("z", "y", "x"):
        desk.clock.later(1)
        links.append(desk.one(LinkCuj("cuj", "c", feature_id=feature_id)))
    desk.one(LinkCuj("cuj", "d", feature_id="other"))
    assert reader.cuj_links("c") == links
    desk.clock.later(1)
    again = desk.one(LinkCuj("cuj", "c", feature_id="z"))
    assert again == LinkView("c", "z", PROJECT, desk.clock.at_us)
    assert reader.cuj_links("c") == [*links[1:], again]
    assert reader.cuj_links_len("c") == 3
    desk.one(UnlinkCuj("cuj", "c", feature_id="y"))
    assert reader.cuj_links("c") == [links[2], again]
    desk.one(DeleteEntity("cuj", "c"))
    make(desk, CUJ, "c")
    assert reader.cuj_links("c") == []


def test_how_many_there_are_is_known_after_a_restart(desk):
    make(desk, SPEC, *"abc")
    make(desk, TASK, "a")
    desk.one(DeleteEntity("spec", "b"))
    assert desk.state.entities_len == 3
    desk.reopen()
    assert desk.state.entities_len == 3
