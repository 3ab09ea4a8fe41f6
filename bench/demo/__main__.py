"""`python -m bench.demo`: run the demo and say whether two agents ever held the same file."""

import random
import signal
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import click
from rich.console import Console
from rich.text import Text

from bench.demo import repository
from bench.demo.board import Board
from bench.demo.evidence import Evidence
from bench.demo.failure import DemoError, NotARepository
from bench.demo.proof import Check, counted, prove
from bench.demo.run import Settings, Workshop
from bench.demo.table import Display, print_checks
from bench.server import ServerFailed
from intermute.storage.faults import StorageError

NEVER = "no two agents ever held the same file"
COLLIDED = "the claim does not hold: the counterexamples are above"
_PREFIX = "intermute-demo-"


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--repo", default=".", show_default=True, help="The Git repository to clone: a path or a URL."
)
@click.option("--agents", default=6, show_default=True, type=click.IntRange(1, 64))
@click.option(
    "--rounds",
    default=12,
    show_default=True,
    type=click.IntRange(1, 10_000),
    help="How many things each agent sets out to do.",
)
@click.option(
    "--pace",
    default=0.15,
    show_default=True,
    type=click.FloatRange(0, 60),
    help="Seconds an agent thinks over an edit, on average.",
)
@click.option(
    "--limit",
    default=120.0,
    show_default=True,
    type=click.FloatRange(1, 86_400),
    help="Seconds after which no agent begins another round.",
)
@click.option("--seed", type=click.IntRange(0), help="Repeats the agents' choices.")
@click.option("--keep", is_flag=True, help="Keep the scratch directory and say where it is.")
def main(
    repo: str, agents: int, rounds: int, pace: float, limit: float, seed: int | None, keep: bool
) -> None:
    """Let agents edit one repository at once, then prove that they never collided.

    The repository is cloned into scratch space and is itself left alone. Exit code 0 when the
    proof holds, 1 when it does not or something failed, 2 for wrong usage.
    """
    settings = Settings(
        source=repo,
        agents=agents,
        rounds=rounds,
        pace_s=pace,
        limit_s=limit,
        seed=random.SystemRandom().randrange(10**6) if seed is None else seed,
    )
    # So that a stopped demo still ends what it started and cleans up.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    console = Console(highlight=False)
    try:
        with ExitStack() as stack:
            scratch = _scratch(stack, keep=keep)
            if keep:
                console.print(Text(f"everything is kept in {scratch}"), soft_wrap=True)
            held = _run(console, settings, scratch)
    except NotARepository as error:
        raise click.BadParameter(str(error), param_hint="--repo") from error
    except (DemoError, ServerFailed, StorageError) as error:
        raise click.ClickException(str(error)) from error
    if not held:
        sys.exit(1)


def _scratch(stack: ExitStack, *, keep: bool) -> Path:
    if keep:
        return Path(tempfile.mkdtemp(prefix=_PREFIX))
    return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=_PREFIX)))


def _run(console: Console, settings: Settings, scratch: Path) -> bool:
    workshop = Workshop(settings, scratch)
    console.print(
        Text(
            f"{counted(settings.agents, 'agent')}, {counted(settings.rounds, 'round')} each, "
            f"in a clone of {repository.shown(settings.source)} "
            f"({counted(len(workshop.files), 'file')}, {len(workshop.hot)} wanted by everybody; "
            f"seed {settings.seed})"
        ),
        soft_wrap=True,
    )
    board = Board(workshop.names)
    with Display(console, board, rounds=settings.rounds) as display:
        records = workshop.run(board, on_change=display.update, period_s=display.period_s)
        display.finish()
    evidence = workshop.gather(records)
    checks = prove(evidence)
    console.print("\nThe proof, from the event log, the commits and the agents' journals:\n")
    print_checks(console, checks)
    return _conclude(console, board, evidence, checks)


def _conclude(console: Console, board: Board, evidence: Evidence, checks: Sequence[Check]) -> bool:
    held = not any(check.findings for check in checks)
    console.print(
        Text(
            f"\n{counted(board.total('grants'), 'grant')}, "
            f"{counted(board.total('conflicts'), 'conflict')}, "
            f"{counted(len(evidence.commits), 'commit')}"
        )
    )
    console.print(Text(NEVER if held else COLLIDED, style="bold green" if held else "bold red"))
    return held


if __name__ == "__main__":
    main()
