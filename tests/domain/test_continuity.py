"""What outlives a state that is thrown away behind a fault."""

import attrs
import pytest

from intermute.domain.commands import (
    ConfigureProject,
    Heartbeat,
    ReleaseReservation,
    RenewReservation,
    ReservePaths,
    RetireAgent,
)
from intermute.domain.continuity import Continuity
from intermute.domain.events import Seen
from intermute.domain.state import State

from .table import (
    ALICE,
    BOB,
    MONO,
    PROJECT,
    TAG,
    WALL,
    Later,
    S,
    ask,
    carry_out,
    held,
    registered,
    state_of,
)

TTL = 600
GIVEN = [
    registered(ALICE),
    Seen(ALICE, WALL, MONO),
    held("kept", ALICE, "src", ttl_s=TTL),
    held("gone", BOB, "lib", ttl_s=60),
    Later(60),
]


def committed(given=()):
    """A state that was committed, and what was kept of it."""
    state = state_of([*GIVEN, *given])
    continuity = Continuity()
    continuity.keep(state)
    return state, continuity


def loaded(continuity, *, at_wall_s=0, case_sensitive=True):
    """The same as from a file: the deadlines are guesses by the wall clock, nothing has lapsed."""
    state = State(tag=TAG, project=PROJECT)
    if not case_sensitive:
        state.set_case_rule(case_sensitive=False)
    source = state_of(GIVEN)
    state.at_us, state.mono_us = source.at_us + at_wall_s * S, source.mono_us
    if case_sensitive:
        kept = source.holdings.by_id["kept"]
        kept.deadline_us = MONO + at_wall_s * S
        kept.expires_at_us = continuity.deadlines.get("kept", (kept.expires_at_us,))[0]
        state.holdings.add(kept)
    state.agents[ALICE] = source.agents[ALICE]
    state.agents[ALICE].last_seen_mono_us = MONO - at_wall_s * S
    state.cursor = continuity.cursor
    continuity.restore(state)
    return state


@pytest.mark.parametrize("jump_s", [0, 86_400, -86_400])
def test_deadlines_lapsed_leases_and_last_sights_are_restored(jump_s):
    _, continuity = committed()
    state = loaded(continuity, at_wall_s=jump_s)
    assert state.holdings.by_id["kept"].deadline_us == MONO + TTL * S
    assert state.agents[ALICE].last_seen_mono_us == MONO
    carry_out(state, ask(state, RenewReservation("gone", BOB)))
    assert state.holdings.by_id["gone"].deadline_us == MONO + 120 * S


def test_what_was_not_committed_is_not_known():
    state, continuity = committed()
    carry_out(state, ask(state, RenewReservation("gone", BOB)))
    carry_out(state, ask(state, ReleaseReservation("kept", ALICE)))
    carry_out(state, ask(state, Heartbeat(ALICE)))
    again = loaded(continuity)
    assert again.holdings.by_id["kept"].deadline_us == MONO + TTL * S
    assert again.lapsed.by_id["gone"].deadline_us == MONO + 60 * S
    assert again.agents[ALICE].last_seen_mono_us == MONO


def test_what_was_committed_since_is_known():
    state, continuity = committed()
    carry_out(state, ask(state, RenewReservation("kept", ALICE)))
    carry_out(state, ask(state, Heartbeat(ALICE)))
    continuity.keep(state)
    again = loaded(continuity)
    assert again.holdings.by_id["kept"].deadline_us == MONO + (60 + TTL) * S
    assert again.agents[ALICE].last_seen_mono_us == MONO + 60 * S


def test_one_that_knows_nothing_changes_nothing():
    state = loaded(Continuity(), at_wall_s=100)
    assert state.holdings.by_id["kept"].deadline_us == MONO + 100 * S
    assert state.agents[ALICE].last_seen_mono_us == MONO - 100 * S
    assert len(state.lapsed) == 0


def test_what_a_process_finds_at_its_start_is_known_from_then_on():
    """What no event has touched since is restored like anything else."""
    found = loaded(Continuity())
    state = loaded(Continuity.since(found), at_wall_s=86_400)
    assert state.holdings.by_id["kept"].deadline_us == MONO
    assert state.agents[ALICE].last_seen_mono_us == MONO


