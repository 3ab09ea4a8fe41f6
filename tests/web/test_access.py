import hashlib

import pytest

from intermute.web.access import Denied, Identified, Proxies, identify, is_local
from intermute.web.keys import Keyring, load

LOOPBACK = ("127.0.0.1", 40000)
TCP = ("127.0.0.1", 7338)
KEY = "imk_abcdefgh12_" + "s" * 43
OLD_KEY = "imk_expired123_" + "e" * 43


def scope(*headers, client=LOOPBACK, server=TCP):
    return {
        "client": client,
        "server": server,
        "headers": [(name.encode(), value.encode()) for name, value in headers],
    }


def unix(*headers):
    return scope(*headers, client=None, server=("/run/s", None))


@pytest.fixture
def keyring(tmp_path) -> Keyring:
    path = tmp_path / "keys.yaml"
    path.write_text(
        f"""
projects:
  alpha:
    keys:
      - id: abcdefgh12
        sha256: "{hashlib.sha256(KEY.encode()).hexdigest()}"
        rights: [operator]
      - id: expired123
        sha256: "{hashlib.sha256(OLD_KEY.encode()).hexdigest()}"
        expires_at: 1970-01-01T00:00:10Z
"""
    )
    return load(path)


def who(keyring, *headers, proxies=(), now_s=100.0, **where):
    return identify(scope(*headers, **where), keyring, Proxies.parse(proxies), now_s=now_s)


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("127.0.0.1", True),
        ("127.255.0.9", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("::ffff:10.0.0.1", False),
        ("10.0.0.1", False),
        ("0.0.0.0", False),
        ("::", False),
        ("fe80::1%lo", False),
        ("localhost", False),
        ("", False),
    ],
)
def test_only_loopback_peers_are_local(host, local):
    assert is_local(scope(client=(host, 1)), Proxies()) is local


def test_b62_unix_socket_callers_are_local(keyring):
    assert is_local(unix(), Proxies())
    caller = identify(unix(("x-agent-id", "a")), keyring, Proxies(), now_s=0.0)
    assert caller == Identified(local=True, agent_id="a")


def test_a_scope_without_any_address_is_not_taken_for_a_unix_socket():
    assert not is_local({"client": None, "server": None, "headers": []}, Proxies())
    assert not is_local(scope(client=None), Proxies())


STRANGER = "203.0.113.9"
FORWARDED = [
    [("x-forwarded-for", STRANGER)],
    [("x-forwarded-for", f"127.0.0.1, {STRANGER}")],
    [("x-forwarded-for", f"{STRANGER}, 127.0.0.1")],
    [("x-forwarded-for", "127.0.0.1"), ("x-forwarded-for", STRANGER)],
    [("x-forwarded-for", f", {STRANGER}")],
    [("x-forwarded-for", "")],
    [("x-forwarded-for", "127.0.0.1,")],
    [("x-forwarded-for", "127.0.0.1:99")],
    [("x-forwarded-for", "unknown")],
    [("x-real-ip", STRANGER)],
    [("x-forwarded-for", "127.0.0.1"), ("x-real-ip", STRANGER)],
    [("forwarded", f"for={STRANGER}")],
    [("forwarded", f"for=127.0.0.1, for={STRANGER}")],
    [("forwarded", 'for="[2001:db8::1]:4711"')],
    [("forwarded", "proto=https;by=127.0.0.1")],
    [("forwarded", "for=_hidden")],
    [("forwarded", f"for=127.0.0.1;for={STRANGER}")],
    [("forwarded", "")],
    [("via", "1.1 proxy")],
    [("x-forwarded-proto", "https")],
    [("x-forwarded-host", "localhost")],
]


@pytest.mark.parametrize("headers", FORWARDED)
def test_b26_localhost_bypass_behind_a_proxy(headers, keyring):
    """Whatever a client prepends, repeats or leaves out, one sign of a proxy ends locality."""
    assert not is_local(scope(*headers), Proxies())
    assert not is_local(unix(*headers), Proxies())
    assert not is_local(scope(*headers), Proxies.parse(["127.0.0.1"]))
    assert isinstance(who(keyring, *headers), Denied)


@pytest.mark.parametrize(
    "headers",
    [
        [("x-forwarded-for", "127.0.0.1, ::1, LOCALHOST")],
        [("x-real-ip", "127.0.0.1")],
        [("forwarded", 'for="[::1]:4711";proto=http, FOR=127.0.0.1')],
        [("x-forwarded-for", "::ffff:127.0.0.1")],
    ],
)
def test_forwarding_headers_with_only_loopback_keep_locality_and_never_give_it(headers):
    assert is_local(scope(*headers), Proxies())
    assert not is_local(scope(*headers, client=("10.0.0.1", 1)), Proxies())


