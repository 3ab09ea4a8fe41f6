"""Keeps calls as a history that `python -m bench verify` can check."""

from typing import Any

from bench.contention.links import Ask, Reply
from bench.linearizability.history import Begun, Recorder

_REFUSALS = {
    "reservation_not_found": "not_found",
    "reservation_lapsed": "lapsed",
    "not_the_owner": "not_owner",
}


class Recording:
    """The calls of one generator process to one project."""

    def __init__(self, recorder: Recorder, project: str) -> None:
        self._recorder = recorder
        self._project = project
        self._under_way: dict[str, Begun] = {}

    def asked(self, client: str, ask: Ask) -> None:
        """A call is about to be sent."""
        if ask.recorded is not None:
            operation, arguments = ask.recorded
            self._under_way[client] = self._recorder.begin(
                client, operation, arguments, project=self._project
            )

    def heard(self, client: str, ask: Ask, reply: Reply) -> None:
        """Its answer is there, or will never be."""
        begun = self._under_way.pop(client, None)
        if begun is None:
            return
        outcome = outcome_of(ask, reply)
        if outcome is None:
            self._recorder.unknown(begun)
            return
        place = reply.place()
        epoch, seq = place if place is not None else (None, None)
        self._recorder.end(
            begun, outcome, epoch=epoch, seq=seq, return_ns=round(reply.answered_s * 1e9)
        )


def outcome_of(ask: Ask, reply: Reply) -> dict[str, Any] | None:
    """The outcome in the words of a history, None when it is unknown."""
    assert ask.recorded is not None
    operation = ask.recorded[0]
    if is_unknown(reply):
        return None
    members = reply.members()
    if reply.status == ask.wanted:
        return _done(operation, members)
    code = str(members.get("error", reply.status))
    if code == "reservation_conflict":
        return _conflict(_listed(members), more=bool(members.get("more")))
    if code in _REFUSALS:
        return {"kind": _REFUSALS[code]}
    if operation == "release" and reply.status in (403, 404):
        return {"kind": "not_found" if reply.status == 404 else "not_owner"}
    return {"kind": "refused", "code": code}


def is_unknown(reply: Reply) -> bool:
    """Whether nobody can tell if the call had an effect."""
    if reply.status <= 0:
        return True
    return reply.status >= 500 and (
        reply.status != 503 or reply.members().get("outcome") == "unknown"
    )


def _done(operation: str, members: dict[str, Any]) -> dict[str, Any]:
    if operation == "reserve":
        granted = {"kind": "granted", "reservation_id": members["id"]}
        return {**granted, **_token(members)}
    if operation == "renew":
        return {"kind": "renewed", **_token(members)}
    if operation == "release":
        return {"kind": "released"}
    if not members.get("conflicts"):
        return {"kind": "free"}
    return _conflict(_listed(members), more=bool(members.get("more")))


def _token(members: dict[str, Any]) -> dict[str, int]:
    """The fencing token of an answer, if it has one that a history can keep."""
    token = members.get("fencing_token")
    return {"fencing_token": token} if isinstance(token, int) and token > 0 else {}


def _listed(members: dict[str, Any]) -> list[dict[str, Any]]:
    """Who is in the way, as far as the answer says it in the words of the wire."""
    found = members.get("conflicts")
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def _conflict(found: list[dict[str, Any]], *, more: bool) -> dict[str, Any]:
    outcome: dict[str, Any] = {
        "kind": "conflict",
        "conflicts": [str(each["reservation_id"]) for each in found if each.get("reservation_id")],
    }
    waiting = [str(each["ticket_id"]) for each in found if each.get("ticket_id")]
    if waiting:
        outcome["waiting"] = waiting
    if more:
        outcome["more"] = True
    return outcome
