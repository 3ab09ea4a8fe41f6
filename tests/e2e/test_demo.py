"""The demo's proof catches each kind of collision, and a real small run has none."""

import os
import random
import re
import subprocess
import sys
from pathlib import Path

import attrs
import pytest
from msgspec.structs import replace

from bench.demo import repository
from bench.demo.evidence import Commit, Conflict, Edit, Evidence, Hold
from bench.demo.failure import DemoError, NotARepository
from bench.demo.matching import covers, escape, expand
from bench.demo.proof import holds_of, prove
from intermute.domain.events import (
    AgentRegistered,
    Event,
    EventData,
    ReservationCreated,
    ReservationExpired,
    ReservationReleased,
    ReservationRenewed,
)
from intermute.domain.modes import Mode

ROOT = Path(__file__).resolve().parents[2]
HANG_S = 180
FILES = ("README", "src/a.py", "src/b.py", "src/deep/c.py", "tests/t.py")

LOG = "the event log is whole and in order"
GRANTS = "the log holds exactly the grants that agents were given"
HOLDS = "by the log's order, no file had two holders"
CLOCKS = "by the agents' own clocks, no file had two holders"
INSIDE = "every commit was made while its agent held its path"
ORDER = "each file's commits follow the order of the grants"
TOUCHED = "every commit touched exactly its path"
LOST = "no edit was lost"
REFUSALS = "every refusal named somebody who was in the way"


def log(*happened: EventData) -> tuple[Event, ...]:
    """Events at cursors 1, 2, ... and times 1000, 2000, ..."""
    return tuple(Event(n, n * 1000, None, data) for n, data in enumerate(happened, 1))


def registered(agent: str) -> AgentRegistered:
    return AgentRegistered(agent, "", agent.title(), (), {}, "", "open", "contacts_only")


def created(reservation: str, agent: str, *patterns: str, exclusive: bool = True):
    mode = Mode.EXCLUSIVE if exclusive else Mode.SHARED
    return ReservationCreated(reservation, agent, patterns, mode, "", 60_000, 10**9)


def released(reservation: str, agent: str) -> ReservationReleased:
    return ReservationReleased(reservation, agent, "holder", fencing_token=1)


def commit(edit: Edit, /, **changes: object) -> Commit:
    made = Commit(
        sha=f"{edit.edit:0<40}",
        touched=(edit.path,),
        agent=edit.agent,
        reservation=edit.reservation,
        path=edit.path,
        edit=edit.edit,
    )
    return attrs.evolve(made, **changes)


EDIT_A = Edit("a1", "ada", "r1", "src/a.py", 3_100, 3_900)
EDIT_B = Edit("b1", "boris", "r2", "src/a.py", 5_100, 5_900)
EVENTS = (
    registered("ada"),
    registered("boris"),
    created("r1", "ada", "src/**"),
    released("r1", "ada"),
    created("r2", "boris", "src/a.py", "README"),
    released("r2", "boris"),
)
GOOD = Evidence(
    files=FILES,
    events=log(*EVENTS),
    commits=(commit(EDIT_A), commit(EDIT_B)),
    edits=(EDIT_A, EDIT_B),
    own_holds=(
        Hold("ada", "r1", ("src/**",), True, 31, 39),
        Hold("boris", "r2", ("src/a.py", "README"), True, 51, 59),
    ),
    conflicts=(Conflict("boris", True, 3_200, 3_300, "r1", "ada", "src/a.py"),),
    kept=frozenset({"a1", "b1"}),
)


def check(evidence: Evidence, *failing: str) -> str:
    """Exactly these claims fail; answers what is said against them."""
    found = {each.claim: each.findings for each in prove(evidence) if each.findings}
    assert set(found) == set(failing)
    return "\n".join(sentence for sentences in found.values() for sentence in sentences)


def test_a_good_history_has_no_findings():
    assert check(GOOD) == ""
    assert [each.claim for each in prove(GOOD)] == [
        LOG, GRANTS, HOLDS, CLOCKS, INSIDE, ORDER, TOUCHED, LOST, REFUSALS,
    ]  # fmt: skip


def test_a_missing_event_is_caught():
    events = (*GOOD.events[:1], *GOOD.events[2:])
    assert "cursor 3 where 2" in check(attrs.evolve(GOOD, events=events), LOG)


def test_time_that_runs_backwards_is_caught():
    events = (*GOOD.events[:5], replace(GOOD.events[5], at_us=4_999))
    evidence = attrs.evolve(GOOD, events=events)
    assert "event 6 is 1 us older" in check(evidence, LOG, INSIDE)


