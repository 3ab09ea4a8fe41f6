"""The house rules, held as tests over the repository itself."""

import ast
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("actors", "intermute")

# Who may import whom, by the top of the dotted name inside the two packages.
MAY_IMPORT = {
    "actors": set(),
    "intermute.globs": set(),
    "intermute.domain": {"intermute.globs"},
    "intermute.wire": {"intermute.domain", "intermute.globs"},
    "intermute.storage": {"intermute.domain", "intermute.globs"},
    "intermute.project": {
        "actors",
        "intermute.domain",
        "intermute.globs",
        "intermute.storage",
    },
    "intermute.web": {
        "actors",
        "intermute.domain",
        "intermute.globs",
        "intermute.project",
        "intermute.wire",
    },
    "intermute.app": {
        "actors",
        "intermute.domain",
        "intermute.globs",
        "intermute.project",
        "intermute.storage",
        "intermute.web",
        "intermute.wire",
    },
    "intermute.cli": {"intermute", "intermute.app", "intermute.domain"},
    "intermute": set(),
}

# Modules and functions over the limits. Either list may only shrink.
LONG_MODULES: set[str] = set()
LONG_FUNCTIONS: set[str] = set()

BANNED_NAMES = {"utils", "util", "helpers", "helper", "common", "manager", "misc"}
BROAD_EXCEPT_ALLOWED = {
    "actors/supervision.py",
    "intermute/project/actor.py",
    "intermute/web/rpc.py",
    "intermute/web/server.py",
}
# Paths that a page on patterns shows, and no tests.
PATHS_OF_EXAMPLES = {"test_1.py", "test_10.py"}
PURE = ("intermute/domain", "intermute/globs", "intermute/wire")
# What pure code may import beside the packages themselves: what computes, and nothing else.
PURE_IMPORTS = {
    "attrs",
    "bisect",
    "collections",
    "contextlib",
    "datetime",
    "email.utils",
    "enum",
    "functools",
    "hashlib",
    "heapq",
    "hmac",
    "itertools",
    "math",
    "msgspec",
    "operator",
    "re",
    "sys",
    "typing",
    "unicodedata",
    "uuid",
}
# What some of those have all the same of files, clocks and randomness, and of ways around a list.
IMPURE_NAMES = {
    *("open", "input", "print", "exec", "eval", "__import__", "stdin", "stdout", "stderr"),
    *("now", "today", "utcnow", "localtime", "uuid1", "uuid4", "getnode"),
}


def modules(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def component(dotted: str) -> str:
    parts = dotted.split(".")
    return parts[0] if parts[0] == "actors" else ".".join(parts[:2])


def imported(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{relative(path)}: imports are absolute"
            module = node.module or ""
            if module in PACKAGES:
                found.update(
                    f"{module}.{alias.name}"
                    if (ROOT / module.replace(".", "/") / alias.name).exists()
                    or (ROOT / module.replace(".", "/") / f"{alias.name}.py").exists()
                    else module
                    for alias in node.names
                )
            else:
                found.add(module)
    return found


def own_component(path: Path) -> str:
    dotted = relative(path).removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    return component(dotted)


def test_imports_point_one_way():
    wrong = []
    for path in modules(*PACKAGES):
        own = own_component(path)
        for name in imported(path):
            if name.split(".")[0] not in PACKAGES:
                continue
            target = component(name)
            if target != own and target not in MAY_IMPORT[own]:
                wrong.append(f"{relative(path)} imports {name}")
    assert wrong == []


def test_every_component_has_a_rule():
    assert {own_component(path) for path in modules(*PACKAGES)} == set(MAY_IMPORT)


def impurities(source: str) -> list[str]:
    """What a module has that could make two runs differ, or wait: imports, names and `await`.

    A name counts wherever it is read, so that no clock is handed on as a function either.
    """
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if not _is_pure(alias.name)]
        elif isinstance(node, ast.ImportFrom):
            found += [] if _is_pure(node.module or "") else [node.module or "."]
            found += [alias.name for alias in node.names if alias.name in IMPURE_NAMES]
        elif isinstance(node, ast.Attribute | ast.Name) and isinstance(node.ctx, ast.Load):
            name = node.attr if isinstance(node, ast.Attribute) else node.id
            found += [name] if name in IMPURE_NAMES else []
        elif isinstance(node, ast.AsyncFunctionDef | ast.Await | ast.AsyncFor | ast.AsyncWith):
            found.append("async")
    return found


def _is_pure(module: str) -> bool:
    top = module.split(".")[0]
    return top in PACKAGES or bool({module, top} & PURE_IMPORTS)


def test_domain_globs_and_wire_are_pure():
    found = {relative(path): impurities(path.read_text()) for path in modules(*PURE)}
    assert {path: names for path, names in found.items() if names} == {}


@pytest.mark.parametrize(
    "line",
    [
        "import time",
        "import email.message",
        "from pathlib import Path",
        "from uuid import uuid4",
        "from os import path",
        "at = datetime.datetime.now(UTC)",
        "made_at = attrs.field(factory=datetime.now)",
        "day = date.today()",
        "token = uuid.uuid4()",
        "text = open('settings').read()",
        "sys.stdout.write('here')",
        "async def wait(): pass",
    ],
)
def test_what_is_not_pure_is_found(line):
    assert len(impurities(f"from datetime import datetime\n{line}\n")) == 1


def test_actors_stand_alone():
    allowed = {"trio", "attrs", "actors"}
    for path in modules("actors"):
        for name in imported(path):
            top = name.split(".")[0]
            assert top in allowed or top in sys.stdlib_module_names, f"{relative(path)}: {name}"


def test_modules_stay_short():
    long = {
        relative(path)
        for path in modules(*PACKAGES, "bench", "tests")
        if len(path.read_text().splitlines()) > 500
    }
    assert long == LONG_MODULES


def test_functions_stay_short():
    long = set()
    for path in modules(*PACKAGES, "bench", "tests"):
        for node in ast.walk(ast.parse(path.read_text())):
            is_function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            # A function that only holds others, such as a blueprint, is as long as what it holds.
            if is_function and _own_lines(node) > 70:
                long.add(f"{relative(path)}:{node.name}")
    assert long == LONG_FUNCTIONS


def _own_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    inner = sum(
        (child.end_lineno or 0) - child.lineno + 1
        for child in node.body
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
    )
    return (node.end_lineno or 0) - node.lineno + 1 - inner


def test_no_module_is_a_drawer():
    names = {relative(path) for path in modules(*PACKAGES, "bench") if path.stem in BANNED_NAMES}
    assert names == set()


def test_broad_excepts_stay_where_they_belong():
    wrong = set()
    for path in modules(*PACKAGES):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ExceptHandler) and _is_broad(node):
                wrong.add(relative(path))
    assert wrong == BROAD_EXCEPT_ALLOWED


