"""Who has opened a stream, looked at again now and then: keys end, and tokens are replaced."""

from collections.abc import Callable

import trio

from intermute.domain.limits import CALLER_BELIEVED_MS
from intermute.web.access import Identified
from intermute.web.errors import CallerDenied, Refused


class Trust:
    """What a caller showed when it opened a stream, and whether that is still worth anything.

    Args:
        look_again: Identifies the caller anew; raises CallerDenied or Refused.
    """

    def __init__(self, caller: Identified, look_again: Callable[[], Identified]) -> None:
        self.caller = caller
        self._look_again = look_again
        self._until_s = trio.current_time() + CALLER_BELIEVED_MS / 1000

    def holds(self) -> bool:
        """Whether the caller still may. Asked before anything is told or done."""
        now_s = trio.current_time()
        if now_s < self._until_s:
            return True
        try:
            self.caller = self._look_again()
        except (CallerDenied, Refused):
            return False
        self._until_s = now_s + CALLER_BELIEVED_MS / 1000
        return True
