"""How values are declared: commands, events, views and whatever else is made and never changed."""

from typing import TypeVar, dataclass_transform

import attrs

T = TypeVar("T")


@dataclass_transform(frozen_default=True, field_specifiers=(attrs.field,))
def value(cls: type[T]) -> type[T]:
    """An attrs class with slots whose instances are never changed.

    The type checker holds that, not the instance: a dozen values are made for each command, and
    an attrs class that freezes its instances takes three times as long to make one.
    """
    return attrs.define(cls)
