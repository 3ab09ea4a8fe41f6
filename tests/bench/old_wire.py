"""A small server that speaks only the old wire: no sets, no waiting, no cursors on feeds.

Long answers come in chunks and events in fragments, as the service that it stands for sends them.
It can be told to break a promise, so that what finds that out can be tested.
"""

import base64
import hashlib
import json
import threading
import uuid
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

HELD_PER_AGENT_MAX = 10
_ACCEPT = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_CHUNKED_FROM = 300


class State:
    """All that the server remembers.

    Attributes:
        faults: The promises that it breaks: `two winners`, `lost frames` (of one subscriber),
            and in projects of workloads `busy` (503 to every second reserve), `hangs up` (on every
            fifth reserve, once done), `loses an answer` (of the first grant in each: 503, outcome
            unknown), `dies` (answers nothing at all), `grants no id`, `holds 30` (and no more);
            `full` reserves nothing, `no messages` sends none, `no cursor` does not say where.
        asked: Every path that was asked for in a project of a workload.
    """

    def __init__(self, faults=()):
        self.faults = set(faults)
        self.lock = threading.Lock()
        self.held = {}
        self.messages = []
        self.feeds = []
        self.reserves = 0
        self.asked = []

    def conflicts(self, project, agent, pattern, exclusive):
        return [
            {"reservation_id": each["id"], "agent_id": each["agent_id"], "pattern": pattern}
            for each in self.held.values()
            if each["project"] == project
            and each["agent_id"] != agent
            and (exclusive or each["exclusive"])
            and meet(each["path_pattern"], pattern)
        ]


