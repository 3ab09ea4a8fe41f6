"""Every way in which a request can go wrong, in the one error shape."""

import pytest

from intermute.domain import limits

from .answers import raw, refused
from .conftest import Server, running_server
from .tenants import Tenants

JSON = {"Content-Type": "application/json"}
WITH_BODY = (
    ("POST", "/api/agents"),
    ("POST", "/api/agents/x/heartbeat"),
    ("PATCH", "/api/agents/x/metadata"),
    ("POST", "/api/agents/x/policy"),
    ("PUT", "/api/agents/x/policy"),
    ("POST", "/api/agents/x/contacts"),
    ("POST", "/api/reservations"),
    ("POST", "/api/reservations/x/renew"),
    ("PATCH", "/api/project"),
    ("POST", "/api/windows"),
)
BODY_MAY_LACK = {"/api/agents/x/heartbeat", "/api/reservations/x/renew"}


async def test_unknown_paths_are_404(server: Server):
    for path in ("/", "/api", "/api/", "/api/agents/x/nothing", "/ws/nothing"):
        for method in ("GET", "POST", "DELETE"):
            response = await server.client.request(method, path)
            refused(response, 404, "not_found")


async def test_wrong_methods_are_405_and_say_what_is_allowed(server: Server):
    for path, allowed in (
        ("/api/agents", {"GET", "POST"}),
        ("/api/agents/presence", {"GET"}),
        ("/api/agents/x/metadata", {"PATCH"}),
        ("/api/agents/x/policy", {"GET", "POST", "PUT"}),
        ("/api/agents/x/heartbeat", {"POST"}),
        ("/api/reservations", {"GET", "POST"}),
        ("/api/reservations/x", {"GET", "PATCH", "DELETE"}),
        ("/api/reservations/tickets/x", {"GET", "DELETE"}),
        ("/api/reservations/tickets/x/confirm", {"POST"}),
        ("/api/reservations/x/renew", {"POST"}),
        ("/api/project", {"GET", "PATCH"}),
        ("/api/windows", {"GET", "POST"}),
        ("/api/windows/x", {"DELETE"}),
        ("/api/inbox/pokes", {"GET"}),
    ):
        methods = {"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"} - allowed
        if path == "/api/agents/presence":
            methods -= {"DELETE"}
        for method in sorted(methods):
            response = await server.client.request(method, path)
            refused(response, 405, "method_not_allowed")
            assert {each.strip() for each in response.headers["Allow"].split(",")} >= allowed


async def test_what_is_no_json_object_is_400(server: Server):
    for method, path in WITH_BODY:
        for content in (b"{", b"[]", b'"x"', b"1", b"{} {}", b'{"a":1,"a":2}', b"\xff", b"{]}"):
            response = await server.client.request(method, path, content=content, headers=JSON)
            assert response.status_code == 400, (method, path, content)
            refused(response, 400, "invalid_request")


async def test_a_body_that_is_needed_and_lacking_is_400(server: Server):
    for method, path in WITH_BODY:
        response = await server.client.request(method, path)
        if path in BODY_MAY_LACK:
            assert response.status_code == 404, (method, path)
        else:
            refused(response, 400, "invalid_request")


async def test_a_body_that_is_not_json_by_its_own_word_is_415(server: Server):
    for content_type in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        response = await server.client.post(
            "/api/agents", content=b"{}", headers={"Content-Type": content_type}
        )
        refused(response, 415, "unsupported_media_type")
    refused(await server.client.post("/api/agents", content=b"{}"), 415, "unsupported_media_type")
    compressed = {**JSON, "Content-Encoding": "gzip"}
    response = await server.client.post("/api/agents", content=b"{}", headers=compressed)
    refused(response, 415, "unsupported_media_type")


async def test_json_types_that_are_accepted(server: Server):
    for content_type in ("application/json", "application/json; charset=utf-8", "APPLICATION/JSON"):
        response = await server.client.post(
            "/api/agents", content=b"{}", headers={"Content-Type": content_type}
        )
        assert response.status_code == 200, content_type


async def test_a_body_over_a_mebibyte_is_413(server: Server):
    room = limits.BODY_LEN_MAX - len(b'{"x":""}')
    largest = b'{"x":"%s"}' % (b"x" * room)
    assert len(largest) == 1_048_576
    response = await server.client.post("/api/agents", content=largest, headers=JSON)
    assert response.status_code == 200, response.text
    for method, path in WITH_BODY:
        response = await server.client.request(method, path, content=largest + b" ", headers=JSON)
        refused(response, 413, "body_too_large")


