"""A call: one request for an operation, whichever way it came.

Operations read what they need from a call and say which command follows from it, so each of them
is written once for HTTP, for batches and for sockets. Every rule that all of them share is here.
"""

import hashlib
import secrets
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
import trio

from actors import ActorStopped, Overloaded
from intermute.domain import commands
from intermute.domain.commands import Command
from intermute.domain.identity import IDENTITY_MISMATCH, ends_token
from intermute.domain.projects import DEFAULT_PROJECT, INVALID_NAME, normalise_project
from intermute.domain.refusals import Code, Refusal
from intermute.domain.stamp import tag_of
from intermute.project.directory import Asked, Projects, Reader
from intermute.project.messages import Idempotency, StorageUnavailable
from intermute.web.access import Identified
from intermute.web.errors import Refused
from intermute.web.peers import PEER, Peer
from intermute.wire.bodies import idempotency_key

if TYPE_CHECKING:
    from intermute.globs import Work

T = TypeVar("T")
OPERATOR = "operator"
KEY_HEADER = "Idempotency-Key"


class Call(ABC):
    """Who asks, and with which words."""

    def __init__(self, projects: Projects, caller: Identified) -> None:
        self.projects = projects
        self.caller = caller
        # What may be spent on reading patterns here; calls that came together share it.
        self.reading: Work | None = None

    # -- The words --------------------------------------------------------------------------

    @abstractmethod
    def path(self, name: str) -> str:
        """A word that the operation cannot do without: in HTTP, a part of the path."""

    @abstractmethod
    def query(self, name: str) -> str | None:
        """A word that may be missing: in HTTP, of the query string, its first occurrence."""

    @abstractmethod
    def queries(self, name: str) -> list[str]:
        """A word that may stand more than once, in order."""

    @abstractmethod
    def members(self, *, optional: bool = False) -> dict[str, Any]:
        """The members of the body, those that are null left out.

        Raises:
            BadRequest: There is no JSON object, and it is not `optional`.
        """

    def all_members(self, *, optional: bool = False) -> dict[str, Any]:
        """The members of the body as they were sent: for changes, in which null empties a field.

        A kind of call that does not know of null has none.
        """
        return self.members(optional=optional)

    @property
    def agent_id(self) -> str | None:
        """The agent in whose name it is asked, where the command itself does not say."""
        return self.caller.agent_id

    @property
    def fencing_token(self) -> str | None:
        """The token that is shown beside the words, None when there is none."""
        return None

    @property
    @abstractmethod
    def idempotency_key(self) -> str | None:
        """The client's key for this request and its retries, None when it has none."""

    @abstractmethod
    def target(self) -> str:
        """What, beside the body, makes this the same request as another."""

    def identifying_members(self) -> dict[str, Any]:
        """The members that make this the same request as another."""
        return self.all_members(optional=True)

    @staticmethod
    def now_us() -> int:
        return time.time_ns() // 1000

    # -- Which project ----------------------------------------------------------------------

    def project(self, named: str | None) -> str:
        """The project a request acts in: the key's, or the named one, or its agent's, or `default`.

        Its agent is who it says that it is.
        """
        own = self.caller.project
        if named is None or not named.strip():
            return own or self._project_by_tag(self.agent_id) or DEFAULT_PROJECT
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

    def project_for(
        self, named: str | None, identifier: str, missing: Callable[[str], Refusal]
    ) -> str:
        """The project of an id that a client may have chosen itself, so it need not carry a tag.

        A named project, and a key's, must be the one whose tag the id carries, if it carries one;
        with neither, the tag decides.
        """
        tag = tag_of(identifier)
        unnamed = named is None or not named.strip()
        if tag is not None and unnamed and self.caller.project is None:
            return self.projects.name_of(tag) or DEFAULT_PROJECT
        project = self.project(named)
        if tag is not None and tag != self.projects.tag_of(project):
            raise Refused(missing(identifier))
        return project

    def project_of_agent(self, named: str | None, agent_id: str | None) -> str:
        """The project of what an agent has; the agent's id names it by itself, if need be."""
        if not (named or "").strip() and self.caller.project is None:
            found = self._project_by_tag(agent_id)
            if found is not None:
                return found
        return self.project(named)

    def _project_by_tag(self, agent_id: str | None) -> str | None:
        tag = None if agent_id is None else tag_of(agent_id)
        return None if tag is None else self.projects.name_of(tag)

    # -- Asking -----------------------------------------------------------------------------

    def asked(self, command: Command) -> Asked:
        """The command in the caller's name."""
        return Asked(command, self._acting(), self._idempotency(command))

    def also(self, command: Command) -> Asked:
        """A further command that the request brings about; the client's key is not for it."""
        return Asked(command, self._acting())

    def tell(self, project: str, command: Command) -> None:
        """Send a command in the caller's name and do not wait for what becomes of it.

        That it did not even arrive is not told either.
        """
        with suppress(ActorStopped, Overloaded, StorageUnavailable):
            self.projects.send(project, [self.also(command)])

    @property
    def may_wait(self) -> bool:
        """Whether its answer may come long after it was asked, and after those asked later."""
        return True

    @contextmanager
    def until_left(self) -> Iterator[None]:
        """A block that is cancelled once whoever asked has gone away.

        Here that ends the whole call, with everything that it does.
        """
        yield

    def has_left(self) -> bool:
        """Whether whoever asked is known to have gone, so that `until_left` is about to end."""
        return False

    def _acting(self) -> commands.Caller:
        caller = self.caller
        token = caller.agent_token
        return commands.Caller(
            agent_id=caller.agent_id,
            token_hash=None if token is None else hash_token(token),
            operator=caller.local or OPERATOR in caller.rights,
        )

    def _idempotency(self, command: Command) -> Idempotency | None:
        """The request under its key, told apart by whom it acts for."""
        key = idempotency_key(self.idempotency_key, KEY_HEADER) if command.changes else None
        if key is None:
            return None
        proof = (self.caller.agent_token or "") if ends_token(command) else ""
        members = msgspec.json.encode(self.identifying_members(), order="sorted")
        target = f"{self.target()}\n{proof}\n".encode("utf-8", "surrogateescape")
        return Idempotency(
            key=_digest(f"{command.acting or ''}\n{key}".encode("utf-8", "surrogateescape")),
            fingerprint=_digest(target + members),
        )

    # -- Looking ----------------------------------------------------------------------------

    def read(self, project: str, query: Callable[[Reader], T], *, empty: T) -> T:
        """The result of a query on the project's committed data."""
        self.verify_agent()
        return self.projects.read(project, query, empty=empty)

    def read_as(self, project: str, agent_id: str, query: Callable[[Reader], T], *, empty: T) -> T:
        """The result of a query on what is for the eyes of one agent.

        Whoever says that it is another agent is refused, and so is whoever lacks the token of an
        agent that is held to its token.
        """
        refusal = self.projects.refuse_reader(project, self._acting(), agent_id)
        if refusal is not None:
            raise Refused(refusal)
        return self.projects.read(project, query, empty=empty)

    def look(self, project: str, query: Callable[[Reader], T], *, empty: T) -> T:
        """The result of a query whose answer shows some agents more than others.

        Whoever says which agent it is must be it, because that is what it will be shown as.
        """
        self.verify_viewer(project)
        return self.projects.read(project, query, empty=empty)

    def verify_viewer(self, project: str) -> None:
        """Whoever says which agent it is must be it, where it is shown more than others."""
        if self.agent_id is None:
            self.verify_agent()
            return
        refusal = self.projects.refuse_reader(project, self._acting(), self.agent_id)
        if refusal is not None:
            raise Refused(refusal)

    def verify_agent(self) -> None:
        """A token, once presented, must be right, also where it is not needed."""
        caller = self.caller
        if caller.agent_token is None or caller.agent_id is None:
            return
        project = self.project_of(caller.agent_id, lambda _: IDENTITY_MISMATCH)
        refusal = self.projects.refuse_reader(project, self._acting(), None)
        if refusal is not None:
            raise Refused(refusal)


