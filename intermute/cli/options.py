"""What the commands for people have in common: their options, whom they ask, how they end."""

import shlex
from collections.abc import Callable, Iterator, Sequence
from functools import wraps
from pathlib import Path
from typing import Any, ClassVar, NoReturn, TypeVar

import attrs
import click
from click.core import ParameterSource

from intermute.cli import wording
from intermute.cli.client import Answer, Client, Unreachable
from intermute.cli.paths import collect, is_utf8
from intermute.domain import limits
from intermute.domain.modes import ABBREVIATIONS, Mode

FAILED, USAGE, TIME_OVER, CONFLICT = 1, 2, 3, 5
URL_DEFAULT = "http://127.0.0.1:7338"
_IN_THE_WAY = ("reservation_conflict", "deadlock")
_SHOWN_AGAIN = ("url", "socket", "project", "agent", "mode")

F = TypeVar("F", bound=Callable[..., Any])


class Duration(click.ParamType[float]):
    """A length of time such as `90`, `90s`, `15m` or `2h`, in seconds."""

    name = "duration"
    _UNITS: ClassVar = {"s": 1, "m": 60, "h": 3600}

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        if isinstance(value, int | float):
            return float(value)
        number, unit = (value[:-1], value[-1]) if value[-1:] in self._UNITS else (value, "s")
        try:
            seconds = float(number) * self._UNITS[unit]
        except ValueError:
            self.fail(f"{value!r} is no length of time; write 90, 90s, 15m or 2h", param, ctx)
        if not 0 < seconds < limits.TTL_ABSURD_MS / 1000:
            self.fail(f"{value!r} is not a length of time that can be meant", param, ctx)
        return seconds


@attrs.frozen
class Asker:
    """Who asks, whom, and how it wants to be told.

    Attributes:
        agent: The id of the agent it acts for, or None.
        again: The options that were given in so many words, for commands that are suggested. A
            key or token is never among them.
    """

    client: Client
    project: str | None
    agent: str | None
    as_json: bool
    again: tuple[str, ...]

    def ask(self, method: str, path: str, **members: Any) -> Answer:
        try:
            return self.client.ask(method, path, **members)
        except Unreachable as error:
            raise click.ClickException(str(error)) from error

    def named(self, **members: Any) -> dict[str, Any]:
        """The body of a request in the agent's name."""
        project = {} if self.project is None else {"project": self.project}
        return {**project, "agent_id": self.agent, **members}

    def require_agent(self) -> str:
        if self.agent is None:
            raise click.UsageError("say who you are: --agent ID, or INTERMUTE_AGENT")
        return self.agent

    def show(self, answer: Answer, lines: Iterator[str]) -> None:
        if self.as_json:
            click.echo(answer.text.encode())
            return
        for line in lines:
            click.echo(line)

    def suggest(self, command: str, words: Sequence[str]) -> str:
        return "Next: " + shlex.join(["intermute", command, *self.again, *words])


def fail(answer: Answer, asker: Asker) -> int:
    """Say what the server refused; the exit code that it stands for."""
    if asker.as_json:
        click.echo(answer.text.encode())
    else:
        click.echo(f"Error: {wording.problem(answer.members, answer.status)}", err=True)
    if answer.members.get("code") in _IN_THE_WAY:
        return CONFLICT
    return USAGE if answer.status == 400 else FAILED


def end(code: int) -> NoReturn:
    raise click.exceptions.Exit(code)


# -- Options ------------------------------------------------------------------------------------


def asking(command: F) -> F:
    """The options of every command here; the function is given an `Asker` instead of them."""

    @wraps(command)
    def run(
        url: str,
        socket: Path | None,
        project: str | None,
        agent: str | None,
        key: str | None,
        token: str | None,
        as_json: bool,
        **members: Any,
    ) -> None:
        client = connect(
            url, socket=socket, agent=agent, key=key, token=token, answer_ms=limits.CLI_ANSWER_MS
        )
        asker = Asker(client, project or None, agent or None, as_json, _again())
        command(asker, **members)

    for option in reversed(_OPTIONS):
        run = option(run)
    return run  # type: ignore[return-value]


