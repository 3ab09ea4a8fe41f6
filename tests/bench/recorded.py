"""Histories for tests: written by hand, or made by a small server that takes one call at a time."""

from collections import defaultdict

import attrs

from bench.linearizability.history import Call, Header, History, by_time

from .brute import MS, World, after, want_of

HEADER = Header(server="made up")
X, S = "exclusive", "shared"


def history(*calls):
    return History(HEADER, by_time(calls))


def call(client, begin, end, operation, arguments, outcome, **more):
    """A call; times in milliseconds, `end` None for one without an answer."""
    return Call(
        client=client,
        invoke_ns=begin * MS,
        return_ns=None if end is None else end * MS,
        operation=operation,
        arguments=arguments,
        outcome=outcome,
        **more,
    )


def reserve(agent, begin, end, patterns, outcome, *, mode=X, ttl_ms=60_000, key=None, **more):
    arguments = {"agent": agent, "patterns": patterns.split(), "mode": mode, "ttl_ms": ttl_ms}
    if key is not None:
        arguments["key"] = key
    client = more.pop("client", agent)
    return call(client, begin, end, "reserve", arguments, outcome, **more)


def granted(name, token=None):
    return {"kind": "granted", "reservation_id": name, "fencing_token": token}


def conflict(*names, **more):
    return {"kind": "conflict", "conflicts": list(names), **more}


def check(agent, begin, end, patterns, outcome, *, mode=X, **more):
    arguments = {"agent": agent, "patterns": patterns.split(), "mode": mode}
    return call(agent, begin, end, "check", arguments, outcome, **more)


def release(agent, begin, end, name, kind="released", *, key=None, **more):
    arguments = {"agent": agent, "reservation_id": name} | ({"key": key} if key else {})
    outcome = None if end is None else {"kind": kind}
    return call(more.pop("client", agent), begin, end, "release", arguments, outcome, **more)


def renew(agent, begin, end, name, kind="renewed", *, ttl_ms=60_000, key=None, **more):
    arguments = {"agent": agent, "reservation_id": name, "ttl_ms": ttl_ms}
    arguments |= {"key": key} if key else {}
    outcome = None if end is None else {"kind": kind}
    return call(more.pop("client", agent), begin, end, "renew", arguments, outcome, **more)


def listed(agent, begin, end, *names):
    return call(agent, begin, end, "list", {}, {"kind": "listed", "reservations": list(names)})


