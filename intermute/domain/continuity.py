"""What a process knows of its leases and agents that the file does not: as of the last commit.

When a commit fails, the state in memory has run ahead and is loaded from the file again. The file
holds no monotonic clock and no lapsed leases. Both are kept here, from commit to commit, so that a
fault neither shortens a lease nor lengthens it.
"""

import attrs

from intermute.domain.state import Reservation, State


@attrs.define
class Continuity:
    """Deadlines, lapsed leases and last sights, of the last committed state."""

    deadlines: dict[str, int] = attrs.field(factory=dict)
    lapsed: dict[str, Reservation] = attrs.field(factory=dict)
    seen_mono_us: dict[str, int] = attrs.field(factory=dict)
    focus_mono_us: dict[str, int] = attrs.field(factory=dict)

    @classmethod
    def since(cls, state: State) -> "Continuity":
        """As of a state that was just loaded by a process that knows nothing yet."""
        return cls(
            deadlines={r.reservation_id: r.deadline_us for r in state.holdings.by_id.values()},
            seen_mono_us={a.agent_id: a.last_seen_mono_us for a in state.agents.values()},
        )

    def copy(self) -> "Continuity":
        """One that can run ahead, for a batch that may yet fail."""
        return Continuity(
            dict(self.deadlines),
            dict(self.lapsed),
            dict(self.seen_mono_us),
            dict(self.focus_mono_us),
        )

    def keep(self, state: State) -> None:
        """The state has just been committed: learn what changed in it since the last time."""
        for reservation_id in state.touched:
            self._keep_reservation(state, reservation_id)
        for agent_id in state.touched_agents:
            agent = state.agents.get(agent_id)
            if agent is None:
                self.seen_mono_us.pop(agent_id, None)
                self.focus_mono_us.pop(agent_id, None)
            else:
                self.seen_mono_us[agent_id] = agent.last_seen_mono_us
                if agent.focus_mono_us is not None:
                    self.focus_mono_us[agent_id] = agent.focus_mono_us
        state.touched.clear()
        state.touched_agents.clear()

    def restore(self, state: State) -> None:
        """Put what is known into a state that was loaded from the file."""
        for reservation in state.holdings.by_id.values():
            deadline_us = self.deadlines.get(reservation.reservation_id)
            if deadline_us is not None:
                state.holdings.extend(reservation, deadline_us=deadline_us)
        for reservation in self.lapsed.values():
            state.lapsed.add(attrs.evolve(reservation))
        for agent in state.agents.values():
            seen_us = self.seen_mono_us.get(agent.agent_id)
            if seen_us is not None:
                agent.last_seen_mono_us = seen_us
            agent.focus_mono_us = self.focus_mono_us.get(agent.agent_id)

    def _keep_reservation(self, state: State, reservation_id: str) -> None:
        held = state.holdings.by_id.get(reservation_id)
        if held is None:
            self.deadlines.pop(reservation_id, None)
        else:
            self.deadlines[reservation_id] = held.deadline_us
        lapsed = state.lapsed.by_id.get(reservation_id)
        if lapsed is None:
            self.lapsed.pop(reservation_id, None)
        else:
            # A copy: the state goes on changing its own.
            self.lapsed[reservation_id] = attrs.evolve(lapsed)
