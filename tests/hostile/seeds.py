"""What the fuzzer starts from: inputs of the tests' own tables, as the targets read them."""

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from ..e2e.bodies import RIGHT, WRONG
from ..e2e.routes import ROWS
from ..e2e.test_hostile import HOSTILE_JSON, HOSTILE_PATTERNS
from ..e2e.test_hostile_reads import NUMBERS, QUERIES
from ..effort import LONG
from ..globs.test_limits import HOSTILE
from ..properties.test_globs_index import PIECES
from ..web.test_traps_harness import handshake, head
from .targets import READERS, WIRE

SEED_LEN_MAX = 4_096


def _globs() -> Iterator[bytes]:
    every = [*PIECES, *HOSTILE_PATTERNS]
    for one, two in itertools.pairwise(every):
        yield f"{one}\n{two}".encode()
    # These take long to decide, so that they are worth it in a long run only.
    for one, two in itertools.pairwise(HOSTILE if LONG else ()):
        yield f"{one}\n{two}".encode()
    yield "~SRC/É*\nsrc/é?".encode()
    yield from (b"?a/*\n*{a/,}.", b"*/*\n?{a,b}/.", b"?a/*/c/*\n?{a/,b}./c/*")


def _json() -> Iterator[bytes]:
    yield from HOSTILE_JSON.values()
    yield from (json.dumps(value).encode() for values in WRONG.values() for value in values)


def _bodies() -> Iterator[bytes]:
    texts = [json.dumps(members).encode() for members in RIGHT.values()]
    wrong = [json.dumps(list(values)).encode() for values in WRONG.values()]
    for number in range(len(READERS)):
        for text in (texts[number % len(texts)], wrong[number % len(wrong)]):
            yield bytes([number]) + text


def _requests() -> Iterator[bytes]:
    for params in ({}, {"idempotency_key": "k"}, {"x": ["a"], "y": 1, "z": False}, [1], None, "x"):
        one = {"jsonrpc": "2.0", "id": 1, "method": "agents.list", "params": params}
        yield json.dumps(one).encode()
        yield json.dumps([one, {**one, "id": "x"}, {"jsonrpc": "2.0"}, 1]).encode()
    yield b'{"type":"subscribe","event_types":["message.*"]}'


def _queries() -> Iterator[bytes]:
    for text in (*QUERIES, *NUMBERS, "message.*,agent.registered", "exclusive", "%ff%00"):
        yield f"q={quote(text)}&limit={quote(text[:20])}&status=open".encode()


def _wire() -> Iterator[bytes]:
    for number, target in enumerate(WIRE):
        for seed in SEEDS[target]():
            yield bytes([number]) + seed


def _heads() -> Iterator[bytes]:
    for row in ROWS:
        yield head(row.method, row.with_id("a%2Fb"))
    yield handshake("/ws/events?since_cursor=0")
    yield handshake("/ws/agents/a")
    for target in ("//api//agents", "/%2e%2e/", "/api/agents/%00", "http://x/", "*", "/%ff"):
        yield head("GET", target)
    yield head("POST", "/x", ("Content-Length", "1"), ("Transfer-Encoding", "chunked"))


SEEDS = {
    "globs": _globs,
    "wire": _wire,
    "json": _json,
    "body": _bodies,
    "requests": _requests,
    "query": _queries,
    "head": _heads,
}


def seeds_of(target: str) -> list[bytes]:
    """The seeds that are short enough to be worth changing."""
    return [seed for seed in SEEDS[target]() if len(seed) <= SEED_LEN_MAX]


def write_corpus(target: str, folder: Path) -> None:
    """One file for each seed."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds_of(target)):
        (folder / f"seed{number:04}").write_bytes(seed)
