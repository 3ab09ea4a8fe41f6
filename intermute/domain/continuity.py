"""What a process knows of its leases and agents that the file does not: as of the last commit.

When a commit fails, the state in memory has run ahead and is loaded from the file again. The file
holds no monotonic clock and no lapsed leases. Both are kept here, from commit to commit, so that a
fault neither shortens a lease nor lengthens it.
"""

import attrs

from intermute.domain.holdings import Claim, Reservation, Ticket
from intermute.domain.state import State


@attrs.define
class Continuity:
    """Deadlines, lapsed leases and last sights, of the last committed state.

    Attributes:
        cursor: Of the last event.
        warned_us: By when the holders of leases that near their end were told.
        deadlines: By claim, the end that is shown and the one on the monotonic clock.
        calls: By claim, the open calls that it is kept for.
    """

    cursor: int = 0
    warned_us: int = -1
    deadlines: dict[str, tuple[int, int]] = attrs.field(factory=dict)
    lapsed: dict[str, Reservation] = attrs.field(factory=dict)
    seen_mono_us: dict[str, int] = attrs.field(factory=dict)
    focus_mono_us: dict[str, int] = attrs.field(factory=dict)
    calls: dict[str, frozenset[int]] = attrs.field(factory=dict)

    @classmethod
    def since(cls, state: State) -> "Continuity":
        """As of a state that was just loaded by a process that knows nothing yet."""
        return cls(
            cursor=state.cursor,
            deadlines={claim.key: _ends(claim) for claim in _claims(state)},
            seen_mono_us={a.agent_id: a.last_seen_mono_us for a in state.agents.values()},
        )

    def copy(self) -> "Continuity":
        """One that can run ahead, for a batch that may yet fail."""
        return Continuity(
            self.cursor,
            self.warned_us,
            dict(self.deadlines),
            dict(self.lapsed),
            dict(self.seen_mono_us),
            dict(self.focus_mono_us),
            dict(self.calls),
        )

    def keep(self, state: State) -> None:
        """The state has just been committed: learn what changed in it since the last time."""
        for key in state.touched:
            self._keep_claim(state, key)
        for agent_id in state.touched_agents:
            agent = state.agents.get(agent_id)
            if agent is None:
                self.seen_mono_us.pop(agent_id, None)
                self.focus_mono_us.pop(agent_id, None)
            else:
                self.seen_mono_us[agent_id] = agent.last_seen_mono_us
                if agent.focus_mono_us is not None:
                    self.focus_mono_us[agent_id] = agent.focus_mono_us
        self.cursor = state.cursor
        self.warned_us = state.mono_us
        state.touched.clear()
        state.touched_agents.clear()

    def restore(self, state: State) -> None:
        """Put what is known into a state that was loaded from the file.

        The file may know more: a commit whose outcome was unknown was made after all. Whatever it
        changed is as the file says, and no lapsed lease can come back, because its paths may have
        changed hands.
        """
        for reservation in state.holdings.by_id.values():
            deadline_us = self._deadline_us(reservation)
            if deadline_us is not None:
                state.holdings.extend(reservation, deadline_us=deadline_us)
        for claim in _claims(state):
            claim.calls = self.calls.get(claim.key, frozenset())
        state.holdings.forget_warnings(self.warned_us)
        for ticket in state.line.by_id.values():
            deadline_us = self._deadline_us(ticket)
            if deadline_us is not None:
                state.line.extend(ticket, deadline_us=deadline_us)
        if state.cursor != self.cursor:
            self._follow(state)
        for reservation in self.lapsed.values():
            state.lapsed.add(attrs.evolve(reservation))
        for agent in state.agents.values():
            seen_us = self.seen_mono_us.get(agent.agent_id)
            if seen_us is not None:
                agent.last_seen_mono_us = seen_us
            agent.focus_mono_us = self.focus_mono_us.get(agent.agent_id)
        # Somebody may have been left to be looked at later.
        state.unlooked = dict.fromkeys(state.line.by_id)

    def _follow(self, state: State) -> None:
        """Forget what the file no longer agrees with: what its last commit touched was not kept."""
        self.cursor = state.cursor
        self.lapsed.clear()
        self.deadlines = {claim.key: _ends(claim) for claim in _claims(state)}
        self.calls = {claim.key: claim.calls for claim in _claims(state) if claim.calls}

    def _deadline_us(self, claim: Claim) -> int | None:
        shown_us, deadline_us = self.deadlines.get(claim.key, (None, None))
        return deadline_us if shown_us == _ends(claim)[0] else None

    def _keep_claim(self, state: State, key: str) -> None:
        claim = state.holdings.by_id.get(key) or state.line.by_id.get(key)
        if claim is None:
            self.deadlines.pop(key, None)
        else:
            self.deadlines[key] = _ends(claim)
        if claim is None or not claim.calls:
            self.calls.pop(key, None)
        else:
            self.calls[key] = claim.calls
        lapsed = state.lapsed.by_id.get(key)
        if lapsed is None:
            self.lapsed.pop(key, None)
        else:
            # A copy: the state goes on changing its own.
            self.lapsed[key] = attrs.evolve(lapsed)


def _ends(claim: Claim) -> tuple[int, int]:
    """When the claim ends, by the wall clock as it is shown and by the monotonic clock."""
    if isinstance(claim, Reservation):
        return claim.expires_at_us, claim.deadline_us
    assert isinstance(claim, Ticket)
    return claim.wait_until_us, claim.deadline_us


def _claims(state: State) -> tuple[Claim, ...]:
    return (*state.holdings.by_id.values(), *state.line.by_id.values())
