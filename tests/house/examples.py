"""Examples of a page: their commands, run in order by a shell, and the answers shown below them.

The one rule of what may differ between what a page shows and what a server answers:

- Of an id or a token only the kind and the tag count, of a UUID and of a time only their form.
- Members that count seconds, bytes of disk or the server's own decisions (`COUNTED`) are integers.
- `…` in a text stands for any text, and a member `"…"` for any further members.

All else is the same, and a list is as long as the one that is shown.
"""

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

RUN_S = 120.0
COUNTED = ("age_seconds", "free_bytes", "seq")
PROBLEM = '"type":"https://intermute.dev/errors/'

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_MASKS = (
    (re.compile(r"\b([a-z]+_[a-z2-7]{12})_[\w…-]+"), r"\1_…"),
    (re.compile(r"\bpane_[\w…-]+"), "pane_…"),
    (re.compile(r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b"), "(a UUID)"),
    (re.compile(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"), "(a second)"),
    (re.compile(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{0,5}[1-9]Z"), "(a time)"),
    (re.compile(r"\b[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT"), "(a date)"),
)

# An event stream has no end of its own: it is read until its second event begins, and then ended.
_CURL = """
timeout() { shift; "$@"; }
curl() {
  case "$*" in
    *text/event-stream*) ;;
    *) command curl "$@"; return ;;
  esac
  exec 9< <(exec curl "$@")
  stream=$!
  told=no
  while IFS= read -r line <&9; do
    printf '%s\\n' "$line"
    case "$told $line" in
      *" data:"*) told=yes ;;
      "yes id:"*) break ;;
    esac
  done
  kill "$stream"
  exec 9<&-
}
"""


@attrs.frozen
class Example:
    """A block of commands; `kind` and `shown` are of the block right below it, if there is one."""

    line: int
    commands: str
    kind: str = ""
    shown: str | None = None


def examples(text: str) -> list[Example]:
    """All blocks of shell commands of a page, in their order."""
    blocks = list(_FENCE.finditer(text))
    found = []
    for block, below in zip(blocks, [*blocks[1:], None], strict=True):
        if block[1] != "sh":
            continue
        example = Example(text.count("\n", 0, block.start()) + 1, block[2])
        if below is not None and below[1] != "sh" and not text[block.end() : below.start()].strip():
            example = attrs.evolve(example, kind=below[1], shown=below[2])
        found.append(example)
    return found


async def outputs(commands: list[str], folder: Path) -> list[str]:
    """Run blocks of commands in one shell, in a folder; what each of them printed.

    Fails when a block ends with an error or prints one, and where there is neither bash nor curl
    the test is left out.
    """
    bash = shutil.which("bash")
    if bash is None or shutil.which("curl") is None:
        pytest.skip("there is no bash or no curl")
    blocks = [f"{{\n{block}\n}} > {number}.out" for number, block in enumerate(commands)]
    environment = {name: text for name, text in os.environ.items() if "proxy" not in name.lower()}
    with trio.fail_after(RUN_S):
        done = await trio.run_process(
            [bash, "-s"],
            stdin="\n".join([_CURL, *blocks]).encode(),
            capture_stderr=True,
            check=False,
            cwd=folder,
            env={**environment, "HOME": str(folder)},
        )
    assert done.stderr.decode() == ""
    assert done.returncode == 0
    return [(folder / f"{number}.out").read_text("utf-8") for number in range(len(commands))]


def disagreements(page: list[Example], printed: list[str]) -> list[str]:
    """Where what the page shows is not what was printed, and errors that it does not show."""
    found = []
    for example, output in zip(page, printed, strict=True):
        lines = output.splitlines()
        quiet = lines
        if example.kind == "json" and example.shown is not None:
            *quiet, last = lines or [""]
            wrong = differences(json.loads(example.shown), json.loads(last))
            found += [f"line {example.line}: {difference}" for difference in wrong]
        elif example.shown is not None:
            wrong = differences(example.shown.rstrip(), output.rstrip())
            found += [f"line {example.line}: {difference}" for difference in wrong]
        found += [f"line {example.line}: {line}" for line in quiet if PROBLEM in line]
    return found


def differences(shown: Any, given: Any, at: str = "it") -> list[str]:
    """What of an answer is otherwise than it is shown, by the rule above."""
    if isinstance(shown, dict) and isinstance(given, dict):
        told = shown.keys() - {"…"}
        found = [f"{at} has no {name!r}" for name in sorted(told - given.keys())]
        if "…" not in shown:
            found += [f"{at} has {name!r} too" for name in sorted(given.keys() - told)]
        for name in sorted(told & given.keys()):
            counted = name in COUNTED and type(given[name]) is int
            found += [] if counted else differences(shown[name], given[name], f"{at}.{name}")
        return found
    if isinstance(shown, list) and isinstance(given, list) and len(shown) == len(given):
        pairs = enumerate(zip(shown, given, strict=True))
        return [
            difference
            for number, (ours, theirs) in pairs
            for difference in differences(ours, theirs, f"{at}[{number}]")
        ]
    if isinstance(shown, str) and isinstance(given, str):
        pattern = ".*".join(re.escape(part) for part in masked(shown).split("…"))
        same = re.fullmatch(pattern, masked(given), re.DOTALL) is not None
    else:
        same = type(shown) is type(given) and shown == given
    return [] if same else [f"{at} is {given!r} and not {shown!r}"]


def masked(text: str) -> str:
    for form, mask in _MASKS:
        text = form.sub(mask, text)
    return text
