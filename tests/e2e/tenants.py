"""Keys for tests: one file, two projects, a key of every kind."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import attrs
import yaml

from intermute import app

ALPHA = "alpha"
BETA = "beta"


@attrs.frozen
class Tenants:
    """A keys file and its keys. All but `b` are, or were, of project alpha."""

    keys_file: Path
    a: str
    b: str
    operator: str
    operator_b: str
    expired: str
    revoked: str

    def headers(self, which: str, agent_id: str | None = None) -> dict[str, str]:
        identity = {} if agent_id is None else {"X-Agent-ID": agent_id}
        return {"Authorization": f"Bearer {getattr(self, which)}", **identity}


def make_tenants(keys_file: Path, *, beta: str = BETA) -> Tenants:
    """Write the file. A local caller needs a key too, so a test's own requests are strangers."""
    keys_file.write_text("default_policy:\n  allow_localhost_without_auth: false\n")
    past = datetime.now(UTC) - timedelta(days=1)

    def key(project: str, *, operator: bool = False, expires_at: datetime | None = None) -> str:
        return app.make_key(keys_file, project, operator=operator, expires_at=expires_at)

    made = Tenants(
        keys_file=keys_file,
        a=key(ALPHA),
        b=key(beta),
        operator=key(ALPHA, operator=True),
        operator_b=key(beta, operator=True),
        expired=key(ALPHA, expires_at=past),
        revoked=key(ALPHA),
    )
    revoke(keys_file, made.revoked)
    return made


def revoke(keys_file: Path, key: str) -> None:
    """Take a key out of the file, as an operator would with an editor."""
    document = yaml.safe_load(keys_file.read_text())
    key_id = key.split("_")[1]
    for project in document["projects"].values():
        project["keys"] = [entry for entry in project["keys"] if entry["id"] != key_id]
    keys_file.write_text(yaml.safe_dump(document))
