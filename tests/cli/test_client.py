"""The commands and a server that is none of ours, or for which something cannot be sent."""

import json
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import repeat

import attrs
import pytest
from click.testing import CliRunner, Result

from intermute.cli.main import main
from intermute.domain import limits

AGENT = ("--agent", "ada")
COMMANDS = {
    "check": ("check", "src", *AGENT),
    "reserve": ("reserve", "src", *AGENT),
    "wait": ("wait", "src", *AGENT),
    "wait in line": ("wait", "--queue", "src", *AGENT),
    "release": ("release", "rsv_1", *AGENT),
    "renew": ("renew", "rsv_1", *AGENT),
    "reservations": ("reservations", *AGENT),
    "inbox": ("inbox", "--unread-pokes", "--project", "p", *AGENT),
}
of_every_command = pytest.mark.parametrize("command", COMMANDS)


@attrs.define
class Said:
    """What a server was asked, and the pieces of its answers as they go over the wire."""

    answers: list[Iterator[bytes]] = attrs.field(factory=list)
    asked: list[str] = attrs.field(factory=list)
    url: str = ""

    def answer(self, status: int, content: bytes, *fields: str) -> None:
        """Answer the next request; the length is said unless the fields say how it ends."""
        named = fields or (f"Content-Length: {len(content)}",)
        head = "\r\n".join([f"HTTP/1.1 {status} X", *named, "Connection: close", "", ""])
        self.answers.append(iter([head.encode() + content]))


def handler_of(said: Said) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            said.asked.append(f"{self.command} {self.path}\n{self.headers}")
            self.close_connection = True
            self.rfile.read(int(self.headers.get("Content-Length", "0")))
            with suppress(ConnectionError):
                for piece in said.answers.pop(0):
                    self.wfile.write(piece)

        do_GET = do_POST = do_DELETE = answer

        def log_message(self, *_: object) -> None:
            pass

    return Handler


@pytest.fixture
def servers() -> Iterator[tuple[Said, Said]]:
    """One that is asked, and another one."""
    with ExitStack() as stack:
        both = Said(), Said()
        for said in both:
            server = ThreadingHTTPServer(("127.0.0.1", 0), handler_of(said))
            said.url = f"http://127.0.0.1:{server.server_address[1]}"
            thread = threading.Thread(target=server.serve_forever, args=(0.01,))
            stack.callback(server.server_close)
            thread.start()
            stack.callback(thread.join)
            stack.callback(server.shutdown)
        yield both


@pytest.fixture
def said(servers: tuple[Said, Said]) -> Said:
    return servers[0]


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch):
    for name in ("AGENT", "PROJECT", "URL", "API_KEY", "REGISTRATION_TOKEN"):
        monkeypatch.delenv(f"INTERMUTE_{name}", raising=False)


def run(said: Said, command: str, *options: str, charset: str = "utf-8") -> Result:
    given = [*COMMANDS[command], "--url", said.url, *options]
    done = CliRunner(charset=charset).invoke(main, given)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done


def refused(done: Result, why: str) -> None:
    assert done.exit_code == 1, done.output
    assert why in done.stderr
    assert done.stdout == ""


# -- To nobody else -----------------------------------------------------------------------------


@of_every_command
@pytest.mark.parametrize("status", [302, 307])
def test_a_redirect_is_not_followed(
    servers: tuple[Said, Said], command: str, status: int, monkeypatch: pytest.MonkeyPatch
):
    said, other = servers
    monkeypatch.setenv("INTERMUTE_API_KEY", "imk_1")
    monkeypatch.setenv("INTERMUTE_REGISTRATION_TOKEN", "imt_1")
    said.answer(status, b'{"pokes": []}', f"Location: {other.url}/x", "Content-Length: 13")
    for _ in range(2):
        other.answer(200, b'{"pokes": []}')
    done = run(said, command)
    assert other.asked == []
    refused(done, f"with status {status}: not followed")
    (asked,) = said.asked
    assert "imk_1" in asked
    assert "imt_1" in asked


@pytest.mark.parametrize("command", ["reservations", "inbox"])
def test_a_proxy_of_the_environment_is_not_asked(
    servers: tuple[Said, Said], command: str, monkeypatch: pytest.MonkeyPatch
):
    said, other = servers
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, other.url)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    for each in servers:
        each.answer(200, b'{"pokes": [], "reservations": []}')
    assert run(said, command).exit_code == 0
    assert (len(said.asked), other.asked) == (1, [])


# -- Answers of no use --------------------------------------------------------------------------

LONG = json.dumps({"pokes": [], "reservations": [], "x": "y" * 60}).encode()


@pytest.mark.parametrize("command", ["reservations", "inbox"])
@pytest.mark.parametrize(
    ("content", "fields"),
    [
        (LONG, [f"Content-Length: {len(LONG)}"]),
        (LONG, ["X-Length: none"]),
        (b"%x\r\n%b\r\n0\r\n\r\n" % (len(LONG), LONG), ["Transfer-Encoding: chunked"]),
    ],
    ids=["of a length", "to the end", "in chunks"],
)
def test_no_more_of_an_answer_is_read_than_may_be(
    said: Said, command: str, content: bytes, fields: list[str], monkeypatch: pytest.MonkeyPatch
):
    for _ in range(2):
        said.answer(200, content, *fields)
    monkeypatch.setattr(limits, "CLI_ANSWER_LEN_MAX", len(LONG))
    assert run(said, command).exit_code == 0
    monkeypatch.setattr(limits, "CLI_ANSWER_LEN_MAX", len(LONG) - 1)
    refused(run(said, command), f"longer than {len(LONG) - 1} bytes")