async def test_a_host_that_is_not_ours_is_421(server: Server):
    for host in ("evil.example", "127.0.0.1.evil.example", "localhost.evil.example:80"):
        response = await server.client.get("/health", headers={"Host": host})
        refused(response, 421, "unknown_host")
    for host in ("localhost", "LOCALHOST:1", "127.0.0.1", "[::1]:7338"):
        assert (await server.client.get("/health", headers={"Host": host})).status_code == 200


async def test_a_page_of_another_origin_is_403(server: Server):
    for origin in (
        "https://evil.example",
        "null",
        f"http://localhost:{server.port + 1}",
        "file://",
    ):
        response = await server.client.post("/api/agents", json={}, headers={"Origin": origin})
        refused(response, 403, "foreign_origin")
    response = await server.client.post("/api/agents", json={}, headers={"Origin": server.url})
    assert response.status_code == 200


async def test_requests_that_mean_two_things_are_400(server: Server):
    both = (("Transfer-Encoding", "chunked"), ("Content-Length", "2"))
    refused(await raw(server.port, "POST", "/api/agents", b"{}", both), 400, "bad_request")
    nul = await raw(server.port, "GET", "/api/agents/%00")
    refused(nul, 400, "bad_request")
    latin = await raw(server.port, "GET", "/api/agents/%ff")
    refused(latin, 400, "bad_request")


async def test_a_target_or_headers_without_end_are_refused(server: Server):
    refused(await server.client.get("/api/agents?x=" + "x" * 9000), 414, "uri_too_long")
    many = {f"X-{number}": "x" for number in range(150)}
    refused(await server.client.get("/api/agents", headers=many), 431, "headers_too_large")


async def test_without_a_valid_key_it_is_401_with_a_challenge(tmp_path, tenants: Tenants):
    async with running_server(tmp_path, keys_file=tenants.keys_file) as server:
        for authorization in (None, "", "Bearer", "Bearer x", f"Basic {tenants.a}", tenants.a):
            headers = {} if authorization is None else {"Authorization": authorization}
            response = await server.client.get("/api/agents", headers=headers)
            refused(response, 401, "unauthorized")
            assert response.headers["WWW-Authenticate"] == "Bearer"
        for authorization in (f"Bearer {tenants.a}", f"bearer   {tenants.a} "):
            response = await server.client.get(
                "/api/agents", headers={"Authorization": authorization.strip()}
            )
            assert response.status_code == 200


async def test_another_projects_name_is_403(tmp_path, tenants: Tenants):
    async with running_server(tmp_path, keys_file=tenants.keys_file) as server:
        headers = tenants.headers("a")
        for method, path, members in (
            ("POST", "/api/agents", {"project": "beta"}),
            ("GET", "/api/agents?project=beta", None),
            ("GET", "/api/agents/presence?project=beta", None),
            ("POST", "/api/reservations", {"project": "beta", "agent": "a", "path": "a"}),
            ("GET", "/api/reservations?project=beta", None),
            ("GET", "/api/reservations?project=beta&agent=x", None),
            ("GET", "/api/reservations/check?project=beta&pattern=a", None),
            ("GET", "/api/project?project=beta", None),
            ("PATCH", "/api/project", {"project": "beta", "case_sensitive": True}),
            ("PATCH", "/api/project?project=beta", {"case_sensitive": True}),
        ):
            response = await server.client.request(method, path, json=members, headers=headers)
            refused(response, 403, "project_mismatch")


async def test_errors_are_not_kept_by_anybody(server: Server):
    response = await server.client.get("/api/agents/x")
    assert response.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("path", ["//api//agents", "/api/./agents", "/api/agents/../agents"])
async def test_paths_that_are_not_clean_are_no_server_error(server: Server, path: str):
    answer = await raw(server.port, "GET", path)
    assert answer.status_code < 500


async def test_head_is_get_without_a_body(server: Server):
    held = await server.reserve("ada", "a")
    for path in ("/health", "/api/agents", f"/api/reservations/{held['id']}", "/api/agents/x"):
        whole, head = await server.client.get(path), await server.client.head(path)
        assert head.status_code == whole.status_code
        assert head.content == b""
