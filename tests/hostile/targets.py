"""What the fuzzer calls: each target takes bytes, and raises when something is wrong with what the
product makes of them. A refusal is right; any other error, and any disagreement, is a finding.
"""

import contextlib
import itertools
import json
import math
from collections.abc import Callable
from functools import partial
from typing import Any
from urllib.parse import parse_qsl, unquote

import attrs
import h11
import msgspec
from werkzeug.datastructures import MultiDict
from werkzeug.exceptions import HTTPException
from werkzeug.routing import RequestRedirect

from intermute.domain import limits as wire_limits
from intermute.domain.entities.kinds import KINDS
from intermute.domain.projects import normalise_project
from intermute.globs import (
    BadPattern,
    Pattern,
    PatternIndex,
    covers,
    decide,
    limits,
    matches,
    parse,
    witness,
)
from intermute.globs.automaton import Automaton
from intermute.web.guard import Guard, HostPolicy
from intermute.web.http1 import handshake_fault
from intermute.web.paths import use_path
from intermute.wire import (
    agents,
    asking,
    bodies,
    entities,
    frames,
    messages,
    preflight,
    reservations,
    rpc,
    search,
    settings,
    strict_json,
    windows,
)
from intermute.wire.bodies import BadRequest

from ..properties.test_globs_language import naive_match

# -- Patterns -----------------------------------------------------------------------------------

STEPS_MAX = 4 * limits.STATES_MAX + 8 * (limits.WILD_SEGMENTS_MAX + limits.JUMPS_MAX)
SMALL_LEN_MAX = 12
_SMALL = frozenset("ab./*?[]!-{},\\")
_NAMES = ("a", "b", "aa", "ab", "ba", "bb", ".a", "a.", "...")
_PATHS = tuple(
    "/".join(names) for depth in (1, 2) for names in itertools.product(_NAMES, repeat=depth)
)


def _says_why(reason: str, position: int | None = None, most: int = 0) -> None:
    assert reason, "a refusal without a reason"
    assert position is None or 0 <= position <= most, "a fault that lies nowhere"


class Steps:
    """Counts what deciding costs: steps of automata, each a handful of integer operations."""

    def __init__(self) -> None:
        self.made = 0
        for name in ("step", "spread"):
            setattr(Automaton, name, self._counting(getattr(Automaton, name)))

    def _counting(self, plain: Callable[..., int]) -> Callable[..., int]:
        def counted(automaton: Automaton, *args: Any) -> int:
            self.made += 1
            return plain(automaton, *args)

        return counted


STEPS: list[Steps] = []


def count_steps() -> None:
    """Have every step counted from now on. For a process of its own."""
    if not STEPS:
        STEPS.append(Steps())


def globs(data: bytes) -> None:
    """Two patterns, with a line feed between them."""
    one, _, two = data.decode("utf-8", "ignore").partition("\n")
    folded = one.startswith("~")
    try:
        a = parse(one.removeprefix("~"), case_sensitive=not folded)
        b = parse(two, case_sensitive=not folded)
    except BadPattern as bad:
        _says_why(bad.reason)
        return
    for pattern in (a, b):
        again = parse(pattern.normalised, case_sensitive=not folded)
        assert again.normalised == pattern.normalised, "normalising changes what is normal"
    before = STEPS[0].made if STEPS else 0
    meet = decide.overlap(a, b)
    assert not STEPS or STEPS[0].made - before <= STEPS_MAX, "too many steps to decide"
    assert meet is decide.overlap(b, a), "overlap is not symmetric"
    shown = witness(a, b)
    assert (shown is not None) is meet, "overlap and witness disagree"
    if shown is not None:
        assert matches(a, shown), "a witness that the first does not match"
        assert matches(b, shown), "a witness that the second does not match"
    if covers(a, b):
        assert meet, "covered, and yet apart"
    index: PatternIndex[int] = PatternIndex(case_sensitive=not folded)
    index.add(1, a)
    assert list(index.overlapping(b)) == [1] * meet, "the index disagrees"
    if not folded and len(one) <= SMALL_LEN_MAX >= len(two) and _SMALL.issuperset(one + two):
        _agree_with_brute_force(a, b, meet=meet)


