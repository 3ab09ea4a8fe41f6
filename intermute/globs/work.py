"""Work that is counted, so that what a search may cost has a bound that no clock has a say in.

What is counted is what would be done if nothing were remembered from before: automata are kept
once they are made, and who made them first must make no difference to a decision. The unit is a
nanosecond of a plain machine, on the high side.
"""

from typing import Final

# A node of the tree and an edge of it that is looked at, both also for each 1,024 states; a key
# that is found.
NODE: Final = 1_000
NODE_STATES: Final = 500
EDGE: Final = 600
EDGE_STATES: Final = 400
KEY: Final = 600
# To make an automaton, for each character of its text.
COMPILE_CHAR: Final = 14_000
# To put one beside others, for each state and for each way by a jump, and to find out what a set
# of states may read next, for each state.
UNITE_STATE: Final = 1_000
UNITE_WAY: Final = 400
LOOK_STATE: Final = 400
# One step of an automaton, for each class that its pattern has and for each 1,024 states; and one
# of the ways that are looked at in it, also for each 1,024 states.
STEP: Final = 1_000
STEP_CLASS: Final = 250
STEP_STATES: Final = 200
WAY: Final = 100
WAY_STATES: Final = 65
# To begin a walk, and to begin a search for a path.
WALK: Final = 6_000
PATH: Final = 1_500


class TooMuchWork(Exception):
    """The patterns would take longer to compare than anybody may ask for."""


class Work:
    """An amount of work that must not be exceeded.

    Attributes:
        left: What is left of it; negative once it was exceeded.
    """

    __slots__ = ("_begun", "left")

    def __init__(self, left: int) -> None:
        self.left = left
        self._begun: set[str] = set()

    def spend(self, cost: int) -> None:
        """Raises TooMuchWork when there is not as much left."""
        self.left -= cost
        if self.left < 0:
            raise TooMuchWork

    def spend_once(self, what: str, cost: int) -> None:
        """Spend what something costs the first time only.

        Raises:
            TooMuchWork: There is not as much left.
        """
        if what not in self._begun:
            self._begun.add(what)
            self.spend(cost)
