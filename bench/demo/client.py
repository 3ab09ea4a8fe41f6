"""An agent's side of the HTTP interface."""

import time
import uuid
from collections.abc import Sequence
from typing import Any

import attrs
import httpx

from bench.demo.failure import DemoError

TRIES_MAX = 5
LEASE_S = 120
_TIMEOUT_S = 10.0


@attrs.frozen
class Grant:
    """A reservation that was given."""

    reservation: str
    patterns: tuple[str, ...]
    exclusive: bool


@attrs.frozen
class Refusal:
    """A reservation that was not given, and whose reservations stood in the way."""

    conflicts: list[dict[str, Any]]
    detail: str


class Client:
    """Speaks for one agent. Every method raises DemoError when the server says what it must not."""

    def __init__(self, url: str, *, project: str) -> None:
        # Proxies of the environment have no business between two processes of one machine.
        self._http = httpx.Client(base_url=url, timeout=_TIMEOUT_S, trust_env=False)
        self._project = project
        self.agent = ""

    def close(self) -> None:
        self._http.close()

    def register(self, name: str) -> str:
        """Become an agent; from here on every request carries its id and token."""
        answer = self._send("POST", "/api/agents", {"name": name, "project": self._project})
        _expect(answer, 200)
        members = answer.json()
        self.agent = members["agent_id"]
        self._http.headers["X-Agent-ID"] = self.agent
        self._http.headers["X-Agent-Token"] = members["token"]
        return self.agent

    def heartbeat(self, focus: str) -> None:
        path = f"/api/agents/{self.agent}/heartbeat"
        _expect(self._send("POST", path, {"focus_state": focus}), 200)

    def reserve(self, patterns: Sequence[str], *, exclusive: bool, reason: str) -> Grant | Refusal:
        """Ask for all of the patterns at once."""
        body: dict[str, Any] = {
            "agent_id": self.agent,
            "project": self._project,
            "exclusive": exclusive,
            "reason": reason,
            "ttl_seconds": LEASE_S,
        }
        if len(patterns) == 1:
            body["path_pattern"] = patterns[0]
        else:
            body["patterns"] = list(patterns)
        answer = self._send("POST", "/api/reservations", body)
        members = answer.json()
        if answer.status_code == 409 and members["error"] == "reservation_conflict":
            return Refusal(members["conflicts"], members["detail"])
        _expect(answer, 201)
        return Grant(members["id"], tuple(members["patterns"]), members["exclusive"])

    def renew(self, reservation: str) -> None:
        _expect(self._send("POST", f"/api/reservations/{reservation}/renew", {}), 200)

    def release(self, reservation: str) -> None:
        _expect(self._send("DELETE", f"/api/reservations/{reservation}"), 200)

    def retire(self) -> None:
        """Leave for good. The token ends with it."""
        _expect(self._send("DELETE", f"/api/agents/{self.agent}"), 200)

    def _send(self, method: str, path: str, body: dict[str, Any] | None = None) -> httpx.Response:
        """Ask, and ask again under the same key when it is not known whether it was heard."""
        headers = {"Idempotency-Key": str(uuid.uuid4())}
        trouble = ""
        for tries in range(TRIES_MAX):
            if tries:
                time.sleep(min(0.05 * 2**tries, 1.0))
            try:
                answer = self._http.request(method, path, json=body, headers=headers)
            except httpx.TransportError as error:
                trouble = f"{type(error).__name__}: {error}"
                continue
            if answer.status_code != 503:
                return answer
            trouble = answer.text[:300]
        raise DemoError(f"{method} {path} failed {TRIES_MAX} times: {trouble}")


def _expect(answer: httpx.Response, status: int) -> None:
    if answer.status_code != status:
        request = answer.request
        raise DemoError(
            f"{request.method} {request.url.path} answered {answer.status_code}: "
            f"{answer.text[:300]}"
        )
