"""Settings of a project, its name, and times as text."""

import pytest
from hypothesis import given as given_any
from hypothesis import settings
from hypothesis import strategies as st

from intermute.domain.commands import ConfigureProject
from intermute.domain.events import (
    EVENT_TYPES,
    Event,
    EventData,
    ProjectConfigured,
    ReservationReleased,
)
from intermute.domain.limits import PROJECT_NAME_LEN_MAX
from intermute.domain.projects import normalise_project
from intermute.domain.refusals import Code
from intermute.domain.times import iso, iso_seconds
from intermute.domain.views import ProjectView

from .table import ALICE, Later, check, held, registered

HELD = held("r", ALICE, "src", ttl_s=60)
RELEASED = ReservationReleased("r", ALICE, "holder", fencing_token=1)


@pytest.mark.parametrize(
    ("before", "wanted", "expected"),
    [
        ([], False, (ProjectConfigured(False),)),
        ([], True, ()),
        ([], None, ()),
        ([ProjectConfigured(False)], False, ()),
        ([ProjectConfigured(False)], None, ()),
        ([ProjectConfigured(False)], True, (ProjectConfigured(True),)),
        ([HELD], False, Code.SETTING_IN_USE),
        ([HELD], True, ()),
        ([HELD, RELEASED], False, (ProjectConfigured(False),)),
        ([HELD, Later(60)], False, (ProjectConfigured(False),)),
    ],
)
def test_case_changes_only_while_nothing_is_held(before, wanted, expected):
    state, answer = check(before, ConfigureProject(wanted), expected)
    if not isinstance(expected, Code):
        assert answer == ProjectView("house", state.case_sensitive)
        assert state.case_sensitive is (wanted if wanted is not None else answer.case_sensitive)


def test_every_event_type_names_itself_and_its_entity():
    assert all(cls.type == name for name, cls in EVENT_TYPES.items())
    assert all("." in name for name in EVENT_TYPES)
    assert ProjectConfigured(True).entity_id == ""
    assert RELEASED.entity_id == "r"
    assert registered(ALICE).entity_id == ALICE
    assert Event(1, 0, None, RELEASED).type == "reservation.released"
    with pytest.raises(NotImplementedError):
        _ = EventData().entity_id


@pytest.mark.parametrize(
    ("name", "normal"),
    [
        ("default", "default"),
        ("  padded\t", "padded"),
        ("/home/me/repo", "/home/me/repo"),
        ("../../etc", "../../etc"),
        ("caf\u00e9", "caf\u00e9"),
        ("cafe\u0301", "caf\u00e9"),
        ("x" * PROJECT_NAME_LEN_MAX, "x" * PROJECT_NAME_LEN_MAX),
        ("x" * (PROJECT_NAME_LEN_MAX + 1), None),
        ("e\u0301" * PROJECT_NAME_LEN_MAX, "\u00e9" * PROJECT_NAME_LEN_MAX),
        ("", None),
        (" \n ", None),
        ("a\x00b", None),
        ("a\nb", None),
        ("a\u200fb", None),
        ("a\u202eb", None),
        ("a\u200bb", None),
        ("\ud800", None),
        ("a\u2028b", None),
        ("dots...", "dots..."),
        ("\u0645\u0634\u0631\u0648\u0639", "\u0645\u0634\u0631\u0648\u0639"),
    ],
)
def test_a_projects_name_has_one_spelling(name, normal):
    assert normalise_project(name) == normal


def test_case_pairs_are_different_names():
    assert normalise_project("Repo") != normalise_project("repo")


@settings(deadline=None, max_examples=200)
@given_any(st.text(max_size=210))
def test_normalising_a_name_twice_changes_nothing_more(name):
    once = normalise_project(name)
    if once is not None:
        assert normalise_project(once) == once
        assert 0 < len(once) <= PROJECT_NAME_LEN_MAX


@pytest.mark.parametrize(
    ("at_us", "text", "seconds"),
    [
        (0, "1970-01-01T00:00:00Z", "1970-01-01T00:00:00Z"),
        (-5, "1970-01-01T00:00:00Z", "1970-01-01T00:00:00Z"),
        (1_700_000_000_000_000, "2023-11-14T22:13:20Z", "2023-11-14T22:13:20Z"),
        (1_700_000_000_250_000, "2023-11-14T22:13:20.25Z", "2023-11-14T22:13:20Z"),
        (1_700_000_000_000_001, "2023-11-14T22:13:20.000001Z", "2023-11-14T22:13:20Z"),
        (2**63 - 1, "9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999999Z"),
    ],
)
def test_times_as_text(at_us, text, seconds):
    assert iso(at_us) == text
    assert iso_seconds(at_us) == seconds