class Maker:
    """Makes a history that has an order, by deciding random calls one after the other.

    What looks like chance comes from `chance`, a `random.Random`. Each call is decided at a moment
    between its begin and its end, and the moments of all clients are in the order of the
    decisions. Calls without an answer are decided or not.
    """

    def __init__(self, chance, *, clients, patterns, lost=0.1, ttl_ms=(2, 5, 60_000)):
        self.chance = chance
        self.clients = [f"c{number}" for number in range(clients)]
        self.patterns = patterns
        self.lost = lost
        self.ttl_ms = ttl_ms
        self.names_conflicts = self.chance.random() < 0.9
        self.has_tokens = self.chance.random() < 0.9
        self.world = World()
        self.made = 0
        self.names = []
        self.calls = []
        self.lost_calls = {}

    def history(self, count):
        """So many decisions at most, one every four milliseconds."""
        free_ms = defaultdict(int)
        for at_ms in range(2, 2 + 4 * count, 4):
            ready = [client for client in self.clients if free_ms[client] < at_ms]
            if not ready:
                continue
            client = self.chance.choice(ready)
            begin = max(free_ms[client], at_ms - self.chance.randrange(1, 14))
            end = at_ms + self.chance.randrange(1, 14)
            self._one(client, begin, at_ms, end, at_ms // 4 + 1)
            free_ms[client] = end + 1
        return history(*self.calls)

    def _one(self, client, begin, at_ms, end, seq):
        self._lapse(at_ms)
        asked = self._asked(client, begin)
        outcome = self._decided(asked, seq)
        if self.chance.random() < self.lost and asked.operation in ("reserve", "renew", "release"):
            lost = attrs.evolve(asked, return_ns=None, outcome=None)
            self.calls.append(lost)
            if self.chance.random() < 0.5:
                self._settle(asked, outcome)
            self.lost_calls[client] = asked
            return
        self._settle(asked, outcome)
        self.calls.append(
            attrs.evolve(asked, return_ns=end * MS, outcome=outcome, epoch=1, seq=seq)
        )

    def _lapse(self, at_ms):
        for name, (_, lapses_ns, _) in tuple(self.world.held.items()):
            if lapses_ns <= at_ms * MS and self.chance.random() < 0.5:
                self.world = self.world.lapse(name)

    def _asked(self, client, begin):
        chance = self.chance
        lost = self.lost_calls.pop(client, None)
        if lost is not None and chance.random() < 0.7:
            return attrs.evolve(lost, invoke_ns=begin * MS)
        agent, mode = client, chance.choice((X, X, S))
        count = min(len(self.patterns), chance.choice((1, 1, 2)))
        wanted = " ".join(chance.sample(self.patterns, count))
        what = chance.choice(("reserve", "reserve", "reserve", "release", "renew", "check", "list"))
        if what in ("release", "renew") and self.names:
            name = chance.choice(self.names[-4:])
            make = release if what == "release" else renew
            asked = make(agent, begin, None, name)
            if what == "renew":
                asked.arguments["ttl_ms"] = chance.choice((*self.ttl_ms, None))
            if chance.random() < 0.3:
                asked.arguments["key"] = f"k-{client}-{begin}"
            return asked
        if what == "list":
            return call(client, begin, None, "list", {}, None)
        if what == "check":
            return check(agent, begin, None, wanted, None, mode=mode)
        ttl_ms = chance.choice(self.ttl_ms)
        key = f"k-{client}-{begin}" if chance.random() < 0.3 else None
        return reserve(agent, begin, None, wanted, None, mode=mode, ttl_ms=ttl_ms, key=key)

    def _decided(self, asked, seq):
        world = self.world
        done = world.done.get(asked.arguments.get("key"))
        if done is not None and asked.operation == "reserve":
            return self._granted(done)
        if done is not None:
            return {"kind": _DONE[asked.operation]}
        if asked.operation in ("reserve", "check"):
            want = want_of(asked)
            same = world.same(want) if asked.operation == "reserve" else []
            if same:
                return self._granted(same[0])
            found = sorted(world.in_the_way(want))
            if found:
                return conflict(*found) if self.names_conflicts else {"kind": "conflict"}
            if asked.operation == "check":
                return {"kind": "free"}
            return self._granted(f"r{seq}")
        if asked.operation == "list":
            return {"kind": "listed", "reservations": sorted(world.held)}
        name = asked.arguments["reservation_id"]
        known = world.held.get(name) or world.lapsed.get(name)
        if known is None:
            return {"kind": "not_found"}
        if known[0][0] != asked.arguments["agent"]:
            return {"kind": "not_owner"}
        return {"kind": _DONE[asked.operation]}

    def _granted(self, name):
        return granted(name, int(name[1:]) if self.has_tokens else None)

    def _settle(self, asked, outcome):
        decided = attrs.evolve(asked, return_ns=asked.invoke_ns, outcome=outcome)
        name = outcome.get("reservation_id")
        (self.world,) = after(self.world, decided, (), {name: outcome.get("fencing_token")})
        if outcome["kind"] == "granted" and outcome["reservation_id"] not in self.names:
            self.names.append(outcome["reservation_id"])


def spoiled(calls, chance):
    """The calls with the outcome of one of them changed."""
    calls = list(calls)
    places = [place for place, one in enumerate(calls) if one.outcome is not None]
    place = chance.choice(places)
    others = [calls[other].outcome for other in places]
    made = {name for one in others for name in (one.get("reservation_id"),) if name}
    found = calls[place].outcome
    kind, names = found["kind"], sorted(made) or ["r0"]
    changes = {
        "granted": [
            conflict(chance.choice(names)),
            granted(chance.choice(names), 1),
            granted(found.get("reservation_id"), chance.randrange(1, 12)),
        ],
        "conflict": [
            granted("r99", 99),
            conflict(*found.get("conflicts", ())[1:]),
            conflict(chance.choice(names)),
            {"kind": "free"},
        ],
        "free": [conflict(chance.choice(names))],
        "renewed": [{"kind": "not_found"}, {"kind": "not_owner"}],
        "released": [{"kind": "not_found"}, {"kind": "not_owner"}],
        "not_found": [{"kind": "renewed"}, {"kind": "released"}, {"kind": "not_owner"}],
        "not_owner": [{"kind": "renewed"}, {"kind": "released"}, {"kind": "not_found"}],
        "listed": [
            {"kind": "listed", "reservations": [chance.choice(names)]},
            {"kind": "listed", "reservations": found.get("reservations", [])[1:]},
        ],
    }[kind]
    fitting = [one for one in changes if one["kind"] in _KINDS[calls[place].operation]]
    calls[place] = attrs.evolve(calls[place], outcome=chance.choice(fitting))
    return calls


_DONE = {"renew": "renewed", "release": "released"}
_KINDS = {
    "reserve": ("granted", "conflict"),
    "check": ("free", "conflict"),
    "renew": ("renewed", "not_found", "not_owner"),
    "release": ("released", "not_found", "not_owner"),
    "list": ("listed",),
}
