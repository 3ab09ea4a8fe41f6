"""A check that tries every order, over a model of its own: slow, short and easy to believe.

It shares nothing with the checker but the format of a history. Patterns are those of the small
world of `tests.properties.paths`; leases lapse as steps of their own, tried at every moment.
"""

from ..properties.oracle import GET_ON
from ..properties.paths import covered

BESIDE = {(one.value, other.value): fine for (one, other), fine in GET_ON.items()}
MS = 1_000_000


def least(ttl_ms):
    """The least that a lease lasts, in nanoseconds: clocks differ by up to a thousandth."""
    return max(0, ttl_ms * MS - ttl_ms * MS // 1000 - MS)


def meets(one, other):
    """Whether two asked for what only one can have; each is (agent, mode, patterns)."""
    return (
        (one[0] is None or one[0] != other[0])
        and not BESIDE[other[1], one[1]]
        and not covered(one[2]).isdisjoint(covered(other[2]))
    )


class World:
    """What is held and what lapsed, as {id: (want, lapses_ns, ttl_ms)}; changed only by copies."""

    def __init__(self, held=(), lapsed=(), token=0, done=(), born=()):
        self.held, self.lapsed, self.token = dict(held), dict(lapsed), token
        self.done, self.born = dict(done), frozenset(born)

    def copy(self):
        return World(self.held, self.lapsed, self.token, self.done, self.born)

    def key(self):
        held, lapsed = frozenset(self.held.items()), frozenset(self.lapsed.items())
        return held, lapsed, self.token, frozenset(self.done.items()), self.born

    def lapse(self, name):
        after = self.copy()
        after.lapsed[name] = after.held.pop(name)
        return after

    def forget(self, name):
        after = self.copy()
        del after.lapsed[name]
        return after

    def in_the_way(self, want):
        return {name for name, (held, _, _) in self.held.items() if meets(want, held)}

    def same(self, want):
        return [name for name, (held, _, _) in self.held.items() if held == want]

    def hold_on(self, call, name):
        """Grant what is held already."""
        want, lapses_ns, _ = self.held[name]
        after, ttl_ms = self.copy(), call.arguments["ttl_ms"]
        after.held[name] = (want, max(lapses_ns, call.invoke_ns + least(ttl_ms)), ttl_ms)
        return after

    def grant(self, call, name, token):
        """Grant something new, or None if that cannot be."""
        want = want_of(call)
        if self.in_the_way(want) or self.same(want) or name in self.born:
            return None
        if token is not None and token <= self.token:
            return None
        after = self.copy()
        for other, (lapsed, _, _) in self.lapsed.items():
            if lapsed == want or meets(want, lapsed):
                del after.lapsed[other]
        ttl_ms = call.arguments["ttl_ms"]
        after.held[name] = (want, call.invoke_ns + least(ttl_ms), ttl_ms)
        after.token = token or self.token
        after.born = self.born | {name}
        return after


def want_of(call):
    """Asked for: whose, in which mode, which patterns."""
    arguments = call.arguments
    return arguments.get("agent"), arguments["mode"], frozenset(arguments["patterns"])


def after(world, call, names, tokens):
    """Every world that the call may leave behind, with the answer that it had."""
    key = call.arguments.get("key")
    if call.outcome is not None and call.outcome["kind"] == "refused":
        return [world]
    if key is not None and key in world.done:
        if call.outcome is None:
            return []
        kind = call.outcome["kind"]
        about = call.outcome.get("reservation_id", call.arguments.get("reservation_id"))
        fine = kind in ("granted", "renewed", "released") and world.done[key] == about
        return [world] if fine else []
    if call.operation in ("reserve", "check", "list"):
        found = _STEPS[call.operation](world, call, names, tokens)
    else:
        found = _about_one(world, call)
    worlds = []
    for name, one in found:
        if name is not None and key is not None:
            one = one.copy()
            one.done[key] = name
        worlds.append(one)
    return worlds


def _reserve(world, call, names, tokens):
    want, outcome = want_of(call), call.outcome
    if outcome is None:
        granted = [(name, world.grant(call, name, tokens.get(name))) for name in names]
        held = [(name, world.hold_on(call, name)) for name in world.same(want)]
        return [(name, one) for name, one in (*granted, *held) if one is not None]
    if outcome["kind"] == "conflict":
        return [] if world.same(want) else _conflict(world, want, outcome)
    name = outcome["reservation_id"]
    if name in world.held:
        return [(name, world.hold_on(call, name))] if world.held[name][0] == want else []
    one = world.grant(call, name, tokens.get(name))
    return [] if one is None else [(name, one)]


def _conflict(world, want, outcome):
    found, said = world.in_the_way(want), outcome.get("conflicts")
    if said is None:
        return [(None, world)] if found else []
    return [(None, world)] if said and set(said) == found else []


def _check(world, call, names, tokens):
    if call.outcome["kind"] == "conflict":
        return _conflict(world, want_of(call), call.outcome)
    return [] if world.in_the_way(want_of(call)) else [(None, world)]


def _list(world, call, names, tokens):
    agent = call.arguments.get("agent")
    shown = {name for name, (held, _, _) in world.held.items() if agent in (None, held[0])}
    return [(None, world)] if shown == set(call.outcome["reservations"]) else []


def _about_one(world, call):
    name, agent = call.arguments["reservation_id"], call.arguments["agent"]
    known = world.held.get(name) or world.lapsed.get(name)
    kind = {"renew": "renewed", "release": "released"}[call.operation]
    if call.outcome is not None:
        kind = call.outcome["kind"]
    if kind == "not_owner":
        return [(None, world)] if known is not None and known[0][0] != agent else []
    if kind in ("not_found", "lapsed"):
        return [(None, world)] if known is None else []
    if known is None or known[0][0] != agent:
        return []
    one = world.copy()
    if kind == "renewed":
        one.lapsed.pop(name, None)
        ttl_ms = call.arguments.get("ttl_ms") or known[2]
        one.held[name] = (known[0], call.invoke_ns + least(ttl_ms), ttl_ms)
    else:
        one.held.pop(name, None)
    return [(name, one)]


_STEPS = {"reserve": _reserve, "check": _check, "list": _list}


def has_order(calls):
    """Whether any order of the calls fits, by trying all of them."""
    calls = tuple(call for call in calls if call.outcome is not None or call.operation != "check")
    granted = [call for call in calls if (call.outcome or {}).get("kind") == "granted"]
    tokens = {}
    for call in granted:
        token = call.outcome.get("fencing_token")
        if token is not None and tokens.setdefault(call.outcome["reservation_id"], token) != token:
            return False
    names = {call.arguments["reservation_id"] for call in calls if _names_one(call)}
    names |= {call.outcome["reservation_id"] for call in granted}
    for call in calls:
        outcome = call.outcome or {}
        names.update(outcome.get("conflicts") or (), outcome.get("reservations") or ())
    seen = set()
    stack = [(World(), frozenset(range(len(calls))), 0)]
    while stack:
        world, left, now_ns = stack.pop()
        answers = [calls[place].return_ns for place in left if calls[place].outcome is not None]
        if not answers:
            return True
        key = (world.key(), left, now_ns)
        if key in seen or now_ns > min(answers):
            continue
        seen.add(key)
        for name, (_, lapses_ns, _) in world.held.items():
            stack.append((world.lapse(name), left, max(now_ns, lapses_ns)))
        stack += [(world.forget(name), left, now_ns) for name in world.lapsed]
        for place in left:
            call = calls[place]
            if call.invoke_ns <= min(answers):
                at_ns = max(now_ns, call.invoke_ns)
                # Each may have been granted something that nobody ever heard of.
                for one in after(world, call, names | {f"?{place}"}, tokens):
                    stack.append((one, left - {place}, at_ns))
    return False


def _names_one(call):
    return "reservation_id" in call.arguments
