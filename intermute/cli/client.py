"""HTTP for the command line: one request at a time, with the standard library's `http.client`.

Every command, and so every hook, pays for what it loads each time it runs; a library for HTTP
would cost it more than the request does.

Redirects are not followed and the proxy variables of the environment are not looked at, so a key
goes to the server that was named and to nobody else.
"""

import http.client
import json
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Timer
from typing import Any
from urllib.parse import SplitResult, urlencode, urlsplit

import attrs

from intermute.cli.wording import plain
from intermute.domain import limits


class Unreachable(Exception):
    """Nobody answered, or not in a way that can be understood; the text says how that came."""


@attrs.frozen
class Answer:
    """What the server said.

    Attributes:
        text: The body as it came, JSON.
        members: The same as an object.
    """

    status: int
    text: str
    members: dict[str, Any]


class Client:
    """Asks one server.

    Args:
        url: Where it is, `http://` or `https://`; with a socket only its path counts.
        socket_path: A Unix socket to ask through instead.
        headers: What every request says of the asker.
        answer_ms: How long an answer may take, from the connection to the last byte of it.

    Raises:
        ValueError: The URL is none.
    """

    def __init__(
        self,
        url: str,
        *,
        socket_path: Path | None = None,
        headers: Mapping[str, str] | None = None,
        answer_ms: int = limits.CLI_ANSWER_MS,
    ) -> None:
        parts = _checked(url)
        self._secure = parts.scheme == "https"
        self._host = parts.hostname or ""
        # Without a port, `http.client` would look for one in an address of IPv6.
        self._port = parts.port or (443 if self._secure else 80)
        self._base = parts.path.rstrip("/")
        self._socket_path = socket_path
        self._headers = {name: text.encode() for name, text in (headers or {}).items()}
        self._answer_s = answer_ms / 1000
        self._shown = str(socket_path) if socket_path is not None else url

    def ask(
        self,
        method: str,
        path: str,
        *,
        query: Sequence[tuple[str, str]] = (),
        body: Mapping[str, Any] | None = None,
        wait_s: float = 0.0,
        told: str | None = None,
    ) -> Answer:
        """The answer to one request, at most `CLI_ANSWER_LEN_MAX` bytes of it.

        Args:
            wait_s: How long the server was asked to wait before it answers.
            told: A member that every answer but a refusal has. Without it somebody else has
                answered, whose words must not be taken for a success.

        Raises:
            Unreachable.
        """
        target = self._base + path + (f"?{urlencode(query)}" if query else "")
        headers: dict[str, str | bytes] = {"Accept": "application/json", **self._headers}
        data = None
        if body is not None:
            data = json.dumps(body, ensure_ascii=False).encode()
            headers["Content-Type"] = "application/json"
        connection = self._connection()
        try:
            connection.connect()
            with _ending(connection.sock, wait_s + self._answer_s):
                connection.request(method, target, body=data, headers=headers)
                with connection.getresponse() as response:
                    content = _content(response)
        except (OSError, http.client.HTTPException) as error:
            said = str(error) or type(error).__name__
            raise Unreachable(plain(f"no answer from {self._shown}: {said}")) from error
        finally:
            connection.close()
        return _read(response.status, content, told)

    def _connection(self) -> http.client.HTTPConnection:
        timeout = limits.CLI_CONNECT_MS / 1000
        if self._socket_path is not None:
            return _UnixConnection(self._socket_path, timeout)
        kind = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
        return kind(self._host, self._port, timeout=timeout)


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def _checked(url: str) -> SplitResult:
    """The parts of a URL that says where a server is, and nothing else.

    Raises:
        ValueError: It is none.
    """
    parts = urlsplit(url)
    known = parts.scheme in ("http", "https") and parts.hostname
    if not known or parts.username is not None or parts.query or parts.fragment:
        raise ValueError("write it as http://HOST:PORT or https://HOST:PORT")
    if " " in url or not url.isprintable() or not parts.path.isascii():
        raise ValueError("it has characters that no URL has")
    if parts.port == 0:
        raise ValueError("no server is at port 0")
    try:
        (parts.hostname or "").encode("idna")
    except UnicodeError:
        raise ValueError("its host is no name of a host") from None
    return parts


@contextmanager
def _ending(sock: socket.socket, seconds: float) -> Iterator[None]:
    """End the connection after so long, for whoever still writes to it or reads from it.

    The timeout of a socket counts anew with every byte that comes, so a server that sends one now
    and then could hold a command for ever.

    Raises:
        TimeoutError: At the end, when the time was over.
    """
    over = Event()

    def end() -> None:
        over.set()
        with suppress(OSError):
            # Not the method of a TLS socket, which would take it apart under its reader.
            socket.socket.shutdown(sock, socket.SHUT_RDWR)

    sock.settimeout(None)
    timer = Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    except (OSError, http.client.HTTPException):
        if not over.is_set():
            raise
    finally:
        timer.cancel()
    if over.is_set():
        raise TimeoutError(f"timed out after {seconds:g} s")


def _content(response: http.client.HTTPResponse) -> bytes:
    """The body, whole.

    Raises:
        Unreachable: It is too long.
        OSError, http.client.HTTPException: It does not come, or not to its end.
    """
    most = limits.CLI_ANSWER_LEN_MAX
    too_long = response.length is not None and response.length > most
    content = b"" if too_long else response.read(most + 1)
    if too_long or len(content) > most:
        raise Unreachable(f"the answer is longer than {most} bytes")
    if response.length:
        raise http.client.IncompleteRead(content, response.length)
    return content


def _read(status: int, content: bytes, told: str | None) -> Answer:
    """The answer that this is.

    Raises:
        Unreachable: It cannot come from a server of this kind.
    """
    if 300 <= status < 400:
        raise Unreachable(f"the server sends elsewhere, with status {status}: not followed")
    try:
        text = content.decode()
        members = json.loads(text)
    except (ValueError, RecursionError):
        members = None
    if not isinstance(members, dict) or (status < 400 and told and told not in members):
        raise Unreachable(f"the answer, of status {status}, is not one of intermute")
    return Answer(status, text, members)
