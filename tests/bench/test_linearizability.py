"""The checker on histories written by hand: each kind of violation, and what looks like one."""

import attrs
import pytest

from bench.linearizability.checker import check
from bench.linearizability.history import MalformedHistoryError
from bench.linearizability.patterns import PlainPaths
from bench.linearizability.search import Verdict

from .linearizability_known import BAD, FREE, GOOD, KINDS
from .recorded import (
    S,
    call,
    conflict,
    granted,
    history,
    listed,
    release,
    reserve,
)
from .recorded import check as look


def verdict(*calls, **options):
    return check(history(*calls), **options).searched.verdict


def test_there_are_histories_of_each_kind_of_violation():
    named = [name for names in KINDS.values() for name in names]
    assert sorted(named) == sorted(BAD)


@pytest.mark.parametrize("name", GOOD)
@pytest.mark.parametrize("whole", [False, True])
def test_what_one_at_a_time_could_have_answered_has_an_order(name, whole):
    assert verdict(*GOOD[name], whole=whole) is Verdict.LINEARIZABLE


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("whole", [False, True])
def test_what_it_could_not_have_answered_has_none(name, whole):
    found = check(history(*BAD[name]), whole=whole)
    assert found.verdict is Verdict.VIOLATION
    # The witness would find some of them as well: here it is the search that has to.
    assert found.searched.verdict is Verdict.VIOLATION
    example, disorder = found.searched.counterexample, found.searched.disorder
    if example is None:
        assert disorder is not None
        assert disorder.first in BAD[name]
        assert disorder.second in BAD[name]
    else:
        assert example.stuck.blocked in example.part.ops
        assert all(one in BAD[name] for one in example.calls)
        assert verdict(*example.alone, whole=True) is Verdict.VIOLATION


# -- The witness


def placed(*calls):
    """The calls, each with its place as it stands here."""
    return history(*(attrs.evolve(one, epoch=1, seq=seq) for seq, one in enumerate(calls, 1)))


def test_answers_that_say_the_right_order_are_right():
    found = check(
        placed(
            reserve("b", 5, 8, "src", granted("r1", 1)),
            reserve("a", 0, 9, "src", conflict("r1")),
            release("b", 10, 11, "r1"),
        )
    )
    assert found.witnessed.verdict is Verdict.LINEARIZABLE
    assert (found.witnessed.placed, found.witnessed.unplaced) == (3, 0)


def test_an_order_against_real_time_is_a_violation_though_another_order_fits():
    first = reserve("a", 0, 1, "src", granted("r1", 1))
    second = reserve("b", 2, 3, "doc", granted("r2", 2))
    found = check(placed(second, first))
    assert found.searched.verdict is Verdict.LINEARIZABLE
    assert found.verdict is Verdict.VIOLATION
    disorder = found.witnessed.disorder
    assert (disorder.first.client, disorder.second.client) == ("b", "a")
    assert disorder.why == "the first began after the second was over"


def test_an_order_that_the_model_does_not_allow_is_a_violation():
    found = check(
        placed(
            reserve("a", 0, 9, "src", conflict("r1")),
            reserve("b", 5, 8, "src", granted("r1", 1)),
        )
    )
    assert found.searched.verdict is Verdict.LINEARIZABLE
    assert found.witnessed.verdict is Verdict.VIOLATION
    assert found.witnessed.stuck.blocked.call.client == "a"


def test_tokens_that_do_not_follow_the_order_are_a_violation():
    found = check(
        placed(
            reserve("a", 0, 9, "src", granted("r1", 2)),
            reserve("b", 0, 9, "doc", granted("r2", 1)),
        )
    )
    assert found.witnessed.verdict is Verdict.VIOLATION
    assert found.witnessed.disorder.why == "token 2 is followed by 1"


def test_two_answers_with_the_same_place_are_a_violation():
    calls = [reserve("a", 0, 9, "a", granted("r1", 1)), reserve("b", 0, 9, "b", granted("r2", 2))]
    found = check(history(*(attrs.evolve(one, epoch=1, seq=4) for one in calls)))
    assert found.witnessed.disorder.why == "both say that they are number 4"


def test_a_later_epoch_comes_later():
    first = attrs.evolve(reserve("a", 0, 1, "a", granted("r1", 1)), epoch=1, seq=90)
    second = attrs.evolve(reserve("b", 2, 3, "b", granted("r2", 2)), epoch=2, seq=1)
    assert check(history(first, second)).witnessed.verdict is Verdict.LINEARIZABLE
    swapped = attrs.evolve(first, epoch=3), second
    assert check(history(*swapped)).witnessed.verdict is Verdict.VIOLATION


def test_a_call_without_an_answer_is_put_where_it_is_needed():
    answered = placed(
        look("b", 20, 30, "src", FREE),
        look("b", 40, 50, "src", conflict("r1")),
        release("a", 60, 70, "r1", client="a2"),
    ).calls
    lost = reserve("a", 0, None, "src", None)
    assert check(history(lost, *answered)).witnessed.verdict is Verdict.LINEARIZABLE
    late = reserve("a", 55, None, "src", None)
    assert check(history(late, *answered)).witnessed.verdict is Verdict.VIOLATION


