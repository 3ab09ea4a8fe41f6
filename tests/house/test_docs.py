"""The documentation, held to the code: routes, codes, options, limits, headings, examples."""

import ast
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from intermute.app import Application, Settings
from intermute.cli import main as cli
from intermute.domain import limits
from intermute.globs import limits as pattern_limits
from intermute.web.server import ServerLimits
from intermute.wire.problems import STATUSES

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
NAMES = [page.relative_to(ROOT).as_posix() for page in PAGES]

_CODE = re.compile(r"[a-z]+(?:_[a-z]+)*")
_LEVELS = {"info": "INFO", "warning": "WARNING", "error": "ERROR", "exception": "ERROR"}
_UNITS = {
    "ms": 1,
    "s": 1_000,
    "min": 60_000,
    "h": 3_600_000,
    "days": 86_400_000,
    "": 1,
    "bytes": 1,
    "characters": 1,
    "MiB": 1024 * 1024,
}


def text_of(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


def blocks(name: str, language: str) -> list[str]:
    found = re.findall(r"^ *```(\w*)\n(.*?)^ *```$", text_of(name), re.MULTILINE | re.DOTALL)
    return [body for kind, body in found if kind == language]


def rows(name: str) -> Iterator[list[str]]:
    """The cells of every row of every table, backticks and bold marks left as they are."""
    for line in text_of(name).splitlines():
        if line.startswith("|") and not line.startswith("|---"):
            yield [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


# -- Routes -------------------------------------------------------------------------------------


def described_routes() -> list[tuple[str, str]]:
    found = []
    for methods, path in re.findall(r"^### ([A-Z, ]+) (/\S*)$", text_of("docs/protocol.md"), re.M):
        path = re.sub(r"\{[a-z_]+\}", "{}", path)
        found += [(method.strip(), path) for method in methods.split(",")]
    return found


def served_routes(application: Application) -> list[tuple[str, str]]:
    found = []
    for rule in application.quart.url_map.iter_rules():
        path = re.sub(r"<[^>]+>", "{}", rule.rule)
        found += [(method, path) for method in (rule.methods or ()) if method != "HEAD"]
    return found


@pytest.fixture
def application(tmp_path: Path) -> Application:
    return Application(Settings(data=tmp_path / "data", keys_file=tmp_path / "keys.yaml"))


def test_the_protocol_describes_every_route_and_no_other(application: Application):
    assert sorted(described_routes()) == sorted(served_routes(application))


# -- Codes --------------------------------------------------------------------------------------


def _literal(node: ast.expr) -> object:
    return node.value if isinstance(node, ast.Constant) else None


def _called(node: ast.Call) -> str:
    return node.func.id if isinstance(node.func, ast.Name) else ""


def _codes_in(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Pairs of code and status that stand literally in a module of the web.

    They are the arguments of a call (status, code, …), the 503s of `_unavailable` (code, …), and
    the entries of tables {status: code} and {status: (code, title)}.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and node.args:
            values = [_literal(argument) for argument in node.args[:2]]
            if _called(node) == "_unavailable" and isinstance(values[0], str):
                yield values[0], 503
            elif len(values) == 2 and isinstance(values[0], int) and isinstance(values[1], str):
                yield values[1], values[0]
        if isinstance(node, ast.Dict):
            for key, entry in zip(node.keys, node.values, strict=True):
                status = None if key is None else _literal(key)
                code = _literal(entry.elts[0] if isinstance(entry, ast.Tuple) else entry)
                if isinstance(status, int) and isinstance(code, str):
                    yield code, status


def codes_of_the_code() -> dict[str, set[str]]:
    found = {code.value: {str(status)} for code, (status, _) in STATUSES.items()}
    for path in (ROOT / "intermute/web").glob("*.py"):
        for code, status in _codes_in(ast.parse(path.read_text("utf-8"))):
            if 400 <= status <= 599 and _CODE.fullmatch(code):
                found.setdefault(code, set()).add(str(status))
    # What Werkzeug may raise beside the statuses that are named.
    found["http_error"] = {"any"}
    return found


def codes_of_the_protocol() -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for cells in rows("docs/protocol.md"):
        if len(cells) == 4 and re.fullmatch(r"\d{3}|any", cells[1]):
            found.setdefault(cells[0].strip("`"), set()).add(cells[1])
    return found


def test_the_protocol_lists_every_code_with_its_status_and_no_other():
    assert codes_of_the_protocol() == codes_of_the_code()


def test_the_codes_of_the_web_are_found():
    """The search above must not become empty unnoticed."""
    found = codes_of_the_code()
    known = {"unknown_host", "unauthorized", "overloaded", "not_found", "headers_too_large"}
    assert known <= found.keys()
    assert len(found) > len(STATUSES) + 10


def test_the_protocol_speaks_of_no_other_codes():
    listed = codes_of_the_protocol().keys()
    for line in re.findall(r"Errors: .*?(?=\n\n|\Z)", text_of("docs/protocol.md"), re.DOTALL):
        assert set(re.findall(r"`([a-z_]+)`", line)) <= listed, line


# -- Lines of the log ---------------------------------------------------------------------------


def lines_of_the_code() -> dict[str, str]:
    """The level of each line that is logged above DEBUG, with `…` for what differs."""
    found: dict[str, str] = {}
    for folder in ("actors", "intermute"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                    level = _LEVELS.get(node.func.attr)
                    if level is not None and ast.unparse(node.func.value) == "_log":
                        text = _literal(node.args[0])
                        assert isinstance(text, str), f"{path}:{node.lineno}"
                        found[re.sub(r"%[sdr]", "…", text)] = level
    return found


def lines_of_operations() -> dict[str, str]:
    found: dict[str, str] = {}
    for cells in rows("docs/operations.md"):
        if len(cells) == 3 and cells[1] in _LEVELS.values():
            for line in re.findall(r"`([^`]+)`", cells[0]):
                found[re.sub(r"\b[A-Z]+\b", "…", line)] = cells[1]
    return found


def test_operations_lists_every_line_of_the_log_with_its_level_and_no_other():
    assert lines_of_operations() == lines_of_the_code()
    assert len(lines_of_the_code()) > 15


# -- Options ------------------------------------------------------------------------------------


def options_of(command: click.Command) -> dict[str, click.Option]:
    return {option.opts[0]: option for option in command.params if isinstance(option, click.Option)}


@pytest.mark.parametrize(
    "command", [cli.serve, cli.init, cli.inbox], ids=["serve", "init", "inbox"]
)
def test_operations_describes_every_option(command: click.Command):
    described: dict[str, set[str]] = {}
    for cells in rows("docs/operations.md"):
        if len(cells) == 3 and cells[0].startswith("`--"):
            described.setdefault(cells[0].strip("`"), set()).add(cells[1].strip("`"))
    for name, option in options_of(command).items():
        assert name in described, name
        default = option.get_default(click.Context(command))
        if isinstance(default, str | int | Path) and not isinstance(default, bool):
            assert str(default) in described[name], name


def test_operations_describes_no_option_that_is_not_there():
    there = {**options_of(cli.serve), **options_of(cli.init), **options_of(cli.inbox)}
    for cells in rows("docs/operations.md"):
        if cells[0].startswith("`--"):
            assert cells[0].strip("`") in there, cells[0]


# -- Limits -------------------------------------------------------------------------------------


def limit_rows() -> Iterator[tuple[str, str]]:
    """The constant and the value of each row of a table of limits."""
    for name, prefix in (("docs/operations.md", ""), ("docs/reservations.md", "globs.")):
        for cells in rows(name):
            constant = cells[-1].strip("`")
            if len(cells) == 4 and re.fullmatch(r"(?:\w+\.)?\w+_(?:\w*[A-Za-z])", constant):
                yield prefix + constant, cells[1]


def value_of(constant: str) -> float:
    owner, name = constant.rsplit(".", 1)
    where: object = {
        "limits": limits,
        "globs": pattern_limits,
        "ServerLimits": ServerLimits(),
    }[owner]
    value = getattr(where, name)
    assert isinstance(value, int | float)
    return value


def written_value(constant: str, written: str) -> float:
    """What a cell such as `30 min` says, in the unit of the constant."""
    found = re.fullmatch(r"([\d,]+) ?(\w*)", written)
    assert found is not None, f"{constant}: {written!r} is not a number with a unit"
    value = int(found[1].replace(",", "")) * _UNITS[found[2]]
    if constant.lower().endswith("_us"):
        return value * 1_000
    if constant.endswith("_s"):
        return value / 1_000
    return value


@pytest.mark.parametrize(("constant", "written"), list(limit_rows()))
def test_a_limit_in_a_table_is_the_one_in_the_code(constant: str, written: str):
    assert written_value(constant, written) == value_of(constant)


def test_the_limits_are_found():
    assert len(list(limit_rows())) > 50


# -- Examples and links -------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["README.md", *NAMES])
def test_json_examples_are_json(name: str):
    for block in blocks(name, "json"):
        json.loads(block)


@pytest.mark.parametrize("name", ["README.md", *NAMES])
def test_bodies_in_shell_examples_are_json(name: str):
    for block in blocks(name, "sh"):
        for body in re.findall(r"'(\{[^']*)'", block):
            assert isinstance(json.loads(body), dict), body


@pytest.mark.parametrize("name", ["README.md", *NAMES])
def test_shell_examples_are_shell(name: str):
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("there is no bash")
    for block in blocks(name, "sh"):
        done = subprocess.run(
            [bash, "-n"], input=block, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{block}\n{done.stderr}"


def _anchors(name: str) -> set[str]:
    titles = re.findall(r"^#+ (.*)$", text_of(name), re.MULTILINE)
    return {
        re.sub(r"[^\w\- ]", "", title.replace("`", "").lower()).replace(" ", "-")
        for title in titles
    }


@pytest.mark.parametrize("name", NAMES)
def test_links_to_a_heading_lead_to_one(name: str):
    for path, anchor in re.findall(r"\]\(([^)\s:#]*)#([^)\s]+)\)", text_of(name)):
        page = (ROOT / name).parent / path if path else ROOT / name
        assert anchor in _anchors(page.resolve().relative_to(ROOT).as_posix()), f"{path}#{anchor}"
