"""Speed and size of the pattern language: `python bench/globs_index.py [--json]`.

Prints a table and, last, the same figures as one line of JSON. What is measured:

- `parse` and `load`: reading patterns and filing them;
- `memory`: bytes a pattern, `Pattern` objects, texts and keys included (tracemalloc);
- `literal` and `glob`: searches in an index of 100,000 patterns, one in ten with wildcards, spread
  over 200 packages; paths that conflict and paths that do not, timed apart;
- `crowd`: the same with 10,000 unlike wildcard patterns in one place;
- `hostile`: the slowest decision among pairs of patterns made to be slow, compiled and not;
- `together`: 256 patterns against 1,000 alike that neither beginning nor end tells apart, all of
  them in one search: seconds of CPU, with everything compiled for the first time, and of counted
  work (`intermute.globs.work`), in parts of what one command may cost.

Figures are wall time on one thread, and a median is over many calls. A hostile pair counts with the
CPU time of the best of three: the worst of 576 pairs is a maximum, which a busy machine would make.
"""

import gc
import itertools
import json
import random
import statistics
import sys
import time
import tracemalloc
from collections.abc import Callable
from functools import partial

from intermute.domain.limits import PATTERN_WORK_MAX
from intermute.globs import BadPattern, Pattern, PatternIndex, Work, overlap, parse, witness

PACKAGES = 200
PATTERNS = 100_000

Figures = dict[str, float | int | str]


