"""What the commands of one request may spend together on comparing patterns.

Every command has bounds of its own, see `limits`. The commands of one request are decided with
nothing else in between, so many of them must not cost as much as many requests do: they share what
one command may spend. It is counted and not measured, so a decision depends on the commands that
came with it and on no clock.
"""

from intermute.domain import limits
from intermute.globs import Work


class Allowance:
    """Hands out the work of commands, to each as if it were alone.

    Attributes:
        short: Whether others before the command have left it less than it may spend.
    """

    short: bool = False

    def to_read(self) -> Work:
        """To read patterns."""
        return Work(limits.PATTERN_READ_WORK_MAX)

    def to_find(self, most: int) -> Work:
        """For a command to find what it asks for, at most so much. A plan may spend more."""
        return Work(most)

    def to_finish(self, most: int) -> Work:
        """For what follows from what was found: to show it, or to take paths over."""
        return Work(most)

    def for_turns(self) -> Work:
        """To look whose turn has come."""
        return Work(limits.PATTERN_TURN_WORK_MAX)


class RequestAllowance(Allowance):
    """What one request may spend, over all of its commands. They are decided one after another,
    and each is done with the work that it was given before it is given some more."""

    def __init__(self) -> None:
        self._read = super().to_read()
        self._spent = 0
        self._given = 0
        self._last = Work(0)
        self._turns_spent = 0
        self._turns: list[Work] = []

    def begin(self) -> None:
        """The next command is decided from now on."""
        self.short = self._read_spent() > 0 or self._settle() > 0

    @property
    def spent(self) -> int:
        """What was spent until now, by the commands and on turns."""
        return self._read_spent() + self._settle() + self._settle_turns()

    @property
    def turns_are_over(self) -> bool:
        """Whether so much went into looking whose turn has come that the rest is left for later."""
        return self._settle_turns() >= limits.PATTERN_TURN_WORK_MAX

    def to_read(self) -> Work:
        return self._read

    def to_find(self, most: int) -> Work:
        # One command alone has all that it may spend, and enough to finish.
        left = max(most, limits.PATTERN_WORK_MAX) - self._settle()
        return self._give(min(most, left))

    def to_finish(self, most: int) -> Work:
        whole = (
            limits.PATTERN_WORK_MAX + limits.PATTERN_SHOW_WORK_MAX + limits.PATTERN_LAPSED_WORK_MAX
        )
        return self._give(min(most, whole - self._settle()))

    def for_turns(self) -> Work:
        work = super().for_turns()
        self._turns.append(work)
        return work

    def _give(self, most: int) -> Work:
        self._given = max(most, 0)
        self._last = Work(self._given)
        return self._last

    def _read_spent(self) -> int:
        return limits.PATTERN_READ_WORK_MAX - max(self._read.left, 0)

    def _settle(self) -> int:
        """Count what was spent of the work that was given last."""
        left = max(self._last.left, 0)
        self._spent += self._given - left
        self._given = left
        return self._spent

    def _settle_turns(self) -> int:
        if self._turns:
            each = limits.PATTERN_TURN_WORK_MAX
            self._turns_spent += sum(each - max(work.left, 0) for work in self._turns)
            self._turns.clear()
        return self._turns_spent
