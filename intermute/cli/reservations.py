"""The commands for people, hooks and CI: check, reserve, release, renew, wait, reservations.

Exit codes: 0 free or done, 5 somebody else is in the way, 2 wrong usage, 3 the time to wait is
over, 1 anything else.
"""

import json
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn
from urllib.parse import quote

import click

from intermute.cli import wording
from intermute.cli.client import Answer
from intermute.cli.options import (
    CONFLICT,
    REASON,
    TIME_OVER,
    TTL,
    Asked,
    Asker,
    Duration,
    asking,
    end,
    fail,
    mode_option,
    paths_option,
)
from intermute.domain import limits

WAIT_MAX_S = limits.WAIT_MAX_MS // 1000


@click.command()
@mode_option
@paths_option
@asking
def check(asker: Asker, asked: Asked, mode: str) -> None:
    """Tell whether somebody else has PATH. Takes nothing.

    Exit code 0: free. 5: somebody holds it or waits for it. 2: wrong usage. 1: anything else.
    """
    if not asked.patterns:
        _say_nothing_asked(asker, {"conflicts": [], "free": True, "more": False})
    answer = _check(asker, asked.patterns, mode)
    if answer.status >= 400:
        end(fail(answer, asker))
    if answer.members.get("free"):
        asker.show(answer, iter([f"Free: {wording.count(len(asked.patterns), 'path')}"]))
        return

    def lines() -> Iterator[str]:
        yield from wording.conflicts(answer.members)
        yield asker.suggest("wait", asked.words)

    asker.show(answer, lines())
    end(CONFLICT)


def _check(asker: Asker, patterns: Sequence[str], mode: str) -> Answer:
    """The answer for all patterns, asked for in as few requests as they fit into."""
    answers = []
    for lot in batched(patterns, limits.PATTERNS_PER_REQUEST_MAX):
        body = asker.named(patterns=lot, mode=mode)
        answers.append(asker.ask("POST", "/api/reservations/check", body=body, told="free"))
        if answers[-1].status >= 400:
            return answers[-1]
    return answers[0] if len(answers) == 1 else _merged(answers)