@of_every_command
def test_the_success_of_somebody_else_is_none(said: Said, command: str):
    said.answer(200, b'{"status": "ok"}')
    refused(run(said, command), "not one of intermute")


@pytest.mark.parametrize("command", ["reservations", "inbox"])
@pytest.mark.parametrize(
    ("content", "fields", "why"),
    [
        (b"<html>", [], "not one of intermute"),
        (b'{"pokes":' * 100_000, [], "not one of intermute"),
        (b"{}", ["Content-Length: 3"], "1 more expected"),
        (b"2\r\n{}\r\n", ["Transfer-Encoding: chunked"], "no answer from"),
    ],
    ids=["no JSON", "too deep", "cut", "cut in chunks"],
)
def test_an_answer_of_no_use(said: Said, command: str, content: bytes, fields: list[str], why: str):
    said.answer(200, content, *fields)
    refused(run(said, command), why)


def test_what_a_stranger_says_does_not_reach_the_terminal_as_a_command(said: Said):
    said.answers.append(iter([b"\x1b[2J\r\n\r\n"]))
    done = run(said, "reservations")
    refused(done, "no answer from")
    assert "\x1b" not in done.stderr


@pytest.mark.parametrize("command", ["reservations", "inbox"])
def test_a_server_that_never_comes_to_an_end_is_given_up(
    said: Said, command: str, monkeypatch: pytest.MonkeyPatch
):
    """It always sends something, so that no read ever has to wait for long."""
    monkeypatch.setattr(limits, "CLI_ANSWER_MS", 50)
    monkeypatch.setattr(limits, "CLI_INBOX_ANSWER_MS", 50)
    said.answer(200, b"", "X-Length: none")
    head = next(said.answers.pop())
    said.answers.append(iter([head]))
    endless = repeat(b"x", 3_000_000)
    said.answers[0] = (piece for pieces in ([head], endless) for piece in pieces)
    refused(run(said, command), "timed out after 0.05 s")
    assert next(endless, None) is not None


def test_all_that_an_agent_holds_is_more_than_a_page(said: Said):
    for numbers, more in (((9, 8), True), ((7,), False)):
        held = [{"id": f"rsv_{n}"} for n in numbers]
        page = {"reservations": held, "cursor": numbers[-1], "more": more}
        said.answer(200, json.dumps(page).encode())
    for _ in range(3):
        said.answer(200, b'{"patterns": ["a"]}')
    done = CliRunner().invoke(main, ["release", "--all", *AGENT, "--url", said.url])
    assert done.exit_code == 0, done.output
    assert "cursor=8" in said.asked[1]
    deleted = [asked.split()[1] for asked in said.asked if asked.startswith("DELETE")]
    assert deleted == [f"/api/reservations/rsv_{n}" for n in (9, 8, 7)]


# -- What cannot be sent, or shown --------------------------------------------------------------


@pytest.mark.parametrize("command", ["check", "inbox"])
@pytest.mark.parametrize(
    "url",
    [
        *("ftp://x", "localhost:7338", "http://", "http://x:port", "http://x:0", "http://a b"),
        *("http://a..b", "http://x/a b", "http://x/\u00e4", "http://x\n", "http://me:secret@x"),
        *("http://x?y", "http://x#y"),
    ],
)
def test_a_url_that_is_none_is_wrong_usage(command: str, url: str):
    done = run(Said(url=url), command)
    assert done.exit_code == 2, done.output
    assert "--url" in done.stderr
    assert "secret" not in done.stderr


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("check", ["\udcff"]),
        ("check", ["--project", "\udcff"]),
        ("reserve", ["--reason", "\udcff"]),
        ("release", ["\udcff"]),
        ("reservations", ["--agent", "\udcff"]),
        ("inbox", ["--project", "\udcff"]),
        ("inbox", ["--key", "\udcff"]),
    ],
)
def test_what_is_not_utf8_is_wrong_usage(said: Said, command: str, options: list[str]):
    done = run(said, command, *options)
    assert done.exit_code == 2, done.output
    assert "is not UTF-8" in done.stderr
    assert said.asked == []


@pytest.mark.parametrize("command", ["reserve", "inbox"])
def test_a_terminal_without_the_characters_is_told_all_the_same(said: Said, command: str):
    poke = {"message_id": "m", "body": "\u4e2d"}
    said.answer(200, json.dumps({"pokes": [poke], "patterns": ["\u4e2d"]}).encode())
    done = run(said, command, charset="latin-1")
    assert done.exit_code == 0
    assert "\\u4e2d" in done.stdout


def test_json_is_utf8_in_every_terminal(said: Said):
    members = {"patterns": ["\u4e2d"]}
    said.answer(200, json.dumps(members, ensure_ascii=False).encode())
    done = run(said, "reserve", "--json", charset="latin-1")
    assert json.loads(done.stdout_bytes) == members
