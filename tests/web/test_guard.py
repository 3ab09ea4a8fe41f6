from functools import partial

import pytest
import trio
import trio.testing

from intermute.web.guard import Guard, HostPolicy
from intermute.web.listeners import names_of_host
from intermute.web.problem import problem, problem_headers
from intermute.wire.strict_json import decode

BODY_LEN_MAX = 100


def scope(method="GET", path="/a", *headers, host="localhost:7338", **more):
    named = [] if host is None else [(b"host", host.encode())]
    named += [(name.encode(), value.encode()) for name, value in headers]
    return {
        "type": "http",
        "http_version": "1.1",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": named,
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 7338),
        **more,
    }


class App:
    """Takes one message and answers 204, or accepts a WebSocket."""

    def __init__(self) -> None:
        self.scopes: list[str] = []
        self.body: object = None

    async def __call__(self, scope, receive, send) -> None:
        self.scopes.append(scope["type"])
        if scope["type"] == "http":
            self.body = await receive()
            await send({"type": "http.response.start", "status": 204, "headers": []})
            await send({"type": "http.response.body", "body": b""})


async def run(request, *messages, names=(), app=None, **settings):
    """What the guard and the app behind it send for a request and its body messages."""
    app = App() if app is None else app
    sent: list[dict] = []
    waiting = list(messages)
    guard = Guard(app, hosts=HostPolicy(frozenset(names)), body_len_max=BODY_LEN_MAX, **settings)

    async def receive():
        await trio.lowlevel.checkpoint()
        if waiting:
            return waiting.pop(0)
        await trio.sleep_forever()

    async def send(message) -> None:
        await trio.lowlevel.checkpoint()
        sent.append(message)

    await guard(request, receive, send)
    return sent


def chunk(body: bytes = b"", *, more: bool = False):
    return {"type": "http.request", "body": body, "more_body": more}


def code_of(sent) -> tuple[int, str] | int:
    if len(sent) == 0:
        return 0
    status = sent[0]["status"]
    if status == 204:
        return 204
    body = decode(sent[1]["body"])
    assert isinstance(body, dict)
    assert body["status"] == status
    assert body["type"].endswith(body["error"].replace("_", "-"))
    headers = dict(sent[0]["headers"])
    assert headers[b"content-type"] == b"application/problem+json"
    assert headers[b"content-length"] == str(len(sent[1]["body"])).encode()
    assert headers[b"connection"] == b"close"
    return status, body["error"]


async def judge(request, *messages, **settings):
    return code_of(await run(request, *(messages or (chunk(),)), **settings))


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST:1",
        "127.0.0.1:65535",
        "[::1]:7338",
        "[::1]",
        "box",
        "box:9",
        "pin:80",
    ],
)
async def test_known_hosts_pass(host):
    assert await judge(scope(host=host), names=["Box", "pin:80"]) == 204


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "localhost.",
        "localhost:",
        "localhost:x",
        "localhost:999999",
        "localhost@evil.example",
        "127.0.0.1.evil.example",
        "127.1",
        "::1",
        "[::1",
        "local host",
        "pin",
        "pin:81",
    ],
)
async def test_unknown_hosts_are_421(host):
    assert await judge(scope(host=host), names=["pin:80"]) == (421, "unknown_host")


async def test_missing_host_is_400_over_tcp_and_fine_over_a_unix_socket():
    assert await judge(scope(host=None)) == (400, "bad_request")
    assert await judge(scope(host="")) == (400, "bad_request")
    at_unix = {"client": None, "server": ("/run/s", None)}
    assert await judge(scope(host=None, **at_unix)) == 204
    assert await judge(scope(host="evil.example", **at_unix)) == 204
    assert await judge(scope(host=None, client=None)) == (400, "bad_request")
    assert await judge(scope(host=None, client=None, server=None)) == (400, "bad_request")


