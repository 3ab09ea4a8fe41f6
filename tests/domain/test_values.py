"""Values are made once and never changed."""

import gc

import pytest

from intermute.domain.commands import Caller
from intermute.domain.stamp import Stamp


def test_a_value_does_not_change():
    caller = Caller(agent_id="ada")
    with pytest.raises(AttributeError):
        caller.agent_id = "boris"
    assert caller == Caller("ada") != Caller("boris")


def test_the_collector_of_garbage_does_not_look_at_values():
    assert not gc.is_tracked(Stamp(at_us=1, mono_us=2, entropy=3))
    assert not gc.is_tracked(Caller())
