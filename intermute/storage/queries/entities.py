"""Queries on the entities."""

from collections.abc import Mapping

import msgspec

from intermute.domain.entities.kinds import Entity, Kind
from intermute.domain.limits import ENTITY_PAGE_LEN_MAX
from intermute.domain.views import LinkView
from intermute.storage.queries.base import Queries

_decode_entity = msgspec.json.Decoder(Entity).decode
_OWN_COLUMNS = ("status", "agent", "category")


class EntityQueries(Queries):
    """Queries on the entities."""

    def entity(self, kind: str, entity_id: str) -> Entity | None:
        row = self._execute(
            "SELECT data FROM entities WHERE kind = ? AND entity_id = ?", (kind, entity_id)
        ).get
        return None if row is None else _decode_entity(row)

    def has_entity(self, kind: str, entity_id: str) -> bool:
        found = self._execute(
            "SELECT 1 FROM entities WHERE kind = ? AND entity_id = ?", (kind, entity_id)
        ).get
        return found is not None

    def entities(
        self, kind: Kind, wanted: Mapping[str, str], *, limit: int, offset: int = 0
    ) -> tuple[list[Entity], bool]:
        """A page of the kind's list, and whether anything follows it.

        `wanted` has texts that fields must equal, by the name of the field. A page whose texts
        are long ends before `limit`, but has at least one entity.
        """
        conditions = ["kind = ?"]
        for field in wanted:
            column = "parent_id" if kind.parent and field == kind.parent[0] else field
            assert column in ("parent_id", *_OWN_COLUMNS), column
            # The second half is what lets the index be used, which leaves out empty texts.
            conditions.append(f"{column} = ? AND {column} <> ''")
        rows = self._execute(
            f"SELECT data FROM entities WHERE {' AND '.join(conditions)} "
            "ORDER BY rank, sorted_at_us DESC, cursor DESC LIMIT ? OFFSET ?",
            (kind.name, *wanted.values(), limit + 1, offset),
        )
        page: list[Entity] = []
        left = ENTITY_PAGE_LEN_MAX
        for (data,) in rows:
            left -= len(data)
            if len(page) == limit or (left < 0 and page):
                rows.close()
                return page, True
            page.append(_decode_entity(data))
        return page, False

    def cuj_links(self, cuj_id: str) -> list[LinkView] | None:
        """The features that a user journey is linked to, the first linked first; None when there
        is no such user journey."""
        with self._snapshot():
            if not self.has_entity("cuj", cuj_id):
                return None
            rows = self._execute(
                "SELECT feature_id, linked_at_us FROM cuj_links WHERE cuj_id = ? "
                "ORDER BY linked_at_us, feature_id",
                (cuj_id,),
            )
            return [LinkView(cuj_id, row[0], self.project, row[1]) for row in rows]

    def cuj_link(self, cuj_id: str, feature_id: str) -> LinkView | None:
        linked_at_us = self._execute(
            "SELECT linked_at_us FROM cuj_links WHERE cuj_id = ? AND feature_id = ?",
            (cuj_id, feature_id),
        ).get
        if linked_at_us is None:
            return None
        return LinkView(cuj_id, feature_id, self.project, linked_at_us)

    def cuj_links_len(self, cuj_id: str) -> int:
        found = self._execute("SELECT count(*) FROM cuj_links WHERE cuj_id = ?", (cuj_id,)).get
        assert isinstance(found, int)
        return found