def batched(patterns: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    for start in range(0, len(patterns), size):
        yield patterns[start : start + size]


def _merged(answers: Sequence[Answer]) -> Answer:
    """One answer of several: each claim in the way once, in the order in which it was met."""
    found: dict[str, Any] = {}
    for answer in answers:
        for each in answer.members.get("conflicts") or ():
            found.setdefault(str(each.get("reservation_id") or each.get("ticket_id")), each)
    members = {
        "conflicts": list(found.values()),
        "free": not found,
        "more": any(answer.members.get("more") for answer in answers),
    }
    return Answer(200, json.dumps(members, ensure_ascii=False), members)


@click.command()
@mode_option
@TTL
@REASON
@paths_option
@asking
def reserve(asker: Asker, asked: Asked, mode: str, ttl: float | None, reason: str) -> None:
    """Take PATH, all of them or none.

    Exit code 0: taken. 5: somebody else is in the way. 2: wrong usage. 1: anything else.
    """
    answer = _reserve(asker, asked, mode=mode, ttl=ttl, reason=reason)
    if answer.members.get("code") == "reservation_conflict":
        _tell_conflict(asker, asked, answer)
        end(CONFLICT)
    if answer.status >= 400:
        end(fail(answer, asker))
    _tell_taken(asker, answer)


@click.command()
@mode_option
@TTL
@REASON
@click.option(
    "--timeout",
    type=Duration(),
    help=f"Wait so long at most: 30s, 5m; without it, {WAIT_MAX_S // 60} minutes.",
)
@click.option("--queue", is_flag=True, help="Take a place in line and do not stay.")
@paths_option
@asking
def wait(
    asker: Asker,
    asked: Asked,
    mode: str,
    ttl: float | None,
    reason: str,
    timeout: float | None,
    queue: bool,
) -> None:
    """Take PATH as soon as all of them are free. First come, first served.

    Exit code 0: taken. 3: the time is over. 5: to wait would be a deadlock, or with --queue: it
    waits in line now and is not taken. 2: wrong usage. 1: anything else.
    """
    if not queue and timeout is not None and timeout > WAIT_MAX_S:
        raise click.UsageError(
            f"--timeout is at most {WAIT_MAX_S} seconds; --queue keeps a place in line for longer"
        )
    wait_s = timeout or float(WAIT_MAX_S)
    more: dict[str, Any] = {"wait_seconds": wait_s}
    if queue:
        more = {"queue": True}
        if timeout is not None:
            more["queue_seconds"] = round(timeout) or 1
    answer = _reserve(
        asker, asked, mode=mode, ttl=ttl, reason=reason, more=more, wait_s=0 if queue else wait_s
    )
    if answer.status == 202:
        words = iter([*wording.ticket(answer.members), asker.suggest("wait", asked.words)])
        asker.show(answer, words)
        end(CONFLICT)
    if answer.members.get("code") == "reservation_conflict":
        _tell_conflict(asker, asked, answer)
        end(TIME_OVER)
    if answer.status >= 400:
        end(fail(answer, asker))
    _tell_taken(asker, answer)


def _reserve(
    asker: Asker,
    asked: Asked,
    *,
    mode: str,
    ttl: float | None,
    reason: str,
    more: dict[str, Any] | None = None,
    wait_s: float = 0.0,
) -> Answer:
    asker.require_agent()
    many = len(asked.patterns)
    if many > limits.PATTERNS_PER_REQUEST_MAX:
        raise click.UsageError(
            f"paths are taken all or none, at most {limits.PATTERNS_PER_REQUEST_MAX} at a time, "
            f"and these are {many}: take the directory that they are in"
        )
    if not many:
        _say_nothing_asked(asker, {})
    body = asker.named(patterns=asked.patterns, mode=mode, **(more or {}))
    if ttl is not None:
        body["ttl_seconds"] = round(ttl) or 1
    if reason:
        body["reason"] = reason
    return asker.ask("POST", "/api/reservations", body=body, wait_s=wait_s, told="patterns")


def _tell_taken(asker: Asker, answer: Answer) -> None:
    def lines() -> Iterator[str]:
        members = answer.members
        identifier = wording.plain(members.get("id"))
        yield f"Taken: {wording.patterns(members)}"
        yield f"    {identifier} until {wording.until(members.get('expires_at'))}"
        if members.get("fencing_token") is not None:
            yield f"    fencing token {wording.plain(members['fencing_token'])}"
        yield asker.suggest("release", [identifier])

    asker.show(answer, lines())


def _tell_conflict(asker: Asker, asked: Asked, answer: Answer) -> None:
    def lines() -> Iterator[str]:
        yield from wording.conflicts(answer.members)
        waited_s = answer.members.get("waited_seconds")
        if waited_s is not None:
            yield f"Waited {waited_s:.0f} s; nothing was taken"
        yield asker.suggest("wait", asked.words)

    asker.show(answer, lines())


def _say_nothing_asked(asker: Asker, members: dict[str, Any]) -> NoReturn:
    """No path was named, by somebody who could not know: the list was empty."""
    if asker.as_json:
        click.echo(json.dumps(members))
    else:
        click.echo("No paths: nothing to do", err=True)
    end(0)


_IDS = click.argument("ids", nargs=-1, metavar="ID...")
_ALL = click.option("--all", "everything", is_flag=True, help="All that the agent holds.")


@click.command()
@_IDS
@_ALL
@asking
def release(asker: Asker, ids: tuple[str, ...], everything: bool) -> None:
    """Give back reservations, or places in line, by their ID.

    Exit code 0: done. 2: wrong usage. 1: anything else.
    """
    found = _held(asker, ids, everything)
    failed = 0
    for identifier in found:
        kind = "tickets/" if identifier.startswith("tkt_") else ""
        path = f"/api/reservations/{kind}{quote(identifier, safe='')}"
        answer = asker.ask("DELETE", path, told="patterns")
        if answer.status >= 400:
            failed = failed or fail(answer, asker)
        else:
            asker.show(answer, iter([f"Released: {wording.patterns(answer.members)}"]))
    end(failed)


@click.command()
@_IDS
@_ALL
@TTL
@asking
def renew(asker: Asker, ids: tuple[str, ...], everything: bool, ttl: float | None) -> None:
    """Count the leases of reservations anew from now, by their ID.

    Exit code 0: done. 2: wrong usage. 1: anything else; then do not write any more.
    """
    found = _held(asker, ids, everything)
    body = {} if ttl is None else {"ttl_seconds": round(ttl) or 1}
    failed = 0
    for identifier in found:
        path = f"/api/reservations/{quote(identifier, safe='')}/renew"
        answer = asker.ask("POST", path, body=body, told="patterns")
        if answer.status >= 400:
            failed = failed or fail(answer, asker)
        else:
            until = wording.until(answer.members.get("expires_at"))
            lines = [f"Renewed until {until}: {wording.patterns(answer.members)}"]
            asker.show(answer, iter(lines))
    end(failed)


def _held(asker: Asker, ids: tuple[str, ...], everything: bool) -> Sequence[str]:
    """The ids that are meant."""
    agent = asker.require_agent()
    if bool(ids) == everything:
        raise click.UsageError("name reservations by their ids, or give --all")
    if ids:
        return ids
    found: list[str] = []
    before, more = limits.CURSOR_MAX, True
    while more:
        answer = _list(asker, agent=agent, limit=limits.PAGE_MAX, before=before)
        if answer.status >= 400:
            end(fail(answer, asker))
        found += [str(each.get("id")) for each in answer.members.get("reservations") or ()]
        last = answer.members.get("cursor")
        # A page that leads nowhere ends it, or a broken server could hold us for ever.
        more = answer.members.get("more") is True and isinstance(last, int) and last < before
        before = last if isinstance(last, int) else before
    return found


@click.command()
@click.option("--mine", is_flag=True, help="Only what the agent itself holds.")
@click.option(
    "--limit",
    type=click.IntRange(1, limits.PAGE_MAX),
    default=limits.PAGE_MAX,
    show_default=True,
    help="At most so many, the newest.",
)
@asking
def reservations(asker: Asker, mine: bool, limit: int) -> None:
    """List what is held now.

    Exit code 0: done. 2: wrong usage. 1: anything else.
    """
    answer = _list(asker, agent=asker.require_agent() if mine else None, limit=limit)
    if answer.status >= 400:
        end(fail(answer, asker))

    def lines() -> Iterator[str]:
        held = answer.members.get("reservations") or ()
        for each in held:
            yield from wording.reservation(each)
        if answer.members.get("more"):
            yield "... and there are more"
        if not held:
            yield "Nothing is held"

    asker.show(answer, lines())


def _list(
    asker: Asker, *, agent: str | None, limit: int, before: int = limits.CURSOR_MAX
) -> Answer:
    query = [("active", "true"), ("limit", str(limit)), ("cursor", str(before))]
    if asker.project is not None:
        query.append(("project", asker.project))
    if agent is not None:
        query.append(("agent", agent))
    return asker.ask("GET", "/api/reservations", query=query, told="reservations")


COMMANDS = (check, reserve, release, renew, wait, reservations)