def overlapping(second: ReservationCreated, *, first_exclusive: bool = True) -> Evidence:
    """Ada's hold of src/** with Boris's in the middle of it, and nobody edits."""
    events = log(
        registered("ada"),
        registered("boris"),
        created("r1", "ada", "src/**", exclusive=first_exclusive),
        second,
        released("r1", "ada"),
        released("r2", second.agent_id),
    )
    own_holds = (
        Hold("ada", "r1", ("src/**",), first_exclusive, 31, 32),
        Hold(second.agent_id, "r2", second.patterns, second.mode is Mode.EXCLUSIVE, 51, 52),
    )
    return Evidence(FILES, events, (), (), own_holds, (), frozenset())


@pytest.mark.parametrize("pattern", ["src/a.py", "src", "src/*.py", "**/c.py", "src/deep/[abc].?y"])
def test_two_exclusive_holders_are_caught(pattern: str):
    said = check(overlapping(created("r2", "boris", pattern)), HOLDS)
    assert "Ada held it exclusively from event 3 to event 5" in said
    assert "Boris held it exclusively from event 4 to event 6" in said


def test_a_reader_beside_a_writer_is_caught_in_either_order():
    shared = created("r2", "boris", "src/a.py", exclusive=False)
    assert "Boris held it shared" in check(overlapping(shared), HOLDS)
    writer = created("r2", "boris", "src/a.py")
    assert "Ada held it shared" in check(overlapping(writer, first_exclusive=False), HOLDS)


def test_readers_strangers_and_oneself_are_no_collision():
    shared = created("r2", "boris", "src/a.py", exclusive=False)
    check(overlapping(shared, first_exclusive=False))
    check(overlapping(created("r2", "boris", "tests/**", "README")))
    check(overlapping(created("r2", "ada", "src/a.py")))


def test_one_of_several_patterns_is_enough_to_collide():
    said = check(overlapping(created("r2", "boris", "README", "src/b.py")), HOLDS)
    assert said.startswith("src/b.py: ")


def test_a_hold_that_never_ended_still_counts():
    evidence = overlapping(created("r2", "boris", "src/a.py"))
    events = (*evidence.events[:4], replace(evidence.events[5], cursor=5))
    said = check(attrs.evolve(evidence, events=events), HOLDS)
    assert "Ada held it exclusively from event 3 to the end" in said


def test_a_lapsed_lease_that_was_taken_back_is_held_again():
    happened = (
        created("r1", "ada", "src/a.py"),
        ReservationExpired("r1", "ada", ("src/a.py",), fencing_token=1),
        ReservationRenewed("r1", "ada", 60_000, 10**9, "holder", fencing_token=1),
        ReservationRenewed("r1", "ada", 60_000, 10**9, "holder", fencing_token=1),
        released("r1", "ada"),
    )
    assert [(hold.start, hold.end) for hold in holds_of(log(*happened))] == [(1, 2), (3, 5)]


def test_agents_that_believed_to_hold_at_once_are_caught():
    early = attrs.evolve(GOOD.own_holds[1], start=38)
    evidence = attrs.evolve(GOOD, own_holds=(GOOD.own_holds[0], early))
    assert "Boris held it exclusively from nanosecond 38 to nanosecond 59" in check(
        evidence, CLOCKS
    )


def test_grants_that_only_one_side_knows_are_caught():
    ada, boris = GOOD.own_holds
    said = check(attrs.evolve(GOOD, own_holds=(ada,)), GRANTS)
    assert said == "r2 is in the log, but no agent was given it"
    forgotten = attrs.evolve(boris, reservation="r3", start=90, end=91)
    said = check(attrs.evolve(GOOD, own_holds=(ada, boris, forgotten)), GRANTS)
    assert said == "r3 was given to boris, but is not in the log"
    different = attrs.evolve(boris, patterns=("README",))
    check(attrs.evolve(GOOD, own_holds=(ada, different)), GRANTS)
    check(attrs.evolve(GOOD, own_holds=(ada, boris, boris)), GRANTS)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"started_us": 2_999}, "edited from 2999 to 3900"),
        ({"finished_us": 4_001}, "edited from 3100 to 4001"),
        ({"started_us": 5_100, "finished_us": 5_200}, "edited from 5100 to 5200"),
        ({"reservation": "r2"}, "differently"),
    ],
)
def test_an_edit_outside_its_reservation_is_caught(changes: dict[str, object], said: str):
    edits = (attrs.evolve(EDIT_A, **changes), EDIT_B)
    assert said in check(attrs.evolve(GOOD, edits=edits), INSIDE)


