"""Queries on the agents."""

from typing import Any

import attrs

from intermute.domain.views import AgentView, ContactsView, PolicyView
from intermute.storage.projections import as_json
from intermute.storage.queries.base import Queries, decode_map, decode_strings

_AGENT = """
SELECT a.agent_id, session_id, name, capabilities, metadata, status, policy, live_contact_policy,
       created_at_us, coalesce(last_seen_us, created_at_us), coalesce(focus_state, 'unknown'),
       retired_at_us, focus_at_us
FROM agents AS a LEFT JOIN presence USING (agent_id)
"""


@attrs.frozen
class AgentFilter:
    """Which agents are asked for: any of the capabilities, and these words in their metadata."""

    capabilities: tuple[str, ...] = ()
    repo: str = ""
    active_bead_id: str = ""


@attrs.frozen
class StoredCredential:
    """An `intermute.domain.archive.Credential`."""

    token_hash: bytes
    token_bound: bool


class AgentQueries(Queries):
    """Queries on the agents."""

    def credential(self, agent_id: str) -> StoredCredential | None:
        """What is known of the agent's token, None for one that was never there.

        One that has retired is still held to it, or its mail would be everybody's.
        """
        row = self._execute(
            "SELECT coalesce(token_hash, x''), coalesce(bound, 0) FROM agents "
            "LEFT JOIN credentials USING (agent_id) WHERE agent_id = ?",
            (agent_id,),
        ).get
        return None if row is None else StoredCredential(bytes(row[0]), bool(row[1]))

    def agents(self, wanted: AgentFilter, *, limit: int) -> list[AgentView]:
        """Agents that are not retired, last seen first."""
        conditions = ["retired_at_us IS NULL"]
        if wanted.capabilities:
            conditions.append(
                "EXISTS (SELECT 1 FROM json_each(capabilities) AS has "
                "JOIN json_each(?1) AS want ON has.value = want.value)"
            )
        if wanted.repo:
            conditions.append("trim(json_extract(metadata, '$.repo')) = ?2")
        if wanted.active_bead_id:
            conditions.append("trim(json_extract(metadata, '$.active_bead_id')) = ?3")
        rows = self._execute(
            f"{_AGENT} WHERE {' AND '.join(conditions)} "
            "ORDER BY coalesce(last_seen_us, created_at_us) DESC, a.rowid DESC LIMIT ?4",
            (as_json(wanted.capabilities), wanted.repo, wanted.active_bead_id, limit),
        )
        return [self._agent(row) for row in rows]

    def agent(self, agent_id: str) -> AgentView | None:
        """One agent, retired ones included."""
        row = self._execute(_AGENT + "WHERE a.agent_id = ?", (agent_id,)).get
        return None if row is None else self._agent(row)

    def policy(self, agent_id: str) -> PolicyView | None:
        agent = self.agent(agent_id)
        if agent is None or agent.retired_at_us is not None:
            return None
        return PolicyView(agent_id, agent.policy, agent.live_contact_policy)

    def contacts(self, agent_id: str) -> ContactsView | None:
        """The contact list in the order in which it grew, None for an unknown agent."""
        with self._snapshot():
            if self.policy(agent_id) is None:
                return None
            rows = self._execute(
                "SELECT contact_id FROM contacts WHERE agent_id = ? ORDER BY cursor", (agent_id,)
            )
            return ContactsView(agent_id, tuple(row[0] for row in rows))

    def _agent(self, row: tuple[Any, ...]) -> AgentView:
        return AgentView(
            agent_id=row[0],
            session_id=row[1],
            name=row[2],
            project=self.project,
            capabilities=decode_strings(row[3]),
            metadata=decode_map(row[4]),
            status=row[5],
            policy=row[6],
            live_contact_policy=row[7],
            created_at_us=row[8],
            last_seen_us=row[9],
            focus_state=row[10],
            retired_at_us=row[11],
            focus_at_us=row[12],
        )