def pattern_texts(count: int) -> list[str]:
    """Nine literal paths, then one pattern with wildcards, and so on."""
    random_source = random.Random(count)
    texts = []
    for number in range(count):
        package = f"pkg{random_source.randrange(PACKAGES)}"
        module = f"mod{random_source.randrange(40)}"
        if number % 10:
            texts.append(f"{package}/src/{module}/file{number}.py")
            continue
        shapes = [
            f"{package}/docs/{module}/*.md",
            f"{package}/src/{module}/test_{number}_*.py",
            f"{package}/{{lib,include}}/{module}/**",
            f"{package}/tests/**/{module}_{number}.py",
            f"{package}/src/{module}/*.generated.py",
            f"{package}/assets/[a-f]*/{number}.png",
        ]
        texts.append(shapes[number // 10 % len(shapes)])
    return texts


def microseconds(call: Callable[[], object], times: int) -> list[float]:
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        call()
        taken.append((time.perf_counter() - start) * 1e6)
    return taken


def filled(texts: list[str]) -> PatternIndex[int]:
    index: PatternIndex[int] = PatternIndex()
    for key, text in enumerate(texts):
        index.add(key, parse(text))
    return index


def measure_load() -> Figures:
    texts = pattern_texts(10_000)
    literals = [text for text in texts if text.endswith(".py") and "*" not in text]
    load = min(microseconds(partial(filled, texts), 3))
    parse_all = min(microseconds(lambda: [parse(text) for text in literals], 3))
    index = filled(texts)
    start = time.perf_counter()
    for key in range(len(texts)):
        index.remove(key)
    remove = (time.perf_counter() - start) * 1e6
    return {
        "parse a literal, us": round(parse_all / len(literals), 2),
        "parse and add, us a pattern": round(load / len(texts), 2),
        "load 10,000, ms": round(load / 1e3, 1),
        "remove, us a pattern": round(remove / len(texts), 2),
    }


def measure_memory(texts: list[str]) -> tuple[PatternIndex[int], Figures]:
    gc.collect()
    tracemalloc.start()
    index = filled(["".join(list(text)) for text in texts])
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return index, {"memory, bytes a pattern": round(used / len(texts))}


def found_by(index: PatternIndex[int], text: str, at_most: int | None = None) -> list[int]:
    return list(itertools.islice(index.overlapping(parse(text)), at_most))


def measure_searches(index: PatternIndex[int], texts: list[str]) -> Figures:
    random_source = random.Random(7)
    free = [
        f"pkg{random_source.randrange(PACKAGES)}/src/mod{random_source.randrange(40)}/new{n}.py"
        for n in range(2_000)
    ]
    held = random_source.sample([text for text in texts if "*" not in text], 2_000)
    packages = [f"pkg{number}" for number in range(PACKAGES)]
    figures: Figures = {}
    for name, asked, at_most in (
        ("literal, free path, us", free, None),
        ("literal, held path, first conflict, us", held, 1),
        ("literal, held path, all conflicts, us", held, None),
        ("pkg7/**, first 100, us", [f"{each}/**" for each in packages], 100),
        ("pkg7/src/*/*.toml, all, us", [f"{each}/src/*/*.toml" for each in packages[:20]], None),
        ("**/*.rs, first 100, us", ["**/*.rs"] * 20, 100),
    ):
        for text in asked[:50]:
            found_by(index, text, at_most)
        taken = sorted(
            each
            for text in asked
            for each in microseconds(partial(found_by, index, text, at_most), 1)
        )
        figures[name + " p50"] = round(statistics.median(taken), 1)
        figures[name + " p99"] = round(taken[int(len(taken) * 0.99)], 1)
    return figures


def measure_crowd() -> Figures:
    figures: Figures = {}
    for shape in ("*/name{}.py", "*name{}.py", "name{}*", "src/**/name{}/*.py", "{{a,b/c}}/{}/*"):
        texts = [shape.format(number) for number in range(10_000)]
        index = filled(texts)
        taken = [
            statistics.median(microseconds(partial(found_by, index, path, 10), 50))
            for path in ("lib/other.py", "src/x/y/other.py", "b/c/other/x")
        ]
        figures[f"among 10,000 like {texts[1]}, us"] = round(max(taken), 1)
    return figures


def hostile_texts() -> dict[str, str]:
    rare = "".join(chr(0x4E00 + number) for number in range(900))
    return {
        "stars and a": "*a" * 128,
        "stars and b": "*b" * 128,
        "long tail": "*" + "a" * 1000,
        "long tail, other": "*" + "a" * 999 + "b",
        "long head": "a" * 1020 + "*",
        "question marks": "?" * 128,
        "many segments": "*/" * 120 + "a",
        "many globs": "**/a/" * 63 + "*b",
        "globs and stars": "**/*a/" * 42 + "b?",
        "glob and long name": "**/" + "a" * 1000 + "/*",
        "globs and long names": ("**/" + "a" * 20 + "/") * 42 + "*b",
        "braces": "{a,b}" * 16 + "*",
        "braces with slashes": "{a/,b}" * 16 + "*",
        "braces, long": ("{a,ab,abc}" + "a" * 50) * 16,
        "braces with stars": "{*,b}" * 16,
        "braces, mixed": ("{*a,b*/,**/}" + "a" * 40) * 16,
        "braces and globs": ("**/{a,b/c,*}/" + "a/" * 6) * 9 + "x",
        "nested braces": "{a," * 8 + "b" + "}" * 8 + "*",
        "alternatives": "{" + ",".join("a" * (n % 9) + "b" for n in range(120)) + "}*",
        "classes": "".join(f"[{chr(97 + n % 20)}-{chr(98 + n % 20)}]*" for n in range(60)),
        "wide classes": "".join(f"[{chr(0x4E00 + n)}-{chr(0x5000 + n)}]" for n in range(32)),
        "negated classes": "[!a]" * 100 + "*" + "[!b]" * 20,
        "many characters": rare + "*",
        "many characters, starred": "*" + rare,
    }


def measure_hostile() -> Figures:
    made: dict[str, Pattern] = {}
    refused = []
    parse_worst = 0.0
    for name, text in hostile_texts().items():
        try:
            parse_worst = max(parse_worst, min(microseconds(partial(parse, text), 3)))
            made[name] = parse(text)
        except BadPattern:
            refused.append(name)
    decide: list[tuple[float, str]] = []
    show: list[tuple[float, str]] = []
    for (one, a), (two, b) in itertools.product(made.items(), repeat=2):
        fresh = [(parse(a.text), parse(b.text)) for _ in range(3)]
        decide.append((min(time_once(overlap, pair) for pair in fresh), f"{one} / {two}"))
        if overlap(a, b):
            show.append((min(time_once(witness, pair) for pair in fresh[:2]), f"{one} / {two}"))
    return {
        "hostile, refused": ", ".join(refused),
        "hostile, pairs": len(decide),
        "hostile, slowest parse, ms": round(parse_worst / 1e3, 2),
        "hostile, slowest decision, CPU ms": round(max(decide)[0] / 1e3, 2),
        "hostile, slowest decision of": max(decide)[1],
        "hostile, slowest witness, CPU ms": round(max(show)[0] / 1e3, 2),
    }


# None of those asked overlaps one of those filed, so each would have to be compared with each.
CROWDS = {
    "?_7_?": "?_{}_?",
    "[a-z]_7_[a-z]": "[a-z]_{}_[a-z]",
    "**/m7/*": "**/m{}/*",
    "*a7?": "*a{}?",
    "src/*_7.py": "src/*_{}.py",
    "{a,b}?_7_?": "{{a,b}}?_{}_?",
    "five {a/b,c}, then 7?": "{{a/b,c}}" * 5 + "{}?",
    "four {*a,b*/,**/}, then 7?": "{{*a,b*/,**/}}" * 4 + "{}?",
}


def measure_together() -> Figures:
    figures: Figures = {}
    for name, shape in CROWDS.items():
        cpu: list[float] = []
        for _ in range(3):
            index = filled([shape.format(number) for number in range(1_000, 2_000)])
            asked = [parse(shape.format(number)) for number in range(5_000, 5_256)]
            work = Work(sys.maxsize)
            start = time.thread_time()
            found = list(index.meeting(asked, work))
            cpu.append(time.thread_time() - start)
            assert not found
        figures[f"256 against 1,000 like {name}, CPU s"] = round(min(cpu), 3)
        share = (sys.maxsize - work.left) / PATTERN_WORK_MAX
        figures[f"256 against 1,000 like {name}, of the work allowed"] = round(share, 2)
    return figures


def time_once(call: Callable[[Pattern, Pattern], object], pair: tuple[Pattern, Pattern]) -> float:
    start = time.thread_time()
    call(*pair)
    return (time.thread_time() - start) * 1e6


def main() -> None:
    figures = measure_load()
    texts = pattern_texts(PATTERNS)
    index, memory = measure_memory(texts)
    figures |= memory
    figures |= measure_searches(index, texts)
    del index
    figures |= measure_crowd()
    figures |= measure_hostile()
    figures |= measure_together()
    if "--json" not in sys.argv[1:]:
        width = max(map(len, figures))
        for name, value in figures.items():
            print(f"{name:<{width}}  {value}")
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
