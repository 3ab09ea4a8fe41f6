"""`intermute inbox`: show an agent what could not be typed into its window.

For a hook that runs before each turn of an agent, so it never waits for long.
"""

import sys
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import attrs
import click

from intermute.cli import wording
from intermute.cli.client import Client, Unreachable
from intermute.cli.options import KEY, URL, connect, token_option
from intermute.cli.paths import is_utf8
from intermute.domain import limits


@attrs.frozen
class Mailbox:
    """One agent's pokes on one server."""

    client: Client
    agent_id: str
    project: str

    def pokes(self) -> Iterator[dict[str, Any]]:
        """Everything that was not shown yet, oldest first.

        Raises:
            Unreachable: Some of it cannot be had.
        """
        cursor, more = 0, True
        while more:
            page = self._ask("GET", "/api/inbox/pokes", "pokes", since_cursor=str(cursor))
            found = page.get("pokes")
            if not isinstance(found, list) or not all(_is_poke(poke) for poke in found):
                raise Unreachable("the answer is not a page of pokes")
            yield from found
            # A page that leads nowhere ends it, or a broken server could hold us for ever.
            last = page.get("cursor")
            more = page.get("more") is True and isinstance(last, int) and last > cursor
            cursor = last if isinstance(last, int) else cursor

    def mark_surfaced(self, message_id: str) -> None:
        """Say that it was shown.

        Raises:
            Unreachable: It is not known whether the server noted it.
        """
        self._ask("POST", f"/api/inbox/pokes/{quote(message_id, safe='')}/ack", "status")

    def _ask(self, method: str, path: str, told: str, **more: str) -> dict[str, Any]:
        query = {"agent": self.agent_id, "project": self.project, **more}
        answer = self.client.ask(method, path, query=list(query.items()), told=told)
        if answer.status >= 400:
            raise Unreachable(wording.problem(answer.members, answer.status))
        return answer.members


def _is_poke(found: Any) -> bool:
    """Whether it can be shown, and marked then."""
    texts = (found.get("body"), found.get("message_id")) if isinstance(found, dict) else (None,)
    return all(isinstance(text, str) and is_utf8(text) for text in texts)


@click.command()
@click.option("--unread-pokes", is_flag=True, required=True, help="Show what was not shown yet.")
@click.option("--mark-surfaced", is_flag=True, help="Have it not shown again.")
@click.option(
    "--agent",
    envvar="INTERMUTE_AGENT",
    required=True,
    help="The agent's id; also from INTERMUTE_AGENT.",
)
@click.option(
    "--project",
    envvar="INTERMUTE_PROJECT",
    required=True,
    help="The agent's project; also from INTERMUTE_PROJECT.",
)
@URL
@KEY
@token_option("--token", "--agent-token")
def inbox(
    unread_pokes: bool,
    mark_surfaced: bool,
    agent: str,
    project: str,
    url: str,
    key: str | None,
    token: str | None,
) -> None:
    """Print the messages that could not be typed into the agent's window.

    Each is in its envelope, with a line of three hyphens between two. All are printed before the
    first is marked, so what is marked was printed. The exit code is 0 once everything is printed,
    also when marking failed: what is not marked is shown again.
    """
    if not unread_pokes:
        raise click.UsageError("--unread-pokes is needed: there is nothing else to show")
    client = connect(url, agent=agent, key=key, token=token, answer_ms=limits.CLI_INBOX_ANSWER_MS)
    mailbox = Mailbox(client, agent, project)
    try:
        found = list(mailbox.pokes())
    except Unreachable as error:
        raise click.ClickException(f"the pokes cannot be read: {error}") from error
    for place, poke in enumerate(found):
        if place:
            click.echo("---")
        click.echo(poke["body"])
    sys.stdout.flush()
    if mark_surfaced:
        _mark(mailbox, found)


def _mark(mailbox: Mailbox, pokes: list[dict[str, Any]]) -> None:
    """Mark them in order, up to the first that fails."""
    for place, poke in enumerate(pokes):
        try:
            mailbox.mark_surfaced(poke["message_id"])
        except Unreachable as error:
            left = len(pokes) - place
            click.echo(f"Warning: {left} will be shown again, not marked: {error}", err=True)
            return
