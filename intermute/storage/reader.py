"""Reads that only look: a connection that cannot write, on committed data, bounded in rows."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw
import attrs
import msgspec

from intermute.domain.events import Event
from intermute.domain.views import AgentView, ContactsView, PolicyView, ProjectView, ReservationView
from intermute.storage.connections import open_reader, stored_project
from intermute.storage.migrations import packaged, refuse_newer
from intermute.storage.projections import as_json
from intermute.storage.writer import decode_event

_AGENT = """
SELECT a.agent_id, session_id, name, capabilities, metadata, status, policy, live_contact_policy,
       created_at_us, coalesce(last_seen_us, created_at_us), coalesce(focus_state, 'unknown'),
       retired_at_us
FROM agents AS a LEFT JOIN presence USING (agent_id)
"""
_RESERVATION = """
SELECT cursor, reservation_id, agent_id, patterns, exclusive, reason, ttl_ms, created_at_us,
       expires_at_us, ended, ended_at_us
FROM reservations
"""
_decode_strings = msgspec.json.Decoder(tuple[str, ...]).decode
_decode_map = msgspec.json.Decoder(dict[str, str]).decode


@attrs.frozen
class AgentFilter:
    """Which agents are asked for: any of the capabilities, and these words in their metadata."""

    capabilities: tuple[str, ...] = ()
    repo: str = ""
    active_bead_id: str = ""


class Reader:
    """Queries on one project's file. Each sees one consistent state of it.

    Every method may raise the errors in `intermute.storage.faults.FAULTS`.
    """

    def __init__(self, connection: apsw.Connection, project: str) -> None:
        self._connection = connection
        self._execute: Callable[..., Any] = connection.execute
        self.project = project

    @classmethod
    def open(cls, path: Path) -> "Reader | None":
        """A reader of the file, None while it is too new to hold anything."""
        connection = open_reader(path)
        try:
            if not refuse_newer(connection, packaged()):
                connection.close()
                return None
            project = stored_project(connection, path.name)
        except BaseException:
            connection.close()
            raise
        if project is None:
            connection.close()
            return None
        return cls(connection, project)

    def close(self) -> None:
        self._connection.close()

    def token_hash(self, agent_id: str) -> bytes | None:
        """The SHA-256 of the agent's token, None for an agent that is not there or retired."""
        found = self._execute(
            "SELECT token_hash FROM credentials JOIN agents USING (agent_id) "
            "WHERE agent_id = ? AND retired_at_us IS NULL",
            (agent_id,),
        ).get
        return None if found is None else bytes(found)

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

    def reservation(self, reservation_id: str) -> ReservationView | None:
        """One reservation, ended ones included."""
        row = self._execute(_RESERVATION + "WHERE reservation_id = ?", (reservation_id,)).get
        return None if row is None else self._reservation(row)

    def reservations(
        self, *, agent_id: str | None, active_at_us: int | None, before: int, limit: int
    ) -> list[ReservationView]:
        """Newest first, those granted before cursor `before`.

        `active_at_us` leaves only what is granted and has not run out by then.
        """
        conditions = ["cursor < ?1"]
        if active_at_us is not None:
            conditions.append("ended IS NULL AND expires_at_us > ?2")
        if agent_id is not None:
            conditions.append("agent_id = ?3")
        rows = self._execute(
            f"{_RESERVATION} WHERE {' AND '.join(conditions)} ORDER BY cursor DESC LIMIT ?4",
            (before, active_at_us, agent_id, limit),
        )
        return [self._reservation(row) for row in rows]

    def settings(self) -> ProjectView:
        setting = self._execute("SELECT value FROM meta WHERE name = 'case_sensitive'").get
        return ProjectView(self.project, setting is None or bool(setting))

    def events(self, *, after: int, limit: int) -> list[Event]:
        """The log in order, from the one after cursor `after`."""
        rows = self._execute(
            "SELECT cursor, type, actor, data, at_us FROM events WHERE cursor > ? "
            "ORDER BY cursor LIMIT ?",
            (after, limit),
        )
        return [decode_event(row) for row in rows]

    @contextmanager
    def _snapshot(self) -> Iterator[None]:
        self._execute("BEGIN")
        try:
            yield
        finally:
            self._execute("COMMIT")

    def _agent(self, row: tuple[Any, ...]) -> AgentView:
        return AgentView(
            agent_id=row[0],
            session_id=row[1],
            name=row[2],
            project=self.project,
            capabilities=_decode_strings(row[3]),
            metadata=_decode_map(row[4]),
            status=row[5],
            policy=row[6],
            live_contact_policy=row[7],
            created_at_us=row[8],
            last_seen_us=row[9],
            focus_state=row[10],
            retired_at_us=row[11],
        )

    def _reservation(self, row: tuple[Any, ...]) -> ReservationView:
        return ReservationView(
            reservation_id=row[1],
            agent_id=row[2],
            project=self.project,
            patterns=_decode_strings(row[3]),
            exclusive=bool(row[4]),
            reason=row[5],
            ttl_ms=row[6],
            created_at_us=row[7],
            expires_at_us=row[8],
            cursor=row[0],
            ended=row[9],
            ended_at_us=row[10],
        )
