"""`intermute inbox`: show an agent what could not be typed into its window.

For hooks, so it needs nothing but the standard library and never waits for long.
"""

import json
import sys
from collections.abc import Iterator
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote, urlencode, urlsplit
from urllib.request import ProxyHandler, Request, build_opener

import attrs
import click

URL_DEFAULT = "http://127.0.0.1:7338"
TIMEOUT_S = 10.0
_ANSWER_LEN_MAX = 64 * 1024 * 1024
_SAID_LEN_MAX = 500
# No proxy: neither the key nor the messages are its business.
_open = build_opener(ProxyHandler({})).open


class Unreachable(Exception):
    """The server gave no answer that is of use; the text is for people."""


@attrs.frozen
class Mailbox:
    """One agent's pokes on one server."""

    url: str
    agent_id: str
    project: str
    key: str | None = attrs.field(default=None, repr=False)
    token: str | None = attrs.field(default=None, repr=False)

    def pokes(self) -> Iterator[dict[str, Any]]:
        """Everything that was not shown yet, oldest first.

        Raises:
            Unreachable: Some of it cannot be had.
        """
        cursor, more = 0, True
        while more:
            page = self._ask("GET", "/api/inbox/pokes", since_cursor=str(cursor))
            found = page.get("pokes") if isinstance(page, dict) else None
            if not isinstance(found, list) or not all(isinstance(poke, dict) for poke in found):
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
        self._ask("POST", f"/api/inbox/pokes/{quote(message_id, safe='')}/ack")

    def _ask(self, method: str, path: str, **more: str) -> Any:
        query = urlencode({"agent": self.agent_id, "project": self.project, **more})
        headers = {"Accept": "application/json", "X-Agent-ID": self.agent_id}
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        if self.token:
            headers["X-Agent-Token"] = self.token
        try:
            request = Request(f"{self.url}{path}?{query}", method=method, headers=headers)
            with _open(request, timeout=TIMEOUT_S) as answer:
                return json.loads(answer.read(_ANSWER_LEN_MAX))
        except HTTPError as error:
            with error:
                raise Unreachable(f"{error.code}: {_detail(error)}") from None
        except (OSError, HTTPException, ValueError) as error:
            raise Unreachable(str(error) or type(error).__name__) from error


def _detail(error: HTTPError) -> str:
    try:
        members = json.loads(error.read(_ANSWER_LEN_MAX))
        return str(members["detail"])[:_SAID_LEN_MAX]
    except (OSError, HTTPException, ValueError, KeyError, TypeError):
        return error.reason


def _checked_url(context: click.Context, option: click.Parameter, url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise click.BadParameter("an address such as http://127.0.0.1:7338", context, option)
    return url.rstrip("/")


@click.command()
@click.option("--unread-pokes", is_flag=True, required=True, help="Show what was not shown yet.")
@click.option("--mark-surfaced", is_flag=True, help="Have it not shown again.")
@click.option("--agent", envvar="INTERMUTE_AGENT", required=True, help="The agent's id.")
@click.option("--project", envvar="INTERMUTE_PROJECT", required=True, help="The agent's project.")
@click.option(
    "--url",
    envvar="INTERMUTE_URL",
    default=URL_DEFAULT,
    show_default=True,
    callback=_checked_url,
    help="The server.",
)
@click.option("--key", envvar="INTERMUTE_API_KEY", help="The project's key, where one is needed.")
@click.option(
    "--agent-token",
    envvar="INTERMUTE_REGISTRATION_TOKEN",
    help="The agent's token, for an agent that acts with it.",
)
def inbox(
    unread_pokes: bool,
    mark_surfaced: bool,
    agent: str,
    project: str,
    url: str,
    key: str | None,
    agent_token: str | None,
) -> None:
    """Print the messages that could not be typed into the agent's window.

    Each is in its envelope, with a line of three hyphens between two. All are printed before the
    first is marked, so what is marked was printed. The exit code is 0 once everything is printed,
    also when marking failed: what is not marked is shown again.
    """
    if not unread_pokes:
        raise click.UsageError("--unread-pokes is needed: there is nothing else to show")
    mailbox = Mailbox(url, agent, project, key, agent_token)
    try:
        found = list(mailbox.pokes())
    except Unreachable as error:
        raise click.ClickException(f"the pokes cannot be read: {error}") from error
    for place, poke in enumerate(found):
        if place:
            click.echo("---")
        click.echo(poke.get("body", ""))
    sys.stdout.flush()
    if mark_surfaced:
        _mark(mailbox, found)


def _mark(mailbox: Mailbox, pokes: list[dict[str, Any]]) -> None:
    """Mark them in order, up to the first that fails."""
    for place, poke in enumerate(pokes):
        try:
            mailbox.mark_surfaced(str(poke.get("message_id", "")))
        except Unreachable as error:
            left = len(pokes) - place
            click.echo(f"Warning: {left} will be shown again, not marked: {error}", err=True)
            return
