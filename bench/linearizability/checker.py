"""The whole check of a history: by search, by witness where there is one, and what was found."""

import time
from collections import Counter
from typing import Final

import attrs

from bench.linearizability.counterexample import Counterexample, smallest
from bench.linearizability.history import History
from bench.linearizability.model import Model
from bench.linearizability.op import Op
from bench.linearizability.operations import Part, Prepared, out_of_token_order, prepare
from bench.linearizability.patterns import Globs, Language
from bench.linearizability.search import (
    REMEMBERED_MAX,
    Found,
    RealTime,
    Search,
    Verdict,
)
from bench.linearizability.witness import Disorder, Witnessed, check_witness

TIME_LIMIT_S: Final = 60.0


@attrs.frozen
class Searched:
    """What came of the search.

    Attributes:
        parts: In how many parts the history was looked at.
        largest: How many calls the largest had.
        tried: How many configurations were looked at.
        counterexample: What cannot have happened, made small.
        disorder: Two grants whose tokens contradict real time.
        why: Why nothing is known, if that is the verdict.
    """

    verdict: Verdict
    parts: int = 0
    largest: int = 0
    tried: int = 0
    counterexample: Counterexample | None = None
    disorder: Disorder | None = None
    why: str = ""


@attrs.frozen
class Checked:
    """What came of a check.

    Attributes:
        calls: How many calls were checked.
        unanswered: How many of them had no answer.
        left_out: How many calls of each operation are not in the model.
        witnessed: None where no answer says where it stands.
    """

    calls: int
    unanswered: int
    left_out: Counter[str]
    searched: Searched
    witnessed: Witnessed | None

    @property
    def verdict(self) -> Verdict:
        """A violation if either way found one; else what is known. An order is a proof, whoever
        names it, if it has every call in it."""
        found = {self.searched.verdict}
        if self.witnessed is not None and (
            self.witnessed.verdict is Verdict.VIOLATION or not self.witnessed.unplaced
        ):
            found.add(self.witnessed.verdict)
        for verdict in (Verdict.VIOLATION, Verdict.LINEARIZABLE):
            if verdict in found:
                return verdict
        return Verdict.UNKNOWN


def language_of(history: History) -> Language:
    """The product's patterns, under the case rule that the history was recorded with."""
    return Globs(case_sensitive=history.header.settings.get("case_sensitive", True) is not False)


def check(
    history: History,
    *,
    language: Language | None = None,
    time_limit_s: float = TIME_LIMIT_S,
    remembered_max: int = REMEMBERED_MAX,
    whole: bool = False,
) -> Checked:
    """Check whether a server that takes one call at a time could have given these answers.

    Args:
        language: What patterns mean; the product's pattern language unless given.
        time_limit_s: How long the search, the witness and the making of a counterexample small may
            take, each.
        remembered_max: How many configurations the search of a part may remember.
        whole: Check each project in one piece; see `operations` for what that finds more.

    Raises:
        MalformedHistoryError: Arguments or outcomes are not those of the format.
    """
    prepared = prepare(history.calls, language or language_of(history))
    parts = prepared.parts()
    searched = search(
        prepared,
        prepared.whole() if whole else parts,
        time_limit_s=time_limit_s,
        remembered_max=remembered_max,
    )
    witnessed = None
    if any(call.epoch is not None for call in history.calls):
        until_s = time.monotonic() + time_limit_s
        witnessed = check_witness(history.calls, parts, until_s=until_s)
    left_out = prepared.left_out
    return Checked(
        calls=len(history.calls) - left_out.total(),
        unanswered=sum(call.outcome is None for call in history.calls),
        left_out=left_out,
        searched=searched,
        witnessed=witnessed,
    )


def search(
    prepared: Prepared, parts: list[Part], *, time_limit_s: float, remembered_max: int
) -> Searched:
    """Look for an order of each part, until one has none."""
    until_s = time.monotonic() + time_limit_s
    largest = max((len(part.ops) for part in parts), default=0)
    for ops, _ in prepared.projects.values():
        pair = out_of_token_order(ops)
        if pair is not None:
            return Searched(Verdict.VIOLATION, len(parts), largest, disorder=_disorder(*pair))
    tried, why = 0, ""
    for part in parts:
        found = search_part(part, until_s=until_s, remembered_max=remembered_max)
        tried += found.tried
        if found.verdict is Verdict.VIOLATION:
            example = smallest(part, found, search_part, until_s=time.monotonic() + time_limit_s)
            return Searched(Verdict.VIOLATION, len(parts), largest, tried, counterexample=example)
        if found.verdict is Verdict.UNKNOWN:
            why = why or found.why
    verdict = Verdict.UNKNOWN if why else Verdict.LINEARIZABLE
    return Searched(verdict, len(parts), largest, tried, why=why)


def search_part(part: Part, *, until_s: float, remembered_max: int) -> Found:
    """Look for an order of the calls of one part."""
    model = Model(part.terms, part.ops)
    return Search(model, RealTime(part.ops), until_s=until_s, remembered_max=remembered_max).run()


def _disorder(first: Op, second: Op) -> Disorder:
    if first.token == second.token or first.lease == second.lease:
        why = f"{first.lease} has token {first.token}, and {second.lease} has token {second.token}"
    else:
        why = "the second began after the first was over, and its token is not higher"
    return Disorder(first.call, second.call, why)