@pytest.mark.parametrize(
    ("origin", "host", "passes"),
    [
        ("http://localhost:7338", "localhost:7338", True),
        ("http://127.0.0.1:7338", "localhost:7338", True),
        ("HTTP://LocalHost:7338", "localhost:7338", True),
        ("http://[::1]:7338", "[::1]:7338", True),
        ("http://localhost", "localhost", True),
        ("http://localhost", "localhost:80", True),
        ("https://localhost", "localhost:443", True),
        ("https://box", "localhost:7338", True),
        ("https://box:8443", "box", True),
        ("http://pin:80", "localhost:7338", True),
        ("http://pin:81", "localhost:7338", False),
        ("http://localhost:3000", "localhost:7338", False),
        ("http://localhost", "localhost:7338", False),
        ("null", "localhost:7338", False),
        ("", "localhost:7338", False),
        ("file://", "localhost:7338", False),
        ("ftp://localhost:7338", "localhost:7338", False),
        ("http://localhost:7338/", "localhost:7338", False),
        ("http://u@localhost:7338", "localhost:7338", False),
        ("http://evil.example:7338", "localhost:7338", False),
        ("http://localhost.evil.example:7338", "localhost:7338", False),
    ],
)
@pytest.mark.parametrize("kind", ["http", "websocket"])
async def test_origins(origin, host, passes, kind):
    request = scope("GET", "/a", ("origin", origin), host=host, type=kind)
    app = App()
    sent = await run(request, chunk(), names=["box", "pin:80"], app=app)
    assert app.scopes == ([kind] if passes else [])
    if not passes:
        assert code_of(sent) == (403, "foreign_origin")
        assert sent[0]["type"].startswith("websocket.http" if kind == "websocket" else "http.")


@pytest.mark.parametrize(
    ("method", "site", "mode", "dest", "passes"),
    [
        ("GET", "cross-site", "navigate", "document", True),
        ("GET", "cross-site", "no-cors", "image", False),
        ("GET", "cross-site", "navigate", "iframe", False),
        ("GET", "cross-site", "cors", "empty", False),
        ("POST", "cross-site", "navigate", "document", False),
        ("DELETE", "cross-site", "navigate", "document", False),
        ("POST", "same-origin", "cors", "empty", True),
        ("POST", "none", "cors", "empty", True),
    ],
)
async def test_sec_fetch_site(method, site, mode, dest, passes):
    fetch = [("sec-fetch-site", site), ("sec-fetch-mode", mode), ("sec-fetch-dest", dest)]
    expected = 204 if passes else (403, "foreign_origin")
    assert await judge(scope(method, "/a", *fetch)) == expected


@pytest.mark.parametrize(
    ("kind", "passes"),
    [
        ("application/json", True),
        ("Application/JSON", True),
        ("application/json; charset=utf-8", True),
        ('application/json;charset="UTF-8"', True),
        ("application/merge-patch+json", True),
        ("application/json; charset=utf8", True),
        ("application/json;", True),
        ("application/json ; ;profile=x", True),
        ('application/json; profile="a b"; charset="UTF-8" ;', True),
        ("application/json; charset=latin-1", False),
        ("application/json; charset=utf-16; charset=utf-8", False),
        ('application/json; profile=x;charset="utf-8,x"', False),
        ("application/json; charset=", False),
        ("application/json profile=x", False),
        ("application/json, text/plain", False),
        ("application/jsonp", False),
        ("text/json", False),
        ("text/plain", False),
        ("application/x-www-form-urlencoded", False),
        ("text/plain, application/json", False),
        ("", False),
    ],
)
async def test_content_types(kind, passes):
    expected = 204 if passes else (415, "unsupported_media_type")
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        request = scope(method, "/a", ("content-type", kind), ("content-length", "2"))
        assert await judge(request, chunk(b"{}")) == expected


async def test_an_empty_body_needs_no_type():
    chunked = [("transfer-encoding", "chunked")]
    for length in ([], [("content-length", "0")], chunked):
        assert await judge(scope("POST", "/a", *length)) == 204
    app = App()
    assert code_of(await run(scope("POST", "/a", *chunked), chunk(b"{}"), app=app)) == (
        415,
        "unsupported_media_type",
    )
    assert app.scopes == []


