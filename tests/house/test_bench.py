"""Every benchmark works and says something sane; how fast anything is, is not looked at here."""

import json
import math
from itertools import combinations

import pytest

from bench import load, path_race
from bench.__main__ import BENCHMARKS, main, run
from bench.history import pattern, write_project
from bench.path_race import Answer, check_log, check_round
from bench.report import Bound, Figure, Scale
from intermute.globs import overlap, parse
from intermute.storage.files import file_name

# What a benchmark may say that stays zero when all is well.
ZERO_IS_WELL = {"violations", "a command's wait for the disk"}


@pytest.mark.parametrize("name", list(BENCHMARKS))
def test_every_benchmark_runs_and_says_something_sane(name):
    shown = []
    members = json.loads(json.dumps(run([name], Scale.TINY, show=shown.append)))
    result = members["benchmarks"][name]
    assert result["figures"]
    for figure in result["figures"]:
        assert math.isfinite(figure["value"]), figure
        assert figure["value"] > 0 or figure["name"] in ZERO_IS_WELL, figure
        assert (figure["target"] is None) == (figure["reached"] is None)
    assert not [text for text in result["warnings"] if "unexpected" in text]
    assert {"cpus", "python", "sqlite", "versions", "commit"} <= members["machine"].keys()
    assert any(line.startswith(name) for line in shown)


def test_a_profile_is_shown_when_asked_for():
    shown = []
    run(["actor"], Scale.TINY, profile=True, show=shown.append)
    assert "under the profiler" in shown[-1]


def test_an_unknown_benchmark_is_refused(capsys):
    with pytest.raises(SystemExit):
        main(["nothing"])
    assert "no such benchmark" in capsys.readouterr().err


def test_a_figure_knows_whether_its_target_was_reached():
    assert Figure("rate", 10, "", target=10).reached
    assert not Figure("rate", 9, "", target=10).reached
    assert Figure("time", 10, "", target=10, bound=Bound.AT_MOST).reached
    assert not Figure("time", 11, "", target=10, bound=Bound.AT_MOST).reached
    assert Figure("time", 11, "").reached is None


def test_percentiles_stay_inside():
    assert load.percentile([1.0], 0.999) == 1.0
    assert load.percentile([1.0, 2.0, 3.0, 4.0], 0.5) == 3.0


def test_no_two_patterns_of_a_history_overlap():
    # Packages repeat every 500 patterns, so a stride of theirs puts all of these into one.
    for start in (0, 9):
        patterns = [parse(pattern(start + 500 * ordinal)) for ordinal in range(60)]
        wild = [parse(pattern(ordinal)) for ordinal in range(9, 900, 10)]
        for one, two in combinations([*patterns, *wild], 2):
            assert one == two or not overlap(one, two), (one, two)


# -- The race's judges must be able to find something ---------------------------------------------

AGENTS = ["a", "b", "c"]


def granted(client, seq, reservation_id="r1"):
    return Answer(client, 201, (1, seq), {"id": reservation_id})


def refused(client, seq, holder="a", reservation_id="r1"):
    conflicts = [{"agent_id": holder, "reservation_id": reservation_id}]
    members = {"error": "reservation_conflict", "conflicts": conflicts}
    return Answer(client, 409, (1, seq), members)


def test_a_fair_round_has_nothing_against_it():
    assert check_round([granted(0, 5), refused(1, 6), refused(2, 7)], AGENTS, after=(1, 4)) == []


@pytest.mark.parametrize(
    ("answers", "says"),
    [
        ([granted(0, 5), granted(1, 6, "r2")], "2 winners"),
        ([refused(0, 5), refused(1, 6)], "0 winners"),
        ([granted(0, 5), refused(1, 5)], "two answers claim one place"),
        ([granted(0, 6), refused(1, 5)], "before anything was granted"),
        ([granted(0, 4), refused(1, 5)], "is claimed after"),
        ([granted(0, 5), refused(1, 6, holder="c")], "a loser was told of"),
        ([granted(0, 5), refused(1, 6, reservation_id="r0")], "a loser was told of"),
        ([granted(0, 5), Answer(1, 503, (1, 6), {})], "a loser was told 503"),
    ],
)
def test_a_bad_round_is_found(answers, says):
    assert any(says in text for text in check_round(answers, AGENTS, after=(1, 4)))


def test_a_log_with_two_holders_at_once_is_found(tmp_path):
    write_project(tmp_path / "data", path_race.PROJECT, active=2)
    found = check_log(tmp_path / "data" / file_name(path_race.PROJECT), rounds=2)
    assert any("was granted while" in text for text in found)


def test_a_log_with_a_grant_too_few_is_found(tmp_path):
    write_project(tmp_path / "data", path_race.PROJECT, active=0, ended=3)
    path = tmp_path / "data" / file_name(path_race.PROJECT)
    assert check_log(path, rounds=3) == []
    assert any("3 grants for 4 rounds" in text for text in check_log(path, rounds=4))