def test_without_a_place_for_every_change_the_witness_says_nothing():
    one = attrs.evolve(reserve("a", 0, 1, "a", granted("r1", 1)), epoch=1, seq=1)
    found = check(history(one, reserve("b", 2, 3, "b", granted("r2", 2))))
    assert found.witnessed.verdict is Verdict.UNKNOWN
    assert found.verdict is Verdict.LINEARIZABLE


# -- Parts, limits, languages


def test_a_history_is_split_where_nothing_meets():
    calls = [reserve(f"a{n}", 0, 9, f"d{n}/a d{n}/b", granted(f"r{n}", n + 1)) for n in range(9)]
    over_two = reserve("b", 20, 30, "d0/** d1/a", conflict("r0", "r1"))
    found = check(history(*calls, over_two, listed("c", 40, 50, *(f"r{n}" for n in range(9)))))
    assert found.verdict is Verdict.LINEARIZABLE
    # With its share of the list, each of the others is a part of its own.
    assert (found.searched.parts, found.searched.largest) == (8, 4)


def test_time_and_memory_that_are_over_give_no_verdict():
    many = [reserve(f"a{n}", 0, 99, "src", granted(f"r{n}"), mode=S) for n in range(40)]
    many.append(look("z", 0, 99, "src", conflict("nobody's")))
    several = check(history(*many), remembered_max=500)
    assert several.verdict is Verdict.UNKNOWN
    assert "configurations" in several.searched.why
    late = check(history(*many), time_limit_s=1e-9)
    assert late.verdict is Verdict.UNKNOWN
    assert late.searched.why == "time is over"


def test_a_long_history_needs_no_deep_stack():
    calls = []
    for n in range(3_000):
        begin = 4 * n
        calls.append(reserve("a", begin, begin + 1, "src", granted(f"r{n}", n + 1)))
        calls.append(release("a", begin + 2, begin + 3, f"r{n}"))
    assert verdict(*calls) is Verdict.LINEARIZABLE


def test_plain_paths_are_told_without_the_product():
    language = PlainPaths()
    bad = (
        reserve("a", 0, 1, "src", granted("r1", 1)),
        reserve("b", 2, 3, "src/deep/a.py", granted("r2", 2)),
    )
    assert verdict(*bad, language=language) is Verdict.VIOLATION
    good = (bad[0], reserve("b", 2, 3, "src2/a.py", granted("r2", 2)))
    assert verdict(*good, language=language) is Verdict.LINEARIZABLE
    with pytest.raises(MalformedHistoryError, match="no plain path"):
        verdict(reserve("a", 0, 1, "src/*", granted("r1", 1)), language=language)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (call("c", 0, 1, "release", {"agent": "a"}, {"kind": "released"}), "'reservation_id' is"),
        (call("c", 0, 1, "check", {"patterns": "a", "mode": S}, FREE), "is a list of texts"),
        (call("c", 0, 1, "check", {"patterns": [], "mode": S}, FREE), "at least one pattern"),
        (call("c", 0, 1, "check", {"patterns": ["["], "mode": S}, FREE), "never closed"),
        (call("c", 0, 1, "check", {"patterns": ["a"], "mode": "Z"}, FREE), "no such mode: 'Z'"),
        (call("c", 0, 1, "check", {"patterns": ["a"], "mode": S}, {"kind": "granted"}), "granted"),
        (reserve("c", 0, 1, "a", {"kind": "granted"}), "'reservation_id' is missing"),
        (reserve("c", 0, 1, "a", granted("r1", "1")), "`fencing_token` is a whole number"),
        (reserve("c", 0, 1, "a", granted("r1", 0)), "is a whole number from 1 on"),
        (reserve("c", 0, 1, "a", granted("r1"), ttl_ms=1e300), "`ttl_ms` is a number, 0 to"),
        (reserve("c", 0, 1, "a", granted("r1"), key=["k"]), "`key` is a text"),
        (reserve("c", 0, 1, "a", granted("r1", 1), ttl_ms="1"), "`ttl_ms` is a number"),
        (reserve(None, 0, 1, "a", granted("r1", 1), client="c"), "'agent' is missing"),
    ],
)
def test_what_is_no_call_of_the_model_is_refused(wrong, said):
    with pytest.raises(MalformedHistoryError, match=said):
        check(history(wrong))


def test_calls_outside_of_the_model_are_counted_and_left_out():
    other = call("c", 0, 1, "send", {"to": "b"}, {"kind": "sent"})
    found = check(history(other, *GOOD["one after the other"]))
    assert found.verdict is Verdict.LINEARIZABLE
    assert found.left_out == {"send": 1}
    assert found.calls == 4