def test_what_a_commit_of_unknown_outcome_has_changed_stays_as_it_is():
    """A lapsed lease came back in it. The next load must not find it lapsed as well."""
    _, continuity = committed()
    assert list(continuity.lapsed) == ["gone"]
    for _ in range(2):
        state = state_of([registered(ALICE), held("gone", BOB, "lib", ttl_s=60)])
        state.cursor = continuity.cursor + 1 if continuity.lapsed else continuity.cursor
        continuity.restore(state)
        assert (list(state.holdings.by_id), len(state.lapsed)) == (["gone"], 0)
        assert list(continuity.deadlines) == ["gone"], "what is held no more is forgotten"
    carry_out(state, ask(state, ReleaseReservation("gone", BOB)))


def test_a_copy_runs_ahead_alone():
    """A batch that may yet fail must not change what is known of the last commit."""
    state, continuity = committed()
    ahead = continuity.copy()
    carry_out(state, ask(state, RenewReservation("gone", BOB)))
    carry_out(state, ask(state, RenewReservation("kept", ALICE)))
    carry_out(state, ask(state, Heartbeat(ALICE)))
    ahead.keep(state)
    ends_us = {key: mono_us for key, (_, mono_us) in ahead.deadlines.items()}
    assert ends_us == {"kept": MONO + (60 + TTL) * S, "gone": MONO + 120 * S}
    assert ahead.lapsed == {}
    again = loaded(continuity)
    assert again.holdings.by_id["kept"].deadline_us == MONO + TTL * S
    assert again.lapsed.by_id["gone"].deadline_us == MONO + 60 * S
    assert again.agents[ALICE].last_seen_mono_us == MONO


def test_a_commit_that_was_made_after_all_is_as_the_file_says():
    """Its outcome was unknown: what it renewed is renewed, and no lapsed lease can come back."""
    state, continuity = committed([held("new", BOB, "new", ttl_s=TTL)])
    again = State(tag=TAG, project=PROJECT, at_us=state.at_us, mono_us=state.mono_us)
    carry_out(state, ask(state, RenewReservation("gone", BOB)))
    carry_out(state, ask(state, RenewReservation("kept", ALICE)))
    again.cursor = state.cursor
    for reservation in state.holdings.by_id.values():
        again.holdings.add(attrs.evolve(reservation, deadline_us=state.mono_us + 7 * S))
    continuity.restore(again)
    ends_us = {key: claim.deadline_us for key, claim in again.holdings.by_id.items()}
    assert ends_us["kept"] == ends_us["gone"] == state.mono_us + 7 * S
    assert ends_us["new"] == state.mono_us + TTL * S, "what it did not touch is as it was known"
    assert len(again.lapsed) == 0


def test_nobody_is_warned_again_of_what_was_told():
    state, continuity = committed([held("short", BOB, "x", ttl_s=100), Later(80)])
    again = State(tag=TAG, project=PROJECT, at_us=state.at_us, mono_us=state.mono_us)
    again.cursor = state.cursor
    for reservation in state.holdings.by_id.values():
        again.holdings.add(attrs.evolve(reservation))
    continuity.keep(state)
    continuity.restore(again)
    assert [claim.key for claim in again.holdings.due(state.mono_us)] == []
    assert [claim.key for claim in again.holdings.due(state.mono_us + 20 * S)] == ["short"]


def test_what_ended_is_forgotten():
    state, continuity = committed()
    carry_out(state, ask(state, RetireAgent(ALICE)))
    carry_out(state, ask(state, ReservePaths("carol", ("lib",), ttl_ms=60_000)))
    continuity.keep(state)
    assert continuity.seen_mono_us == {}
    assert set(continuity.deadlines) == set(state.holdings.by_id)
    assert continuity.lapsed == {}


def test_a_change_of_case_is_survived():
    """Patterns read by one rule cannot be filed under the other."""
    state, continuity = committed()
    carry_out(state, ask(state, ReleaseReservation("kept", ALICE)))
    carry_out(state, ask(state, ConfigureProject(case_sensitive=False)))
    continuity.keep(state)
    assert len(loaded(continuity, case_sensitive=False).lapsed) == 0