async def test_encoded_bodies_are_refused():
    json = [("content-type", "application/json"), ("content-length", "2")]
    for encoding, expected in (("gzip", (415, "unsupported_media_type")), ("Identity", 204)):
        request = scope("POST", "/a", *json, ("content-encoding", encoding))
        assert await judge(request, chunk(b"{}")) == expected


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([("content-length", "1"), ("transfer-encoding", "chunked")], (400, "bad_request")),
        ([("content-length", "1"), ("content-length", "1")], (400, "bad_request")),
        ([("transfer-encoding", "chunked")] * 2, (400, "bad_request")),
        ([("host", "localhost")], (400, "bad_request")),
        ([("origin", "http://localhost:7338")] * 2, (400, "bad_request")),
        ([("content-length", "-1")], (400, "bad_request")),
        ([("content-length", "1_0")], (400, "bad_request")),
        ([("content-length", "")], (400, "bad_request")),
        ([("content-length", str(BODY_LEN_MAX + 1))], (413, "body_too_large")),
        ([("content-length", "9" * 5000)], (413, "body_too_large")),
        ([("x-a", "b")] * 100, (431, "headers_too_large")),
        ([("x-a", "b" * 33_000)], (431, "headers_too_large")),
    ],
)
async def test_malformed_heads(headers, expected):
    assert await judge(scope("POST", "/a", *headers)) == expected


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"http_version": "2.0"}, (505, "http_version_not_supported")),
        ({"http_version": "1.0"}, 204),
        ({"raw_path": b"*", "path": "*"}, (400, "bad_request")),
        ({"raw_path": b"", "path": ""}, (400, "bad_request")),
        ({"raw_path": b"/%00", "path": "/\x00"}, (400, "bad_request")),
        ({"raw_path": b"/%ff", "path": "/\ufffd"}, (400, "bad_request")),
        ({"raw_path": b"/" + b"a" * 8192}, (414, "uri_too_long")),
        ({"query_string": b"a" * 8192}, (414, "uri_too_long")),
    ],
)
async def test_request_lines(more, expected):
    assert await judge(scope(**more)) == expected


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (b"http://localhost:7338/a%2Fb/", ("/a/b/", b"/a%2Fb/", b"localhost:7338")),
        (b"HTTP://127.0.0.1", ("/", b"/", b"127.0.0.1")),
        (b"http://box:9//a", ("//a", b"//a", b"box:9")),
        (b"http://evil.example/a", (421, "unknown_host")),
        (b"http://a@localhost/a", (421, "unknown_host")),
        (b"http:///a", (400, "bad_request")),
        (b"http://localhost/%00", (400, "bad_request")),
        (b"https://localhost/a", (400, "bad_request")),
        (b"localhost:7338", (400, "bad_request")),
        (b"http://localhost/" + b"a" * 8192, (414, "uri_too_long")),
    ],
)
async def test_a_target_may_name_the_server(target, expected):
    """What it names is then the host, whatever the header says."""
    request = scope(raw_path=target, path=target.decode(), host="other.example")
    judged = await judge(request, names=["box"])
    if judged == 204:
        judged = request["path"], request["raw_path"], dict(request["headers"])[b"host"]
    assert judged == expected


@pytest.mark.parametrize(
    ("listening", "host", "passes"),
    [
        ("127.0.0.2", "127.0.0.2:7338", True),
        ("[::2]", "[::2]", True),
        ("0:0::2", "[::2]", True),
        ("Box", "box:7338", True),
        ("127.0.0.2", "127.0.0.3", False),
        ("0.0.0.0", "0.0.0.0", False),
        ("::", "[::]", False),
        ("", "", False),
        ("fe80::1%eth0", "[fe80::1]", True),
    ],
)
def test_the_address_that_is_listened_on_is_a_name(listening, host, passes):
    hosts = HostPolicy(own=names_of_host(listening))
    assert hosts.allows_host(host) is passes
    assert hosts.allows_host("localhost")
    # A page of the same address at another port is another program's.
    assert hosts.allows_origin(f"http://{host.removesuffix(':7338')}:7338", "localhost:7338") is (
        passes
    )
    assert not hosts.allows_origin(f"http://{host.removesuffix(':7338')}:7339", "localhost:7338")


JSON = [("content-type", "application/json"), ("transfer-encoding", "chunked")]


async def test_the_app_gets_the_body_whole_and_then_what_follows():
    app = App()
    gone = {"type": "http.disconnect"}
    pieces = [chunk(b"[1", more=True), chunk(b"", more=True), chunk(b",2]", more=True), chunk()]
    assert code_of(await run(scope("POST", "/a", *JSON), *pieces, gone, app=app)) == 204
    assert app.body == chunk(b"[1,2]")


async def test_what_follows_the_body_reaches_the_app():
    seen = []

    async def app(scope, receive, send) -> None:
        seen.extend([await receive(), await receive()])

    gone = {"type": "http.disconnect"}
    await run(scope("POST", "/a", *JSON), chunk(b"1"), gone, app=app)
    assert seen == [chunk(b"1"), gone]


