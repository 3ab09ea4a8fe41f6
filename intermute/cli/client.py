"""HTTP for the command line: one request at a time, with nothing but the standard library.

Redirects are not followed and the proxy variables of the environment are not looked at, so a key
goes to the server that was named and to nobody else.
"""

import http.client
import json
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import attrs

CONNECT_S = 10.0
ANSWER_S = 60.0


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

    Raises:
        ValueError: The URL is none.
    """

    def __init__(
        self, url: str, *, socket_path: Path | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("write it as http://HOST:PORT or https://HOST:PORT")
        self._secure = parts.scheme == "https"
        self._host = parts.hostname
        self._port = parts.port
        self._base = parts.path.rstrip("/")
        self._socket_path = socket_path
        self._headers = {name: text.encode() for name, text in (headers or {}).items()}
        self._shown = str(socket_path) if socket_path is not None else url

    def ask(
        self,
        method: str,
        path: str,
        *,
        query: Sequence[tuple[str, str]] = (),
        body: Mapping[str, Any] | None = None,
        wait_s: float = 0.0,
    ) -> Answer:
        """The answer to one request.

        Args:
            wait_s: How long the server was asked to wait before it answers.

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
            connection.sock.settimeout(wait_s + ANSWER_S)
            connection.request(method, target, body=data, headers=headers)
            response = connection.getresponse()
            return _read(response.status, response.read())
        except (OSError, http.client.HTTPException) as error:
            said = str(error) or type(error).__name__
            raise Unreachable(f"no answer from {self._shown}: {said}") from error
        finally:
            connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        if self._socket_path is not None:
            return _UnixConnection(self._socket_path)
        kind = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
        return kind(self._host, self._port, timeout=CONNECT_S)


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=CONNECT_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(CONNECT_S)
        self.sock.connect(str(self._path))


def _read(status: int, body: bytes) -> Answer:
    try:
        text = body.decode()
        members = json.loads(text)
    except ValueError:
        members = None
    if not isinstance(members, dict):
        raise Unreachable(f"the answer, of status {status}, is not one of intermute")
    return Answer(status, text, members)