@pytest.mark.parametrize(
    ("headers", "local"),
    [
        ([], False),
        ([("x-forwarded-for", "127.0.0.1")], True),
        ([("x-forwarded-for", STRANGER)], False),
        ([("x-forwarded-for", f"127.0.0.1, {STRANGER}")], False),
        ([("x-forwarded-for", f"{STRANGER}, 127.0.0.1")], True),
        ([("x-forwarded-for", f"127.0.0.1, {STRANGER}, 10.1.2.3")], False),
        ([("x-forwarded-for", f"{STRANGER}, 127.0.0.1, 10.1.2.3")], True),
        ([("x-forwarded-for", "127.0.0.1, 10.1.2.3, 10.1.2.4")], True),
        ([("x-forwarded-for", "10.1.2.4, 10.1.2.3")], False),
        ([("x-forwarded-for", "nonsense, 10.1.2.3")], False),
        ([("x-forwarded-for", "127.0.0.1"), ("forwarded", f"for={STRANGER}")], False),
        ([("x-forwarded-for", STRANGER), ("forwarded", "for=127.0.0.1")], False),
        ([("via", "1.1 x")], False),
    ],
)
def test_a_named_proxy_is_believed_to_its_last_stranger(headers, local):
    proxies = Proxies.parse(["10.1.0.0/16", "unix:"])
    assert is_local(scope(*headers, client=("10.1.2.9", 1)), proxies) is local
    assert is_local(unix(*headers), proxies) is local


def test_a_named_loopback_proxy_without_a_header_is_not_local():
    proxies = Proxies.parse(["127.0.0.1", "::1"])
    assert not is_local(scope(), proxies)
    assert is_local(scope(("x-forwarded-for", "127.0.0.1")), proxies)
    assert not is_local(scope(("x-forwarded-for", STRANGER)), proxies)


def test_bad_proxy_names_are_refused():
    with pytest.raises(ValueError, match="not appear to be"):
        Proxies.parse(["proxy.example"])


def test_a_local_caller_needs_no_key(keyring):
    assert who(keyring) == Identified(local=True)


def test_a_local_caller_needs_a_key_when_the_file_says_so():
    denied = who(Keyring(allow_localhost_without_auth=False))
    assert isinstance(denied, Denied)
    assert (denied.status, denied.code) == (401, "unauthorized")


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
@pytest.mark.parametrize("client", [LOOPBACK, ("10.0.0.1", 1)])
def test_a_right_key_puts_the_caller_in_its_project(keyring, scheme, client):
    caller = who(keyring, ("authorization", f"{scheme}  {KEY} "), client=client)
    assert caller == Identified(
        local=client == LOOPBACK,
        project="alpha",
        key_id="abcdefgh12",
        rights=frozenset({"operator"}),
    )


@pytest.mark.parametrize("header", [(), ("x-forwarded-for", "127.0.0.1")])
def test_where_local_callers_need_a_key_being_local_is_no_right(tmp_path, header):
    path = tmp_path / "keys.yaml"
    path.write_text("projects: {alpha: {keys: [plain]}}")
    shown = (("authorization", "Bearer plain"), *([header] if header else []))
    caller = who(load(path), *shown)
    assert isinstance(caller, Identified)
    assert caller.local
    with path.open("a") as file:
        file.write("\ndefault_policy: {allow_localhost_without_auth: false}")
    caller = who(load(path), *shown)
    assert isinstance(caller, Identified)
    assert (caller.project, caller.local) == ("alpha", False)


WRONG = [
    "Bearer",
    "Bearer ",
    "Bearer wrong",
    f"Bearer {KEY[:-1]}",
    f"Bearer {KEY}x",
    f"Bearer {KEY[:-1]}t",
    f"Bearer {OLD_KEY}",
    f"Basic {KEY}",
    KEY,
    "",
]


@pytest.mark.parametrize("value", WRONG)
def test_a_wrong_key_is_refused_even_from_a_local_caller_and_all_look_alike(keyring, value):
    denied = who(keyring, ("authorization", value))
    assert isinstance(denied, Denied)
    nobody = who(keyring, client=("10.0.0.1", 1))
    assert isinstance(nobody, Denied)
    assert denied == nobody
    assert denied.challenge
    assert (denied.status, denied.code) == (401, "unauthorized")


def test_a_key_works_until_it_expires(keyring):
    shown = ("authorization", f"Bearer {OLD_KEY}")
    assert isinstance(who(keyring, shown, now_s=9.9), Identified)
    assert isinstance(who(keyring, shown, now_s=10.0), Denied)


def test_an_agent_token_without_its_agent_is_refused_before_any_key_is_looked_at(keyring):
    for more in ([], [("authorization", "Bearer wrong")], [("authorization", f"Bearer {KEY}")]):
        denied = who(keyring, ("x-agent-token", "t"), ("x-agent-id", "  "), *more)
        assert isinstance(denied, Denied)
        assert (denied.status, denied.code) == (403, "agent_token_unbound")
        assert "agent token is bound but X-Agent-ID header is missing" in denied.detail


def test_agent_headers_are_trimmed_and_blank_ones_are_absent(keyring):
    caller = who(keyring, ("x-agent-id", " é "), ("x-agent-token", " t "))
    assert isinstance(caller, Identified)
    assert (caller.agent_id, caller.agent_token) == ("é", "t")
    assert who(keyring, ("x-agent-id", ""), ("x-agent-token", " ")) == Identified(local=True)


def test_agent_tokens_are_not_shown_by_repr(keyring):
    assert "secret" not in repr(who(keyring, ("x-agent-id", "a"), ("x-agent-token", "secret")))


@pytest.mark.parametrize("name", ["authorization", "x-agent-id", "x-agent-token"])
def test_repeated_or_undecodable_identity_headers_are_refused(keyring, name):
    denied = who(keyring, (name, "a"), (name, "a"))
    assert isinstance(denied, Denied)
    assert denied.status == 400
    bad = {**scope(), "headers": [(name.encode(), b"\xff")]}
    denied = identify(bad, keyring, Proxies(), now_s=0.0)
    assert isinstance(denied, Denied)
    assert denied.status == 400