def _is_broad(handler: ast.ExceptHandler) -> bool:
    kind = handler.type
    return kind is None or (isinstance(kind, ast.Name) and kind.id == "Exception")


def test_no_unfinished_marks():
    marks = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
    wrong = [
        f"{relative(path)}:{number}"
        for path in modules(*PACKAGES, "bench")
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if marks.search(line)
    ]
    assert wrong == []


def test_public_modules_have_docstrings():
    bare = [
        relative(path)
        for path in modules(*PACKAGES, "bench")
        if ast.get_docstring(ast.parse(path.read_text())) is None
    ]
    assert bare == []


@pytest.fixture(scope="module")
def known_tests():
    """The names of all tests, and of the modules that hold them with and without `.py`."""
    found = {name for path in modules("tests") for name in (path.stem, path.name)}
    for path in modules("tests"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                found.add(node.name)
            elif isinstance(node, ast.Assign):
                found.update(name.id for name in node.targets if isinstance(name, ast.Name))
    return found


def named_tests(text):
    """The tests that a text names in backticks, and the modules of tests by path or by name."""
    paths = re.findall(r"`(?:tests/\w+/)?(test_\w+\.py)(?:::(\w+))?`", text)
    return {*re.findall(r"`((?:test_|Test)\w+)`", text), *(name for path in paths for name in path)}


DOCUMENTS = sorted(relative(path) for path in (ROOT / "docs").rglob("*.md"))
# These two are where invariants and promises are told with what holds them.
NAMING = {"docs/architecture.md", "docs/evidence.md"}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_test_that_a_document_names_exists(document, known_tests):
    named = named_tests((ROOT / document).read_text()) - {"", *PATHS_OF_EXAMPLES}
    assert named - known_tests == set()
    assert named or document not in NAMING


def test_a_test_that_is_not_there_is_missed(known_tests):
    text = "`test_gone` `TestGone` `tests/web/test_gone.py::test_away` `test_lost.py` `TestWaiting`"
    missed = {"test_gone", "TestGone", "test_gone.py", "test_away", "test_lost.py"}
    assert named_tests(text) - {""} - known_tests == missed


def test_every_invariant_names_a_test():
    text = (ROOT / "docs/architecture.md").read_text()
    table = text.partition("| there is no … | held by |\n|---|---|\n")[2].partition("\n\n")[0]
    rows = table.splitlines()
    assert len(rows) > 30
    assert [row for row in rows if not named_tests(row.rpartition(" | ")[2])] == []


def test_architecture_has_its_size():
    lines = len((ROOT / "docs/architecture.md").read_text().splitlines())
    assert 150 <= lines <= 250


def test_every_relative_link_in_the_documents_leads_somewhere():
    documents = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    broken = [
        f"{relative(path)} -> {target}"
        for path in documents
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text())
        if not (path.parent / target).exists()
    ]
    assert broken == []
