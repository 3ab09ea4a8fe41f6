"""The two ways in which the runtime itself turns a request away.

`Overloaded` is raised before anything was queued: the request was certainly not handled.
`ActorStopped` may come later: the request was not handled, or nobody can tell whether it was.
Everything else that an asker sees raised was put into its reply by the behaviour.
"""

__all__ = ["OVERLOADED_RETRY_AFTER_S", "ActorStopped", "Overloaded"]

OVERLOADED_RETRY_AFTER_S = 1.0
"""How long an overloaded asker is told to stay away; long enough to drain a full mailbox."""


class Overloaded(Exception):
    """A bound was reached and the request was refused at once; nothing of it was queued."""

    reason: str
    """Which bound it was, as a sentence fragment."""

    retry_after_s: float
    """Seconds after which asking again is sensible."""

    def __init__(self, reason: str, retry_after_s: float = OVERLOADED_RETRY_AFTER_S) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_after_s = retry_after_s


class ActorStopped(Exception):
    """The actor ended, failed or never started; the request may or may not have been handled.

    The error that made it so, where there is one, is chained as `__cause__`.
    """

    reason: str
    """Why, as a sentence fragment; the text of the original error where there is one."""

    retry_after_s: float | None
    """Seconds after which asking again is sensible, or None when that is unknown."""

    def __init__(self, reason: str, retry_after_s: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_after_s = retry_after_s
