"""docs/cli.md, held to the commands."""

import re
from pathlib import Path

import click
import pytest

from intermute.cli import options
from intermute.cli.main import main
from intermute.cli.reservations import COMMANDS, WAIT_MAX_S
from intermute.domain import limits

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "cli.md").read_text("utf-8")


def described() -> dict[str, str]:
    """Option to the row that describes it."""
    rows = [line for line in PAGE.splitlines() if line.startswith("| `--")]
    return {name: row for row in rows for name in re.findall(r"`(--[a-z]+)`", row.split("|")[1])}


def options_of(command: click.Command) -> dict[str, click.Option]:
    return {
        next(name for name in option.opts if name.startswith("--")): option
        for option in command.params
        if isinstance(option, click.Option)
    }


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_every_command_and_option_is_described(command: click.Command):
    assert f"`intermute {command.name}" in PAGE
    for name, option in options_of(command).items():
        assert name in described(), name
        if option.envvar is not None:
            assert f"`{option.envvar}`" in described()[name]


def test_the_table_of_commands_has_all_but_the_servers_own():
    listed = set(re.findall(r"^\| `intermute ([a-z]+)", PAGE, re.MULTILINE))
    assert listed == main.commands.keys() - {"serve", "init"}


def test_no_other_option_is_described():
    assert described().keys() == {name for each in COMMANDS for name in options_of(each)}


@pytest.mark.parametrize("name", ["--mode", "--ttl", "--reason", "--timeout", "--all", "--mine"])
def test_options_of_some_commands_name_them(name: str):
    cells = described()[name].split("|")
    assert set(re.findall(r"`([a-z]+)`", cells[2])) == {
        command.name for command in COMMANDS if name in options_of(command)
    }


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_help_tells_the_exit_codes(command: click.Command):
    assert "Exit code 0" in (command.help or "")


def test_the_exit_codes_are_described():
    codes = {0, options.CONFLICT, options.USAGE, options.TIME_OVER, options.FAILED}
    assert set(map(int, re.findall(r"^\| (\d) \|", PAGE, re.MULTILINE))) == codes


def test_the_numbers_are_right():
    assert WAIT_MAX_S == 10 * 60
    assert f"up to {limits.PATTERNS_PER_REQUEST_MAX} paths in one request" in PAGE
    connect_s, answer_s = limits.CLI_CONNECT_MS // 1000, limits.CLI_ANSWER_MS // 1000
    assert f"A connection may take {connect_s} seconds, and its answer {answer_s} more" in PAGE
    assert f"more than {limits.CLI_ANSWER_LEN_MAX >> 20} MiB" in PAGE
    assert options.URL_DEFAULT in described()["--url"]
