"""`intermute inbox` against a server that says what the test wants."""

import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import attrs
import pytest
from click.testing import CliRunner, Result

from intermute.cli.main import main
from intermute.domain import limits

START = "--- INTERMUTE-PEER-MESSAGE START [from=bob, thread=t{0}, trust=LOW] ---"


@attrs.define
class Said:
    """What the server was asked, and what it answers: by path, a list of pages or statuses."""

    pages: list[Any]
    acks: dict[str, int] = attrs.field(factory=dict)
    asked: list[tuple[str, str, dict[str, str], dict[str, str]]] = attrs.field(factory=list)
    url: str = ""

    @property
    def acked(self) -> list[str]:
        return [path.split("/")[-2] for method, path, _, _ in self.asked if method == "POST"]


def handler_of(said: Said) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def note(self) -> str:
            parts = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(parts.query).items()}
            headers = {name.lower(): value for name, value in self.headers.items()}
            said.asked.append((self.command, parts.path, query, headers))
            return parts.path

        def answer(self, status: int, body: Any) -> None:
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def do_GET(self) -> None:
            self.note()
            page = said.pages.pop(0)
            if isinstance(page, tuple):
                self.answer(*page)
            else:
                self.answer(200, page)

        def do_POST(self) -> None:
            message_id = unquote(self.note().split("/")[-2])
            status = said.acks.get(message_id, 200)
            self.answer(status, {"status": "ok"} if status == 200 else {"detail": "broken"})

        def log_message(self, *_: Any) -> None:
            pass

    return Handler


@pytest.fixture
def said() -> Iterator[Said]:
    found = Said([])
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler_of(found))
    found.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def page(*numbers: int, more: bool = False) -> dict[str, Any]:
    pokes = [
        {"message_id": f"m{n}", "sender": "bob", "body": f"{START.format(n)}\nbody {n}"}
        for n in numbers
    ]
    return {"pokes": pokes, "cursor": max(numbers, default=0), "more": more}


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch):
    for name in ("AGENT", "PROJECT", "URL", "API_KEY", "REGISTRATION_TOKEN"):
        monkeypatch.delenv(f"INTERMUTE_{name}", raising=False)


def run(said: Said, *options: str, env: dict[str, str] | None = None) -> Result:
    given = ["inbox", "--unread-pokes", "--agent", "ada", "--project", "p q"]
    return CliRunner().invoke(main, [*given, "--url", said.url, *options], env=env)


def test_pokes_are_printed_and_none_is_marked(said: Said):
    said.pages = [page(1, 2)]
    done = run(said)
    assert done.exit_code == 0
    assert done.stdout == f"{START.format(1)}\nbody 1\n---\n{START.format(2)}\nbody 2\n"
    assert said.acked == []
    method, path, query, headers = said.asked[0]
    assert (method, path) == ("GET", "/api/inbox/pokes")
    assert (query["agent"], query["project"]) == ("ada", "p q")
    assert headers["x-agent-id"] == "ada"
    assert "authorization" not in headers
    assert "x-agent-token" not in headers


def test_nothing_to_show_is_nothing_said(said: Said):
    said.pages = [page()]
    done = run(said, "--mark-surfaced")
    assert (done.exit_code, done.output) == (0, "")
    assert len(said.asked) == 1


def test_all_pages_are_read_before_anything_is_marked(said: Said):
    said.pages = [page(1, 2, more=True), page(3)]
    done = run(said, "--mark-surfaced")
    assert done.exit_code == 0
    assert done.stdout.count("body") == 3
    assert [query.get("since_cursor") for method, _, query, _ in said.asked if method == "GET"] == [
        "0",
        "2",
    ]
    assert said.acked == ["m1", "m2", "m3"]
    assert [method for method, *_ in said.asked] == ["GET", "GET", "POST", "POST", "POST"]
    assert all(query["agent"] == "ada" for _, _, query, _ in said.asked)


def test_b39_a_mark_that_fails_loses_nothing(said: Said):
    """Everything was printed, and a hook that drops the output of a failure keeps it."""
    said.pages = [page(1, 2, 3)]
    said.acks = {"m2": 500}
    done = run(said, "--mark-surfaced")
    assert done.exit_code == 0
    assert [f"body {n}" in done.stdout for n in (1, 2, 3)] == [True] * 3
    assert "2 will be shown again" in done.stderr
    assert said.acked == ["m1", "m2"]