class HttpCall(Call):
    """A call that came as an HTTP request of its own."""

    def __init__(
        self,
        projects: Projects,
        caller: Identified,
        *,
        path: Mapping[str, str],
        request: Any,
        members: Callable[[bool, bool], dict[str, Any]],
    ) -> None:
        super().__init__(projects, caller)
        self._path = path
        self._request = request
        self._members = members

    def path(self, name: str) -> str:
        return self._path[name]

    def query(self, name: str) -> str | None:
        args = self._request.args
        # Nearly none of them is there, and a name that is not costs more to get than to look for.
        return str(args[name]) if name in args else None

    def queries(self, name: str) -> list[str]:
        return list(self._request.args.getlist(name))

    def members(self, *, optional: bool = False) -> dict[str, Any]:
        return self._members(optional, False)

    def all_members(self, *, optional: bool = False) -> dict[str, Any]:
        return self._members(optional, True)

    @property
    def fencing_token(self) -> str | None:
        return self._header("Intermute-Fencing-Token")

    @property
    def idempotency_key(self) -> str | None:
        return self._header(KEY_HEADER)

    def _header(self, name: str) -> str | None:
        # Few requests have one, and asking the parsed headers costs more than looking.
        sought = name.lower().encode()
        if not any(known == sought for known, _ in self._request.scope["headers"]):
            return None
        return str(self._request.headers[name])

    @property
    def _peer(self) -> Peer | None:
        found = self._request.scope.get("state", {}).get(PEER)
        assert found is None or isinstance(found, Peer)
        return found

    @contextmanager
    def until_left(self) -> Iterator[None]:
        peer = self._peer
        if peer is None:
            yield
            return
        with trio.CancelScope() as scope, peer.watched(scope.cancel):
            yield

    def has_left(self) -> bool:
        return self._peer is not None and self._peer.has_left()

    def target(self) -> str:
        query = self._request.query_string.decode("latin-1")
        return f"{self._request.method} {self._request.path}?{query}"


def make_token(tag: str) -> str:
    """A new agent token, 256 random bits. It names its project's tag, like every id."""
    return f"imt_{tag}_{secrets.token_urlsafe(32)}"


def hash_token(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=16).digest()