@pytest.mark.parametrize(
    ("changes", "said", "also"),
    [
        ({"agent": ""}, "lacks the trailers", ()),
        ({"reservation": "r9"}, "r9 is not in the log", ()),
        ({"reservation": "r2"}, "belongs to boris", ()),
        ({"agent": "boris"}, "belongs to ada", ()),
        ({"path": "tests/t.py", "touched": ("tests/t.py",)}, "which does not hold the path", ()),
        ({"edit": "a9"}, "no journal knows its edit a9", (LOST,)),
    ],
)
def test_a_commit_without_the_right_to_it_is_caught(
    changes: dict[str, object], said: str, also: tuple[str, ...]
):
    commits = (commit(EDIT_A, **changes), commit(EDIT_B))
    assert said in check(attrs.evolve(GOOD, commits=commits), INSIDE, *also)


def test_a_commit_under_a_shared_reservation_is_caught():
    events = log(*EVENTS[:2], created("r1", "ada", "src/**", exclusive=False), *EVENTS[3:])
    own_holds = (attrs.evolve(GOOD.own_holds[0], exclusive=False), GOOD.own_holds[1])
    evidence = attrs.evolve(GOOD, events=events, own_holds=own_holds)
    assert "r1 is shared" in check(evidence, INSIDE)


def test_commits_against_the_order_of_the_grants_are_caught():
    evidence = attrs.evolve(GOOD, commits=(commit(EDIT_B), commit(EDIT_A)))
    assert "(granted at event 3) follows" in check(evidence, ORDER)


def test_a_commit_that_touches_more_or_less_is_caught():
    more = commit(EDIT_A, touched=("README", "src/a.py"))
    evidence = attrs.evolve(GOOD, commits=(more, commit(EDIT_B)))
    assert "touches README, src/a.py" in check(evidence, TOUCHED)
    nothing = commit(EDIT_A, touched=())
    evidence = attrs.evolve(GOOD, commits=(nothing, commit(EDIT_B)))
    assert "touches nothing" in check(evidence, TOUCHED)


def test_lost_edits_are_caught():
    assert "is gone from src/a.py" in check(attrs.evolve(GOOD, kept=frozenset({"b1"})), LOST)
    assert "has 0 commits" in check(attrs.evolve(GOOD, commits=(commit(EDIT_B),)), LOST)
    twice = (commit(EDIT_A), commit(EDIT_A), commit(EDIT_B))
    assert "has 2 commits" in check(attrs.evolve(GOOD, commits=twice), LOST)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"reservation": "r9"}, "not in the log"),
        ({"holder": "grace"}, "belongs to ada"),
        ({"agent": "ada"}, "belongs to ada"),
        ({"witness": "tests/t.py"}, "does not cover"),
        ({"asked_us": 4_001, "answered_us": 4_002}, "not held at that time"),
    ],
)
def test_a_refusal_without_a_reason_is_caught(changes: dict[str, object], said: str):
    conflicts = (attrs.evolve(GOOD.conflicts[0], **changes),)
    assert said in check(attrs.evolve(GOOD, conflicts=conflicts), REFUSALS)


# -- The matcher and Git -----------------------------------------------------------------------


def git(repo: Path, *arguments: str) -> str:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    environment |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    for role in ("AUTHOR", "COMMITTER"):
        environment |= {f"GIT_{role}_NAME": "t", f"GIT_{role}_EMAIL": "t@demo.invalid"}
    done = subprocess.run(
        ["git", "-C", str(repo), *arguments],
        env=environment,
        capture_output=True,
        check=True,
        timeout=HANG_S,
    )
    return done.stdout.decode()


def make_repo(path: Path, files: tuple[str, ...]) -> Path:
    path.mkdir()
    git(path, "init", "--quiet")
    for name in files:
        file = path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"this is {name}")
    git(path, "add", "--all")
    git(path, "commit", "--quiet", "-m", "a beginning")
    return path


ODD = ("a [1].txt", "b*.md", "src/{x}.py", "src/é ü.py", 'src/q"uote.py', "src/back\\slash.py")