def meet(one, other):
    """Whether two patterns overlap, each a path or everything in one directory."""
    for wide, narrow in ((one, other), (other, one)):
        if wide.endswith("/*") and wide[:-1] == narrow[: len(wide) - 1]:
            return True
    return one == other


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # An answer is written in several pieces, each of which would wait for the one before.
    disable_nagle_algorithm = True

    def log_message(self, *_):
        pass

    @property
    def state(self):
        return self.server.state

    def answer(self, status, members=None):
        body = b"" if members is None else json.dumps(members).encode()
        self.send_response(status)
        if len(body) < _CHUNKED_FROM:
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            return
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for at in range(0, len(body), _CHUNKED_FROM):
            part = body[at : at + _CHUNKED_FROM]
            self.wfile.write(b"%x\r\n%b\r\n" % (len(part), part))
        self.wfile.write(b"0\r\n\r\n")

    def members(self):
        return json.loads(self.rfile.read(int(self.headers["Content-Length"])))

    def do_POST(self):
        members = self.members()
        if self.dies(members.get("project", "")):
            return
        route = {
            "/api/agents": self.register,
            "/api/reservations": self.reserve,
            "/api/messages": self.send,
        }.get(self.path)
        if route is None:
            self.answer(404)
        else:
            route(members)

    def dies(self, project):
        """Hang up without an answer, if the server is dead to workloads."""
        is_dead = "dies" in self.state.faults and project.startswith("bench-")
        if is_dead:
            self.close_connection = True
        return is_dead

    def register(self, members):
        self.answer(200, {"agent_id": str(uuid.uuid4()), "name": members["name"], "cursor": 0})

    def reserve(self, members):
        if "path_pattern" not in members:
            self.answer(400)
            return
        state = self.state
        with state.lock:
            if "full" in state.faults:
                self.answer(507)
                return
            if members["project"].startswith("bench-"):
                state.reserves += 1
                state.asked.append(members["path_pattern"])
            if "busy" in state.faults and state.reserves % 2:
                self.answer(503, {})
                return
            held = {
                "id": str(uuid.uuid4()),
                "agent_id": members["agent_id"],
                "project": members.get("project", ""),
                "path_pattern": members["path_pattern"],
                "exclusive": members.get("exclusive", False),
                "is_active": True,
            }
            found = state.conflicts(
                held["project"], held["agent_id"], held["path_pattern"], held["exclusive"]
            )
            if found and "two winners" not in state.faults:
                self.answer(409, {"error": "reservation_conflict", "conflicts": found})
                return
            own = [each for each in state.held.values() if each["agent_id"] == held["agent_id"]]
            if len(own) >= HELD_PER_AGENT_MAX:
                self.answer(500)
                return
            if "holds 30" in state.faults and len(state.held) >= 30:
                self.answer(429, {"error": "limit_reached"})
                return
            state.held[held["id"]] = held
            if "loses an answer" in state.faults and state.reserves:
                state.faults.remove("loses an answer")
                held["agent_id"] = "nobody that could give it back"
                self.answer(503, {"error": "overloaded", "outcome": "unknown"})
                return
            if "grants no id" in state.faults and state.reserves:
                self.answer(201, {})
                return
            if "hangs up" in state.faults and state.reserves % 5 == 1:
                self.close_connection = True
                return
        self.answer(201, held)

    def send(self, members):
        state = self.state
        if "no messages" in state.faults:
            self.answer(404, {"error": "not_found"})
            return
        with state.lock:
            message_id = members.get("id") or str(uuid.uuid4())
            state.messages.append({**members, "id": message_id})
            cursor = state.messages[-1]["cursor"] = len(state.messages)
            state.messages[-1]["created_at"] = "2026-11-20T00:00:00Z"
            for project, agent, sink in state.feeds:
                if project != members["project"] or agent not in members["to"]:
                    continue
                if "lost frames" in state.faults and agent == "listener-0000":
                    continue
                event = {"agent": agent, "message_id": message_id, "type": "message.created"}
                try:
                    sink.write(frame(0x01, json.dumps(event).encode()) + frame(0x80, b""))
                except OSError:
                    continue
        told = {} if "no cursor" in state.faults else {"cursor": cursor}
        self.answer(200, {"message_id": message_id, **told})

    def do_GET(self):
        url = urlsplit(self.path)
        asked = {name: values[0] for name, values in parse_qs(url.query).items()}
        state, parts = self.state, url.path.strip("/").split("/")
        project = asked.get("project", "")
        if self.dies(project):
            return
        with state.lock:
            if url.path == "/api/reservations":
                found = [each for each in state.held.values() if each["project"] == project]
                self.answer(200, {"reservations": found})
            elif url.path == "/api/reservations/check":
                found = state.conflicts(project, None, asked["pattern"], True)
                self.answer(200, {"conflicts": found or None})
            elif parts[:2] == ["api", "inbox"]:
                since, limit = int(asked.get("since_cursor", 0)), int(asked.get("limit", 100))
                found = [
                    each
                    for each in state.messages
                    if each["project"] == project
                    and unquote(parts[2]) in each["to"]
                    and each["cursor"] > since
                ][:limit]
                cursor = found[-1]["cursor"] if found else since
                self.answer(200, {"messages": found, "cursor": cursor})
            elif parts[:2] == ["ws", "agents"]:
                self.open_feed(project, unquote(parts[2]))
            else:
                self.answer(404)
                return
        if parts[0] == "ws":
            # Held open until the client hangs up.
            while self.rfile.read(1):
                pass
            self.close_connection = True

    def open_feed(self, project, agent):
        key = self.headers["Sec-WebSocket-Key"] + _ACCEPT
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        accept = base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()
        self.send_header("Sec-WebSocket-Accept", accept)
        self.end_headers()
        self.state.feeds.append((project, agent, self.wfile))

    def do_DELETE(self):
        state, reservation_id = self.state, self.path.rpartition("/")[2]
        with state.lock:
            held = state.held.get(reservation_id)
            if held is None:
                self.answer(404)
            elif self.headers["X-Agent-ID"] != held["agent_id"]:
                self.answer(403)
            else:
                del state.held[reservation_id]
                self.answer(200)


def frame(kind, payload):
    """A short frame, as a server sends it."""
    assert len(payload) < 65_536
    if len(payload) < 126:
        return bytes((kind, len(payload))) + payload
    return bytes((kind, 126)) + len(payload).to_bytes(2, "big") + payload


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, *_):
        """A client that hangs up is no error."""


@contextmanager
def old_server(*faults):
    """Such a server on a port of this machine; gives its base URL and its state."""
    server = _Server(("127.0.0.1", 0), Handler)
    server.state = State(faults)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", server.state
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