def _agree_with_brute_force(a: Pattern, b: Pattern, *, meet: bool) -> None:
    covered = covers(a, b)
    for path in _PATHS:
        in_a, in_b = naive_match(a.normalised, path), naive_match(b.normalised, path)
        assert in_a is matches(a, path), f"{a.text!r} and {path!r}"
        assert in_b is matches(b, path), f"{b.text!r} and {path!r}"
        assert meet or not (in_a and in_b), f"both match {path!r}"
        assert in_a or not (covered and in_b), f"not covered: {path!r}"


# -- JSON and bodies ----------------------------------------------------------------------------


def _inspect(found: object, depth: int = 0) -> None:
    assert depth <= wire_limits.JSON_DEPTH_MAX, "deeper than allowed"
    if isinstance(found, str):
        assert "\x00" not in found, "NUL"
        found.encode()
    elif isinstance(found, float):
        assert math.isfinite(found), "not a number"
    elif isinstance(found, int):
        assert strict_json.INTEGER_MIN <= found <= strict_json.INTEGER_MAX, "more than 64 bits"
    elif isinstance(found, list):
        for each in found:
            _inspect(each, depth + 1)
    elif isinstance(found, dict):
        for name, each in found.items():
            _inspect(name, depth + 1)
            _inspect(each, depth + 1)


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    assert len(dict(pairs)) == len(pairs), "a name twice"
    return dict(pairs)


def strict(data: bytes) -> None:
    """A JSON text: what is read is what the standard library reads, and nothing it would bend."""
    try:
        found = strict_json.decode(data)
    except strict_json.BadJson as bad:
        _says_why(bad.reason, bad.position, len(data))
        return
    _inspect(found)
    assert json.loads(data.decode("utf-8"), object_pairs_hook=_once) == found, "read otherwise"
    assert strict_json.decode(strict_json.encode(found)) == found, "not what was written"


def _then(
    read: Callable[[dict[str, Any]], Any], use: Callable[[Any], object]
) -> Callable[..., Any]:
    return lambda members: use(read(members))


# Every reader of a body; what follows the reading of its members is part of it.
READERS: dict[str, Callable[[dict[str, Any]], object]] = {
    "register": _then(agents.read_register, lambda body: agents.register(body, b"hash")),
    "heartbeat": partial(agents.heartbeat, "a"),
    "metadata": partial(agents.merge_metadata, "a"),
    "policy": partial(agents.set_policy, "a"),
    "contact": partial(agents.add_contact, "a"),
    "reserve": _then(reservations.read_reserve, reservations.reserve),
    "renew": partial(reservations.renew, "r", agent_id=None),
    "narrow": partial(reservations.narrow, "r", agent_id=None),
    "hand over": partial(reservations.hand_over, "r", agent_id=None),
    "force": reservations.force_reason,
    "check": _then(preflight.read_check, preflight.check_paths),
    "plan": _then(preflight.read_plan, preflight.preflight),
    "send": _then(messages.read_send, messages.send),
    "broadcast": _then(messages.read_broadcast, messages.broadcast),
    "mark": messages.read_mark,
    "marks": _then(messages.read_marks, partial(messages.marks, mark="read", agent_id=None)),
    "window": _then(
        windows.read_window, partial(windows.register, token_hash=b"t", pane_hash=b"p")
    ),
    "wanted": partial(asking.read_wanted, agent_id=None),
    "answer": partial(asking.read_answer, agent_id=None),
    "settings": _then(settings.read_settings, settings.configure),
    "batch": rpc.read_batch,
    "assign": partial(entities.assign, "e", agent_id=None),
    "link insight": partial(entities.link_insight, "e", agent_id=None),
    "link": partial(entities.link_cuj, "e", agent_id=None),
    "unlink": partial(entities.unlink_cuj, "e", agent_id=None),
    **{
        kind.name: _then(
            partial(entities.read_entity, kind), partial(entities.create, kind, agent_id=None)
        )
        for kind in KINDS.values()
    },
}
_READERS = tuple(READERS.values())


def body(data: bytes) -> None:
    """A body; its first byte says whose."""
    if not data:
        return
    try:
        members = bodies.read_members(data[1:], optional=bool(data[0] & 1), nulls=bool(data[0] & 2))
        _READERS[data[0] % len(_READERS)](members)
    except BadRequest as bad:
        _says_why(str(bad))