def connect(
    url: str,
    *,
    agent: str | None,
    key: str | None,
    token: str | None,
    answer_ms: int,
    socket: Path | None = None,
) -> Client:
    """The server that is named, asked in an agent's name.

    Raises:
        click.UsageError: The URL is none, or an option of the command cannot be sent.
    """
    _check_encoding()
    headers = {
        "Authorization": f"Bearer {key}" if key else "",
        "X-Agent-ID": agent or "",
        # Alone, without saying whose it is, it would be refused.
        "X-Agent-Token": token or "" if agent else "",
    }
    for name, text in headers.items():
        if not text.isprintable():
            raise click.UsageError(f"what would be sent as {name} has control characters")
    shown = {name: text for name, text in headers.items() if text}
    try:
        return Client(url, socket_path=socket, headers=shown, answer_ms=answer_ms)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--url") from error


def _check_encoding() -> None:
    """What is given as text, and will be sent, has to be some."""
    for name, given in click.get_current_context().params.items():
        for text in given if isinstance(given, tuple) else (given,):
            if isinstance(text, str) and not is_utf8(text):
                raise click.UsageError(f"what is given as {name.upper()} is not UTF-8")


def token_option(*spellings: str) -> Callable[[F], F]:
    return click.option(
        *spellings,
        "token",
        envvar="INTERMUTE_REGISTRATION_TOKEN",
        help="The agent's token; better from INTERMUTE_REGISTRATION_TOKEN.",
    )


URL = click.option(
    "--url",
    envvar="INTERMUTE_URL",
    default=URL_DEFAULT,
    show_default=True,
    help="Where the server is; also from INTERMUTE_URL.",
)
KEY = click.option(
    "--key",
    envvar="INTERMUTE_API_KEY",
    help="An API key; better from INTERMUTE_API_KEY, where nobody sees it.",
)
_OPTIONS: tuple[Callable[[Callable[..., Any]], Callable[..., Any]], ...] = (
    URL,
    click.option(
        "--socket",
        type=click.Path(path_type=Path),
        help="The server's Unix socket, instead of a URL.",
    ),
    click.option(
        "--project",
        envvar="INTERMUTE_PROJECT",
        help="The project, unless a key says it; also from INTERMUTE_PROJECT.",
    ),
    click.option(
        "--agent",
        envvar="INTERMUTE_AGENT",
        help="The id of the agent you are; also from INTERMUTE_AGENT.",
    ),
    KEY,
    token_option("--token"),
    click.option("--json", "as_json", is_flag=True, help="Print the server's answer as it is."),
)


def _again() -> tuple[str, ...]:
    context = click.get_current_context()
    words: list[str] = []
    for name in _SHOWN_AGAIN:
        given = context.get_parameter_source(name) is ParameterSource.COMMANDLINE
        if given and context.params.get(name) is not None:
            words += [f"--{name}", str(context.params[name])]
    return tuple(words)


@attrs.frozen
class Asked:
    """The paths that are meant, and the words by which they were given."""

    patterns: tuple[str, ...]
    words: tuple[str, ...]


def paths_option(command: F) -> F:
    """Paths from arguments, standard input or Git; the function is given an `Asked`."""

    @click.argument("paths", nargs=-1, metavar="PATH...")
    @click.option("--stdin", is_flag=True, help="Read names from standard input, as `-` does.")
    @click.option("-0", "--null", is_flag=True, help="They are separated by NUL, not by lines.")
    @click.option("--staged", is_flag=True, help="What is staged in Git.")
    @wraps(command)
    def run(paths: tuple[str, ...], stdin: bool, null: bool, staged: bool, **members: Any) -> None:
        if not (paths or stdin or staged):
            raise click.UsageError("name a path, or give --staged, --stdin or -")
        found = collect(paths, stdin=stdin, nul=null, staged=staged)
        flags = {"--stdin": stdin, "-0": null, "--staged": staged}
        words = [*(flag for flag, given in flags.items() if given)]
        if paths:
            # What looks like an option has to stand behind two dashes; one dash is no option.
            dashed = any(each.startswith("-") and each != "-" for each in paths)
            words += ["--", *paths] if dashed else paths
        command(asked=Asked(found, tuple(words)), **members)

    return run  # type: ignore[return-value]


def mode_option(command: F) -> F:
    names = [*(mode.value for mode in Mode), *ABBREVIATIONS]
    option = click.option(
        "--mode",
        type=click.Choice(names, case_sensitive=False),
        default=Mode.EXCLUSIVE.value,
        show_default=True,
        help="How the paths are wanted.",
    )
    return option(command)


TTL = click.option("--ttl", type=Duration(), help="Length of the lease: 90s, 15m, 2h.")
REASON = click.option("--reason", default="", help="Why, for others to see.")
