"""The fuzzer: nothing is found in what is there, and everything in what is planted."""

import os
import secrets
import subprocess
import sys
from pathlib import Path

import attrs
import pytest
import trio

from ..effort import LONG, effort
from . import targets
from .fuzzing import engine
from .planted import PLANTED
from .seeds import SEEDS, seeds_of, write_corpus

ROOT = Path(__file__).parents[2]
# Findings outlive the run: they are what the next fix is written for.
FOUND = ROOT / ".fuzz"
# One process reads all of the wire each time; a long run gives each part its own.
SEARCHED = [name for name in targets.TARGETS if name != "wire"] if LONG else ["globs", "wire"]
AT_ONCE = 2


@attrs.frozen
class Run:
    code: int
    text: str
    found: list[Path]


def _files(folder: Path) -> set[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    return set(folder.iterdir())


async def fuzz(target: str, corpus: Path, found: Path, seconds: int, seed: int, *more: str) -> Run:
    """Let the fuzzer run to its end."""
    known = _files(found)
    arguments = [target, str(corpus), str(found), str(seconds), str(seed), *more]
    done = await trio.run_process(
        [sys.executable, "-m", "tests.hostile.fuzzing", *arguments],
        capture_stdout=True,
        stderr=subprocess.STDOUT,
        check=False,
        cwd=ROOT,
    )
    text = done.stdout.decode(errors="replace")
    return Run(done.returncode, text, sorted(_files(found) - known))


def test_every_target_has_seeds_and_passes_them():
    assert SEEDS.keys() == targets.TARGETS.keys()
    for name in targets.TARGETS:
        seeds = seeds_of(name)
        assert len(seeds) > 10, name
        for seed in seeds:
            try:
                targets.TARGETS[name](seed)
            except BaseException as error:
                error.add_note(f"target {name}, seed {seed!r}")
                raise


@pytest.mark.parametrize("name", PLANTED)
def test_every_planted_fault_is_seen_by_the_checks_of_its_target(
    name: str, monkeypatch: pytest.MonkeyPatch
):
    """With the seeds alone: a check that none of them reaches would be worth nothing."""
    monkeypatch.setattr(targets, "FRONT", [])
    monkeypatch.setattr(targets, "STEPS", [])
    for part in ("step", "spread"):
        monkeypatch.setattr(targets.Automaton, part, getattr(targets.Automaton, part))
    targets.count_steps()
    planted = PLANTED[name]
    planted.plant(monkeypatch.setattr)
    seen = []
    for seed in seeds_of(planted.target):
        try:
            targets.TARGETS[planted.target](seed)
        except (AssertionError, ArithmeticError, TypeError) as error:
            seen.append(error)
    assert seen


async def test_the_fuzzer_finds_a_planted_fault_and_keeps_the_input(tmp_path: Path):
    """From seeds of which none shows it."""
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    (corpus / "seed").write_bytes(b"a*\na/b")
    name = "overlap is true one way only"
    found = await fuzz("globs", corpus, tmp_path / "found", 60, 1, name)
    assert found.code != 0, found.text
    assert f"engine: {engine()}" in found.text
    assert "overlap" in found.text
    (kept,) = found.found
    assert b"?" in kept.read_bytes()


async def test_nothing_is_found_in_what_is_there(tmp_path: Path):
    limiter = trio.CapacityLimiter(AT_ONCE if LONG else 1)
    seed = int(os.environ.get("INTERMUTE_FUZZ_SEED") or secrets.randbits(31))

    async def search(target: str) -> None:
        corpus = tmp_path / target
        write_corpus(target, corpus)
        async with limiter:
            run = await fuzz(target, corpus, FOUND / target, effort(1, 300), seed)
        tail = run.text[-3_000:]
        inputs = {path.name: path.read_bytes() for path in run.found}
        again = f"again with INTERMUTE_FUZZ_SEED={seed}, or with the inputs in {FOUND.name}/"
        assert (run.code, inputs) == (0, {}), f"{target}: {again}\n{tail}"
        assert "number_of_executed_units" in run.text, tail
        if LONG:
            counts = [line for line in run.text.splitlines() if line.startswith("stat::number")]
            sys.stderr.write(f"{target}: {engine()}, seed {seed}, {counts}\n")

    async with trio.open_nursery() as nursery:
        for target in SEARCHED:
            nursery.start_soon(search, target)