def requests(data: bytes) -> None:
    """A message on a socket, as far as it is read before anybody is asked."""
    try:
        message = strict_json.decode(data)
    except strict_json.BadJson:
        return
    for each in message if isinstance(message, list) else [message]:
        found = rpc.read_request(each)
        strict_json.encode(found.request_id)
        if isinstance(found, rpc.Malformed):
            assert found.detail
            continue
        assert 0 < len(found.method) <= wire_limits.METHOD_LEN_MAX
        assert found.idempotency_key is None or found.idempotency_key
        for name in found.params:
            try:
                one, many = rpc.word(found.params, name), rpc.words(found.params, name)
            except BadRequest:
                continue
            assert one is None or ",".join(many) == one
        with contextlib.suppress(BadRequest):
            frames.check_types(found.params.get("event_types"))


# -- Queries and request lines ------------------------------------------------------------------

_WORDS: tuple[Callable[[str], object], ...] = (
    partial(frames.read_cursor, name="since_cursor"),
    frames.read_types,
    search.terms,
    reservations.read_token,
    reservations.read_mode,
    partial(bodies.line, name="x"),
    partial(bodies.flag, default=True),
    normalise_project,
    messages.topic_name,
)


def query(data: bytes) -> None:
    """A query string: each of its words read as each kind of word."""
    pairs = MultiDict(parse_qsl(data.decode("latin-1"), keep_blank_values=True, errors="replace"))
    for text in pairs.values():
        number = bodies.decimal(text, default=7, most=wire_limits.PAGE_MAX)
        assert 0 < number <= wire_limits.PAGE_MAX
        assert 0 < bodies.cursor(text, default=7) <= wire_limits.CURSOR_MAX
        for read in _WORDS:
            try:
                read(text)
            except BadRequest as bad:
                _says_why(str(bad))
    for kind in KINDS.values():
        with contextlib.suppress(BadRequest):
            entities.filters(kind, pairs.get)


@attrs.define
class Front:
    """What looks at a request before any of the app's own code does."""

    guard: Guard
    routes: Any

    @classmethod
    def make(cls) -> "Front":
        from quart_trio import QuartTrio

        from intermute.web.paths import use_encoded_slashes

        from ..e2e.routes import ROWS

        app = QuartTrio("fuzzed", static_folder=None)
        use_encoded_slashes(app)
        for number, row in enumerate(ROWS):
            if row.is_socket:
                app.add_websocket(row.rule, f"r{number}", lambda: "")
            else:
                app.add_url_rule(row.rule, f"r{number}", lambda: "", methods=[row.method])
        guard = Guard(app, hosts=HostPolicy(), body_len_max=wire_limits.BODY_LEN_MAX)
        return cls(guard, app.url_map)


FRONT: list[Front] = []


def request_head(data: bytes) -> None:
    """A request or a handshake as it comes over the socket, up to the route it finds."""
    peer = h11.Connection(h11.SERVER, max_incomplete_event_size=32 * 1024)
    try:
        peer.receive_data(data)
        event = peer.next_event()
    except h11.RemoteProtocolError:
        return
    if not isinstance(event, h11.Request) or handshake_fault(event) is not None:
        return
    FRONT or FRONT.append(Front.make())
    front = FRONT[0]
    raw_path, _, query_string = event.target.partition(b"?")
    scope: dict[str, Any] = {
        "type": "http",
        "method": event.method.decode("ascii"),
        "http_version": event.http_version.decode("ascii"),
        "path": unquote(raw_path.decode("ascii")),
        "raw_path": raw_path,
        "query_string": query_string,
        "headers": list(event.headers),
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 1),
    }
    refusal, announced_len = front.guard._judge(scope)
    if refusal is not None:
        assert msgspec.json.decode(refusal.body)["status"] == refusal.status
        return
    assert -1 <= announced_len <= wire_limits.BODY_LEN_MAX
    use_path(scope)
    routes = front.routes.bind("localhost")
    for is_websocket in (False, True):
        try:
            _, places = routes.match(scope["path"], method=scope["method"], websocket=is_websocket)
        except RequestRedirect as redirect:
            raise AssertionError("a redirect, which has no place in an API") from redirect
        except HTTPException:
            continue
        assert all(isinstance(place, str) and place for place in places.values()), places


WIRE: dict[str, Callable[[bytes], None]] = {
    "json": strict,
    "body": body,
    "requests": requests,
    "query": query,
    "head": request_head,
}


def wire(data: bytes) -> None:
    """Any of the targets of the wire; the first byte says which."""
    if data:
        tuple(WIRE.values())[data[0] % len(WIRE)](data[1:])


TARGETS: dict[str, Callable[[bytes], None]] = {"globs": globs, "wire": wire, **WIRE}
