"""How values are declared: commands, events, views and whatever else is made and never changed."""

from typing import dataclass_transform

from msgspec import Struct, field


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
class Value(Struct, frozen=True, gc=False):
    """A value: its annotated members, which are set once.

    A struct, because a dozen are made for each command, and an attrs class takes twice as long to
    make one even when nothing keeps its instances from being changed. The collector of garbage does
    not look at values: none refers to something that refers back to it.
    """
