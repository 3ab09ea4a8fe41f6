"""What the proof looks at: plain values, gathered from the log, from Git and from the agents."""

import attrs

from intermute.domain.events import Event


@attrs.frozen
class Commit:
    """One commit of the demo, in the order of the history.

    Attributes:
        touched: The paths that differ from the commit's parent.
        agent, reservation, path, edit: What its trailers say, "" where there is not exactly one.
    """

    sha: str
    touched: tuple[str, ...]
    agent: str
    reservation: str
    path: str
    edit: str


@attrs.frozen
class Edit:
    """What an agent wrote down around one edit, commit included.

    Attributes:
        started_us: Wall clock before it read the file, microseconds.
        finished_us: Wall clock after `git commit` had returned.
    """

    edit: str
    agent: str
    reservation: str
    path: str
    started_us: int
    finished_us: int


@attrs.frozen
class Hold:
    """Somebody held patterns from `start` until `end`, on a clock that all holds share.

    The clock is either the log's cursor or the machine's monotonic one. `end` None is open.
    """

    agent: str
    reservation: str
    patterns: tuple[str, ...]
    exclusive: bool
    start: int
    end: int | None


@attrs.frozen
class Conflict:
    """A request was refused because of `reservation`, which somebody else (`holder`) had."""

    agent: str
    exclusive: bool
    asked_us: int
    answered_us: int
    reservation: str
    holder: str
    witness: str


@attrs.frozen
class Evidence:
    """Everything there is to look at after a run.

    Attributes:
        files: The tracked files.
        events: The project's log in cursor order.
        commits: What was committed since the clone, oldest first.
        edits: From the agents' journals.
        own_holds: The times in which agents believed to hold something: from a grant's answer
            to just before the release, on the machine's monotonic clock.
        conflicts: One for each reservation that a refusal named.
        kept: Edits whose line stands in its file at the end.
    """

    files: tuple[str, ...]
    events: tuple[Event, ...]
    commits: tuple[Commit, ...]
    edits: tuple[Edit, ...]
    own_holds: tuple[Hold, ...]
    conflicts: tuple[Conflict, ...]
    kept: frozenset[str]