async def test_a_body_over_the_limit_ends_there_and_the_app_is_not_called():
    app = App()
    pieces = [chunk(b"x" * 60, more=True)] * 2
    sent = await run(scope("POST", "/a", *JSON), *pieces, app=app)
    assert code_of(sent) == (413, "body_too_large")
    assert app.scopes == []


async def test_a_get_with_a_body_is_bounded_too():
    request = scope("GET", "/a", ("transfer-encoding", "chunked"))
    assert await judge(request, chunk(b"x" * 101)) == (413, "body_too_large")


async def test_a_client_that_goes_away_in_its_body_gets_no_answer_and_no_app():
    app = App()
    gone = {"type": "http.disconnect"}
    assert await run(scope("POST", "/a", *JSON), chunk(b"x", more=True), gone, app=app) == []
    assert app.scopes == []


async def test_crumbs_are_refused():
    guard_limit = [chunk(b"x", more=True)] * 1025
    app = App()
    sent: list[dict] = []
    guard = Guard(app, hosts=HostPolicy(), body_len_max=10_000)

    async def receive():
        return guard_limit.pop() if guard_limit else {"type": "http.disconnect"}

    async def send(message) -> None:
        sent.append(message)

    await guard(scope("POST", "/a", *JSON), receive, send)
    assert code_of(sent) == (400, "bad_request")
    assert app.scopes == []


async def test_bodies_that_do_not_end_have_a_bound_together():
    app = App()
    bounds = {"body_len_max": 100, "unfinished_len_max": 150, "small_len_max": 20}
    guard = Guard(app, hosts=HostPolicy(), **bounds)

    async def post(*pieces: bytes, wait: trio.Event | None = None) -> list[dict]:
        sent: list[dict] = []
        messages = [chunk(piece, more=True) for piece in pieces]
        ends = [chunk(b""), {"type": "http.disconnect"}]

        async def receive():
            if messages:
                return messages.pop(0)
            if wait is not None:
                await wait.wait()
            return ends.pop(0)

        async def send(message) -> None:
            sent.append(message)

        await guard(scope("POST", "/a", *JSON), receive, send)
        return sent

    rest = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(post, b"x" * 80, wait=rest))
        await trio.testing.wait_all_tasks_blocked()
        refused = await post(b"y" * 71)
        assert code_of(refused) == (503, "overloaded")
        assert (b"retry-after", b"1") in refused[0]["headers"]
        assert app.scopes == []
        await post(b"y" * 70)
        assert len(app.scopes) == 1
        nursery.start_soon(partial(post, b"x" * 70, wait=rest))
        await trio.testing.wait_all_tasks_blocked()
        assert code_of(await post(b"y" * 21)) == (503, "overloaded")
        await post(b"y" * 20)
        assert len(app.scopes) == 2, "a small one is taken"
        rest.set()
    assert len(app.scopes) == 4
    await post(b"z" * 100)
    assert len(app.scopes) == 5, "what has ended is not counted any more"


async def test_a_slow_body_is_408(autojump_clock):
    sent = await run(scope("POST", "/a", *JSON), chunk(b"x", more=True), body_timeout_s=7.0)
    assert code_of(sent) == (408, "body_timeout")
    assert trio.current_time() == pytest.approx(7.0)


async def test_other_scopes_pass_through():
    app = App()
    await run({"type": "lifespan"}, app=app)
    assert app.scopes == ["lifespan"]


@pytest.mark.parametrize("name", ["", "a b", "http://box", "box:port", "::1"])
def test_bad_names_in_the_settings_are_refused(name):
    with pytest.raises(ValueError, match="not a host name"):
        HostPolicy(frozenset([name]))


def test_the_problem_shape():
    body = problem(409, "reservation_conflict", "Taken", "By somebody.", conflicts=[1])
    assert decode(body) == {
        "type": "https://intermute.dev/errors/reservation-conflict",
        "title": "Taken",
        "status": 409,
        "detail": "By somebody.",
        "error": "reservation_conflict",
        "code": "reservation_conflict",
        "conflicts": [1],
    }
    assert problem_headers(body, (b"retry-after", b"1"))[-1] == (b"retry-after", b"1")
    with pytest.raises(AssertionError):
        problem(409, "a", "b", "c", error="d")
