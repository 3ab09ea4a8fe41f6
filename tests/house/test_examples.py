"""The examples of the protocol's page and of the README, run in order against a real server."""

import json
import time
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest
import trio

from intermute.domain.stamp import Stamp
from intermute.project import directory
from intermute.project.clock import SystemClock

from ..e2e.conftest import running_server
from .examples import Example, differences, disagreements, examples, outputs

ROOT = Path(__file__).resolve().parents[2]
PROTOCOL = (ROOT / "docs/protocol.md").read_text("utf-8")
README = (ROOT / "README.md").read_text("utf-8")
ADDRESS = "http://127.0.0.1:7338"


@attrs.define
class _SteadyClock:
    """A clock that moves with each command alone, so that no lease ends on a slow machine.

    It never stands at a whole second, so times have decimals wherever they may.
    """

    _at_us: int = attrs.field(factory=lambda: int(time.time()) * 1_000_000 + 322)
    _mono_us: int = 0
    _clock: SystemClock = attrs.field(factory=SystemClock)

    def stamp(self) -> Stamp:
        self._at_us += 1_000
        self._mono_us += 1_000
        return Stamp(self._at_us, self._mono_us, self._clock.stamp().entropy)


def run(page: list[Example], folder: Path, replaced: Callable[[str], str] = str) -> list[str]:
    """What the blocks of a page print, with the address of a server that is there for them."""

    shell = folder / "shell"
    shell.mkdir()

    async def served() -> list[str]:
        async with running_server(folder) as server:
            commands = [replaced(each.commands.replace(ADDRESS, server.url)) for each in page]
            return await outputs(commands, shell)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(directory, "SystemClock", _SteadyClock)
        return trio.run(served)


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return run(examples(PROTOCOL), tmp_path_factory.mktemp("protocol"))


def test_the_examples_of_the_protocol_answer_in_order_what_the_page_shows(printed: list[str]):
    assert disagreements(examples(PROTOCOL), printed) == []


def test_the_examples_are_found():
    found = examples(PROTOCOL)
    assert len(found) > 55
    assert sum(example.shown is not None for example in found) > 45
    assert all(example.kind in ("", "json") for example in found)


@pytest.mark.parametrize(
    ("right", "spoiled"),
    [
        ('"conflicts_total": 3', '"conflicts_total": 2'),
        ('"status": "superseded"', '"status": "released"'),
        ('"denied": ["agt_kvmib5oenxqa_01a1…"]', '"denied": []'),
        ('"error": "task_claimed", "code"', '"error": "task_taken", "code"'),
        ('"token": "imt_kvmib5oenxqa_HgU3…"', '"token": "imt_aaaaaaaaaaaa_HgU3…"'),
        ('"last_at": "2026-11-21T02:04:33Z"', '"last_at": "2026-11-21T02:04:33.25Z"'),
        ('"bob", "fencing_token": 6, "path_pattern"', '"bob", "path_pattern"'),
        ('"free": true, "total": 0, "more"', '"free": true, "holders": 0, "total": 0, "more"'),
        ("it was released, or it lapsed and is gone", "it may have been released"),
        ("event: agent.registered", "event: agent.resumed"),
    ],
)
def test_a_spoiled_example_is_found(printed: list[str], right: str, spoiled: str):
    assert PROTOCOL.count(right) == 1
    assert len(disagreements(examples(PROTOCOL.replace(right, spoiled)), printed)) == 1


def test_an_error_that_is_not_shown_is_found(printed: list[str]):
    """The same answers, to a page that shows the first error no more."""
    page = examples(PROTOCOL)
    silent = [attrs.evolve(each, shown=None) if "none" in each.commands else each for each in page]
    (found,) = disagreements(silent[:3], printed[:3])
    assert "reservation-not-found" in found


@pytest.mark.parametrize(
    ("shown", "given"),
    [
        ({"a": 1}, {"a": True}),
        ({"a": 1}, {"a": 1.0}),
        ({"a": [1]}, {"a": [1, 2]}),
        ({"a": {}}, {"a": []}),
        ({"…": "…", "a": 1}, {"b": 1}),
        ({"seq": 1}, {"seq": "1"}),
        ({"id": "rsv_kvmib5oenxqa_1"}, {"id": "tkt_kvmib5oenxqa_1"}),
        ("a … c", "b c"),
    ],
)
def test_what_differs_is_told(shown: object, given: object):
    assert len(differences(shown, given)) == 1


def test_what_may_differ_does_not_count():
    shown = {"id": "rsv_kvmib5oenxqa_01a1…", "at": "2026-11-21T02:04:33.5Z", "seq": 1, "…": "…"}
    given = {"id": "rsv_kvmib5oenxqa_77", "at": "2020-01-01T00:00:00.25Z", "seq": 9, "more": 1}
    assert differences(shown, given) == []


def test_the_conflict_of_the_readme_is_one_between_the_two_who_registered(tmp_path: Path):
    page = [example for example in examples(README) if "curl" in example.commands]
    shorter = '"wait_seconds": 10', '"wait_seconds": 0.01'
    assert README.count(shorter[0]) == 1
    first, second = run(page, tmp_path, lambda commands: commands.replace(*shorter))
    *done, refused, check = map(json.loads, first.splitlines())
    assert [answer["agent_id"] for answer in done if "is_active" in answer]
    assert refused["error"] == "reservation_conflict"
    assert refused["detail"].startswith("Ada (")
    assert [conflict["held_by"] for conflict in check["conflicts"]] == ["Ada"]
    waited, sent, inbox, *stream = second.splitlines()
    assert json.loads(waited)["error"] == "reservation_conflict"
    assert "denied" not in json.loads(sent)
    assert [message["subject"] for message in json.loads(inbox)["messages"]] == ["src/auth"]
    assert "event: agent.registered" in stream
