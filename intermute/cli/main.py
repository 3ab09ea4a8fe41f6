"""The `intermute` command: the server, its keys, and the commands of `intermute.cli.reservations`.

Exit code 2 for wrong usage, 1 for anything else that goes wrong, except that the commands of
`intermute.cli.reservations` have codes of their own for what they find out.
"""

import logging
import sys
from datetime import UTC, datetime, timedelta
from io import TextIOWrapper
from pathlib import Path

import click

from intermute import __version__
from intermute.cli.inbox import inbox
from intermute.cli.reservations import COMMANDS
from intermute.domain import limits

KEYS_FILE_VARIABLE = "INTERMUTE_KEYS_FILE"
KEYS_FILE_DEFAULT = "intermute.keys.yaml"


@click.group(invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="intermute")
@click.pass_context
def main(context: click.Context) -> None:
    """Coordination for agents that edit the same repository at the same time."""
    if isinstance(sys.stdout, TextIOWrapper):
        # Where a terminal's encoding lacks a character, what was done must be told all the same.
        sys.stdout.reconfigure(errors="backslashreplace")
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


for _command in (*COMMANDS, inbox):
    main.add_command(_command)

_keys_file_option = click.option(
    "--keys-file",
    envvar=KEYS_FILE_VARIABLE,
    default=KEYS_FILE_DEFAULT,
    show_default=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help=f"The keys file; also from {KEYS_FILE_VARIABLE}.",
)


@main.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=7338, show_default=True, type=click.IntRange(0, 65535))
@click.option(
    "--db",
    default="intermute-data",
    show_default=True,
    type=click.Path(path_type=Path),
    help="Data directory, one file for each project.",
)
@click.option(
    "--socket", type=click.Path(path_type=Path), help="Unix socket to listen on as well (0660)."
)
@_keys_file_option
@click.option(
    "--allowed-host",
    multiple=True,
    help="A name beside localhost under which the server is reached; may be repeated.",
)
@click.option(
    "--trusted-proxy",
    multiple=True,
    help="Address or network of a proxy whose forwarding headers are believed; may be repeated.",
)
@click.option(
    "--commit",
    default="auto",
    show_default=True,
    type=click.Choice(["auto", "inline", "thread"]),
    help="Where transactions are committed.",
)
@click.option(
    "--patterns-per-agent",
    default=limits.PATTERNS_PER_AGENT_DEFAULT,
    show_default=True,
    type=click.IntRange(1, limits.PATTERNS_PER_AGENT_MAX),
    help="How many patterns one agent may hold.",
)
@click.option(
    "--require-agent-tokens",
    is_flag=True,
    help="Registered agents act only with their token (else: once they have shown it).",
)
@click.option(
    "--live-transport",
    is_flag=True,
    help="Type messages into agents' tmux panes, in projects that do not say otherwise.",
)
@click.option(
    "--live-tmux-socket",
    type=click.Path(path_type=Path),
    help="Socket of the tmux server with those panes (else: the default one).",
)
@click.option(
    "--log-level",
    default="info",
    show_default=True,
    type=click.Choice(["debug", "info", "warning", "error"]),
)
def serve(
    host: str,
    port: int,
    db: Path,
    socket: Path | None,
    keys_file: Path,
    allowed_host: tuple[str, ...],
    trusted_proxy: tuple[str, ...],
    commit: str,
    patterns_per_agent: int,
    require_agent_tokens: bool,
    live_transport: bool,
    live_tmux_socket: Path | None,
    log_level: str,
) -> None:
    """Run the server until SIGTERM or SIGINT. SIGHUP reads the keys file again."""
    # The server's modules cost half a second to load, which no other command should pay.
    from intermute import app
    from intermute.cli.serving import run

    logging.basicConfig(
        level=log_level.upper(), stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s"
    )
    settings = app.Settings(
        data=db,
        keys_file=keys_file,
        host=host,
        port=port,
        socket=socket,
        allowed_hosts=allowed_host,
        trusted_proxies=trusted_proxy,
        commit=app.CommitMode(commit),
        patterns_per_agent_max=patterns_per_agent,
        tokens_required=require_agent_tokens,
        connections_max=app.connections_that_fit(),
        live_transport=live_transport,
        live_tmux_socket=live_tmux_socket,
    )
    run(settings)


@main.command()
@click.option("--project", required=True, help="The project that the key is for.")
@_keys_file_option
@click.option(
    "--operator",
    is_flag=True,
    help="The key may retire any agent of the project, end anybody's reservation, and switch live "
    "delivery on and off.",
)
@click.option("--expires-days", type=click.IntRange(1, 3650), help="Days until the key ends.")
def init(project: str, keys_file: Path, operator: bool, expires_days: int | None) -> None:
    """Make an API key for a project and print it once."""
    from intermute.app import START_ERRORS, make_key

    expires_at = None if expires_days is None else datetime.now(UTC) + timedelta(days=expires_days)
    try:
        key = make_key(keys_file, project, operator=operator, expires_at=expires_at)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    except START_ERRORS as error:
        raise click.ClickException(str(error)) from error
    click.echo(key)
    click.echo(
        f"The key for project {project!r} is above, once: {keys_file} keeps only its hash.\n"
        "Send it as `Authorization: Bearer KEY`. A running server takes it up by itself.",
        err=True,
    )
