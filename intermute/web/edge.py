"""The edge: from a request to a caller, a project and a command, and back to an answer.

Every rule that all routes share is here, so that a route can only be as wrong as its own noun.
"""

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable
from typing import Any, TypeVar, cast

import msgspec
import trio
from quart import Request, Response, request

from intermute.domain import commands
from intermute.domain.commands import Command
from intermute.domain.decision import Accepted
from intermute.domain.identity import IDENTITY_MISMATCH
from intermute.domain.limits import IDEMPOTENCY_KEY_LEN_MAX
from intermute.domain.projects import DEFAULT_PROJECT, INVALID_NAME, normalise_project
from intermute.domain.refusals import Code, Refusal
from intermute.domain.stamp import tag_of
from intermute.project.directory import Projects, Reader
from intermute.project.messages import Idempotency, Told
from intermute.web.access import Caller, Denied, Proxies, identify, is_local
from intermute.web.errors import CallerDenied, Refused, refusal_response
from intermute.web.guard import BODY, Scope
from intermute.web.keys import KeyStore
from intermute.wire.bodies import BadRequest, read_members

T = TypeVar("T")
JSON = "application/json"
OPERATOR = "operator"
CALLER = "intermute.caller"


class Edge:
    """What routes are made of. One for each app."""

    def __init__(self, projects: Projects, keys: KeyStore, proxies: Proxies) -> None:
        self.projects = projects
        self._keys = keys
        self._proxies = proxies

    async def identify(self) -> None:
        """Find out who is calling; the API's blueprints run it before each request."""
        scope = self.scope
        keyring = self._keys.current(trio.current_time())
        found = identify(scope, keyring, self._proxies, now_s=time.time())
        if isinstance(found, Denied):
            raise CallerDenied(found)
        scope[CALLER] = found

    def is_local(self) -> bool:
        """Whether the request comes from this machine, whoever makes it."""
        return is_local(self.scope, self._proxies)

    @property
    def caller(self) -> Caller:
        found = self.scope[CALLER]
        assert isinstance(found, Caller)
        return found

    @property
    def scope(self) -> Scope:
        """The request's ASGI scope; reaching it once is cheaper than through Quart's proxies."""
        return cast(Scope, self.request.scope)

    @property
    def request(self) -> Request:
        return request._get_current_object()  # type: ignore[attr-defined,no-any-return]

    @staticmethod
    def now_us() -> int:
        return time.time_ns() // 1000

    def members(self, *, optional: bool = False) -> dict[str, Any]:
        """The members of the request's JSON object."""
        body = self.scope.get(BODY, b"")
        assert isinstance(body, bytes)
        return read_members(body, optional=optional)

    # -- Which project ----------------------------------------------------------------------

    def project(self, named: str | None) -> str:
        """The project a request acts in: the key's, or the named one, or the default one."""
        own = self.caller.project
        if named is None or not named.strip():
            return own or DEFAULT_PROJECT
        project = normalise_project(named)
        if project is None:
            raise Refused(Refusal(Code.INVALID_PROJECT, INVALID_NAME))
        if own is not None and project != own:
            raise Refused(
                Refusal(Code.PROJECT_MISMATCH, "the key presented belongs to another project")
            )
        return project

    def project_of(self, identifier: str, missing: Callable[[str], Refusal]) -> str:
        """The project whose tag an id carries. An id of another project is as if it were none."""
        tag = tag_of(identifier)
        own = self.caller.project
        if tag is None or (own is not None and tag != self.projects.tag_of(own)):
            raise Refused(missing(identifier))
        found = own if own is not None else self.projects.name_of(tag)
        if found is None:
            raise Refused(missing(identifier))
        return found

    # -- Asking -----------------------------------------------------------------------------

    async def ask(self, project: str, command: Command) -> Told:
        """Have the project decide the command in the caller's name."""
        caller = self.caller
        token = caller.agent_token
        return await self.projects.ask(
            project,
            command,
            commands.Caller(
                agent_id=caller.agent_id,
                token_hash=None if token is None else hash_token(token),
                operator=caller.local or OPERATOR in caller.rights,
            ),
            self._idempotency(command),
        )

    def _idempotency(self, command: Command) -> Idempotency | None:
        """The request under its `Idempotency-Key`, told apart by whom it acts for."""
        if not command.changes:
            return None
        # Few requests have one, and asking the parsed headers costs more than looking.
        if not any(name == b"idempotency-key" for name, _ in self.scope["headers"]):
            return None
        header = request.headers["Idempotency-Key"]
        if not 0 < len(header) <= IDEMPOTENCY_KEY_LEN_MAX:
            raise BadRequest(f"Idempotency-Key has 1 to {IDEMPOTENCY_KEY_LEN_MAX} characters")
        members = self.members(optional=True)
        proof = ""
        if isinstance(command, commands.RegisterAgent):
            # A registration may end the token it was made with, so a retry cannot prove it again.
            proof = self.caller.agent_token or ""
        target = (
            f"{request.method} {request.path}?{request.query_string.decode('latin-1')}\n{proof}\n"
        )
        return Idempotency(
            key=_digest(f"{command.acting or ''}\n{header}".encode("utf-8", "surrogateescape")),
            fingerprint=_digest(
                target.encode("utf-8", "surrogateescape")
                + msgspec.json.encode(members, order="sorted")
            ),
        )

    def answer(
        self, told: Told, render: Callable[[Any], dict[str, Any]], *, status: int = 200
    ) -> Response:
        """A decision as an answer, with its place in the project's order."""
        decision = told.decision
        if isinstance(decision, Accepted):
            response = json_response(render(decision.answer), status=status)
        else:
            response = refusal_response(decision)
        response.headers["Intermute-Epoch"] = str(told.epoch)
        response.headers["Intermute-Seq"] = str(told.seq)
        if told.replayed:
            response.headers["Idempotency-Replayed"] = "true"
        return response

    # -- Looking ----------------------------------------------------------------------------

    def read(self, project: str, query: Callable[[Reader], T], *, empty: T) -> T:
        """The result of a query on the project's committed data."""
        self.verify_agent()
        return self.projects.read(project, query, empty=empty)

    def verify_agent(self) -> None:
        """A token, once presented, must be right, also where it is not needed."""
        caller = self.caller
        if caller.agent_token is None or caller.agent_id is None:
            return
        agent_id = caller.agent_id
        known: bytes | None = None
        tag = tag_of(agent_id)
        own = caller.project
        if tag is not None and (own is None or tag == self.projects.tag_of(own)):
            project = own or self.projects.name_of(tag)
            if project is not None:
                known = self.projects.read(
                    project, lambda reader: reader.token_hash(agent_id), empty=None
                )
        right = hmac.compare_digest(known or bytes(32), hash_token(caller.agent_token))
        if known is None or not right:
            raise Refused(IDENTITY_MISMATCH)


def json_response(members: dict[str, Any], *, status: int = 200) -> Response:
    """A JSON object as an answer."""
    return Response(msgspec.json.encode(members), status, content_type=JSON)


def make_token(tag: str) -> str:
    """A new agent token, 256 random bits. It names its project's tag, like every id."""
    return f"imt_{tag}_{secrets.token_urlsafe(32)}"


def hash_token(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=16).digest()