def test_b39_a_page_that_fails_marks_nothing(said: Said):
    said.pages = [
        page(1, 2, more=True),
        (503, {"code": "storage_failed", "detail": "the disk failed"}),
    ]
    done = run(said, "--mark-surfaced")
    assert done.exit_code == 1
    assert done.stdout == ""
    assert "storage_failed: the disk failed" in done.stderr
    assert said.acked == []


@pytest.mark.parametrize("spelling", ["--token", "--agent-token"])
def test_keys_and_tokens_are_sent(said: Said, spelling: str):
    said.pages = [page(1), page(1)]
    done = run(said, "--key", "imk_1", spelling, "imt_1", "--mark-surfaced")
    assert done.exit_code == 0
    env = {"INTERMUTE_API_KEY": "imk_2", "INTERMUTE_REGISTRATION_TOKEN": "imt_2"}
    assert run(said, env=env).exit_code == 0
    shown = [(h["authorization"], h["x-agent-token"]) for *_, h in said.asked]
    assert shown == [("Bearer imk_1", "imt_1")] * 2 + [("Bearer imk_2", "imt_2")]


def test_agent_project_and_server_come_from_the_environment(said: Said):
    said.pages = [page()]
    env = {"INTERMUTE_AGENT": "eve", "INTERMUTE_PROJECT": "x", "INTERMUTE_URL": f"{said.url}/"}
    done = CliRunner().invoke(main, ["inbox", "--unread-pokes"], env=env)
    assert done.exit_code == 0, done.output
    assert said.asked[0][1] == "/api/inbox/pokes"
    assert said.asked[0][2]["agent"] == "eve"


def test_ids_are_quoted(said: Said):
    odd = page(1)
    odd["pokes"][0]["message_id"] = "a/b?c#d é"
    said.pages = [odd]
    assert run(said, "--mark-surfaced").exit_code == 0
    assert said.asked[1][1] == "/api/inbox/pokes/a%2Fb%3Fc%23d%20%C3%A9/ack"


@pytest.mark.parametrize(
    "options",
    [
        ["--agent", "a", "--project", "p"],
        ["--unread-pokes", "--project", "p"],
        ["--unread-pokes", "--agent", "a"],
        ["--unread-pokes", "--agent", "a", "--project", "p", "--url", "file:///etc/passwd"],
        ["--unread-pokes", "--agent", "a", "--project", "p", "--url", "nonsense"],
    ],
)
def test_wrong_usage_is_2(options: list[str]):
    assert CliRunner().invoke(main, ["inbox", *options]).exit_code == 2


@pytest.mark.parametrize(
    "answer",
    [
        (200, b"no json"),
        (200, []),
        (200, {"pokes": None}),
        (200, {"pokes": ["x"]}),
        (200, {"pokes": [{"message_id": "m1"}]}),
        (200, {"pokes": [{"body": "without an id"}]}),
        (200, {"pokes": [{"message_id": "m1", "body": "half a \ud800 character"}]}),
        (401, {"error": "unauthorized"}),
        (401, b""),
        (500, b"\xff"),
    ],
)
def test_an_answer_of_no_use_is_1(said: Said, answer: tuple[int, Any]):
    said.pages = [answer]
    done = run(said, "--mark-surfaced")
    assert done.exit_code == 1
    assert done.stdout == ""
    assert "cannot be read" in done.stderr
    assert said.acked == []


def test_a_server_that_says_more_for_ever_is_left(said: Said):
    said.pages = [page(1, more=True), page(more=True)]
    assert run(said).exit_code == 0
    assert len(said.asked) == 2


def test_nobody_there_is_1(said: Said):
    done = run(said, "--url", "http://127.0.0.1:1")
    assert done.exit_code == 1
    assert "cannot be read" in done.stderr


def test_a_server_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(limits, "CLI_INBOX_ANSWER_MS", 50)
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        given = ["inbox", "--unread-pokes", "--agent", "a", "--project", "p", "--url", url]
        done = CliRunner().invoke(main, given)
    assert done.exit_code == 1
    assert "timed out" in done.stderr