@pytest.mark.parametrize(
    "pattern",
    ["src", "src/**", "src/*", "*.py", "**/*.py", "src/?.py", "**/[a-b].py", "**/[!a].py", "**"],
)
def test_the_matcher_agrees_with_git(tmp_path: Path, pattern: str):
    repo = make_repo(tmp_path / "repo", FILES + ODD)
    by_git = git(repo, "ls-files", "-z", "--", f":(glob){pattern}").split("\0")[:-1]
    assert list(expand((pattern,), repository.tracked_files(repo))) == by_git


def test_an_escaped_path_means_itself_and_what_is_below():
    for path in (*FILES, *ODD):
        assert expand((escape(path),), (*FILES, *ODD)) == (path,)
    assert covers((escape("a [1].txt"),), "a [1].txt/below")
    assert covers(("src/**",), "src")
    assert not covers(("src/**",), "srcs")
    assert not covers((escape("b*.md"),), "bb.md")


@pytest.mark.parametrize("pattern", ["{a,b}", "a//b", "./a", "../a", "a/", "[a"])
def test_the_matcher_refuses_what_it_does_not_know(pattern: str):
    with pytest.raises(ValueError, match="cannot expand"):
        expand((pattern,), FILES)


def test_a_clone_without_commits_is_refused(tmp_path: Path):
    empty = tmp_path / "empty"
    empty.mkdir()
    git(empty, "init", "--quiet")
    with pytest.raises(DemoError, match="no commits yet"):
        repository.clone(str(empty), tmp_path / "clone")
    with pytest.raises(NotARepository, match="no Git repository"):
        repository.clone(str(tmp_path), tmp_path / "clone")
    with pytest.raises(NotARepository, match="no directory"):
        repository.clone(str(tmp_path / "missing"), tmp_path / "clone")


def test_a_commit_is_read_back_as_it_was_made(tmp_path: Path):
    repo = make_repo(tmp_path / "repo", FILES + ODD)
    base = git(repo, "rev-parse", "HEAD").strip()
    for ordinal, path in enumerate(ODD):
        (repo / path).write_text("changed")
        (repo / "README").write_text(f"changed by somebody else {ordinal}")
        trailers = f"Agent: ada\nReservation: r1\nPath: {path}\nEdit: a{ordinal}"
        made = repository.commit_path(
            repo, path, f"a change\n\n{trailers}\n", name="Ada", random=random.Random(1)
        )
        assert made == (1, "")
    found = repository.commits_since(repo, base)
    assert [(each.touched, each.path, each.edit) for each in found] == [
        ((path,), path, f"a{ordinal}") for ordinal, path in enumerate(ODD)
    ]
    assert {(each.agent, each.reservation) for each in found} == {("ada", "r1")}
    git(repo, "commit", "--quiet", "--all", "-m", "x\n\nPath: a\nPath: b")
    stray = repository.commits_since(repo, base)[-1]
    assert (stray.touched, stray.path, stray.agent) == (("README",), "", "")


# -- The whole of it ---------------------------------------------------------------------------


def run_demo(scratch: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """The demo as `make demo` runs it, with its scratch space where the test can look."""
    scratch.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.demo", *arguments],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(scratch)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        out, err = process.communicate(timeout=HANG_S)
    except subprocess.TimeoutExpired:
        # It ends its own server and agents on SIGTERM.
        process.terminate()
        out, err = process.communicate(timeout=HANG_S)
        pytest.fail(f"the demo hung:\n{out}\n{err}")
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def test_a_small_real_run_holds(tmp_path: Path):
    names = (*FILES, *ODD, "docs/index.md")
    repo = make_repo(tmp_path / "repo", names)
    before = git(repo, "rev-parse", "HEAD"), git(repo, "status", "--porcelain")
    arguments = ("--repo", str(repo), "--agents", "3", "--rounds", "3", "--pace", "0.01")
    done = run_demo(tmp_path / "scratch", *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.rstrip().endswith("no two agents ever held the same file")
    counted = re.search(r"(\d+) grants?, (\d+) conflicts?, (\d+) commits?\n", done.stdout)
    assert counted is not None
    assert int(counted[1]) > 0
    assert "FAILED" not in done.stdout
    assert (git(repo, "rev-parse", "HEAD"), git(repo, "status", "--porcelain")) == before
    assert list((tmp_path / "scratch").iterdir()) == [], "scratch space is cleaned up"


def test_what_is_no_repository_is_wrong_usage(tmp_path: Path):
    done = run_demo(tmp_path / "scratch", "--repo", str(tmp_path))
    assert done.returncode == 2
    assert "is no Git repository" in done.stderr
    assert list((tmp_path / "scratch").iterdir()) == []
