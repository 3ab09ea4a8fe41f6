"""Histories written by hand: what a server may answer, and each kind of what none may."""

from .recorded import (
    S,
    call,
    conflict,
    granted,
    listed,
    release,
    renew,
    reserve,
)
from .recorded import check as look

FREE = {"kind": "free"}
NOT_FOUND, NOT_OWNER, LAPSED = "not_found", "not_owner", "lapsed"

GOOD = {
    "one after the other": (
        reserve("a", 0, 1, "src/**", granted("r1", 1)),
        reserve("b", 2, 3, "src/a.py", conflict("r1")),
        release("a", 4, 5, "r1"),
        reserve("b", 6, 7, "src/a.py", granted("r2", 9)),
    ),
    "the later call was first": (
        reserve("a", 0, 9, "src", conflict("r1")),
        reserve("b", 5, 8, "src", granted("r1", 1)),
    ),
    "a release during the grant": (
        reserve("a", 0, 1, "src", granted("r1", 1)),
        reserve("b", 2, 9, "src", granted("r2", 2)),
        release("a", 8, 12, "r1"),
    ),
    "shared beside shared": (
        reserve("a", 0, 1, "src", granted("r1", 1), mode=S),
        reserve("b", 0, 1, "src", granted("r2", 2), mode=S),
        reserve("c", 2, 3, "src", conflict("r1", "r2")),
    ),
    "intents beside each other": (
        reserve("a", 0, 1, "src", granted("r1", 1), mode="intent_exclusive"),
        reserve("b", 0, 1, "src", granted("r2", 2), mode="intent_shared"),
        reserve("c", 2, 3, "src", conflict("r1"), mode="shared_intent_exclusive"),
    ),
    "own are never in the way": (
        reserve("a", 0, 1, "src", granted("r1", 1)),
        reserve("a", 2, 3, "src/a.py", granted("r2", 2)),
        look("a", 4, 5, "src", FREE),
    ),
    "asked again for what is held": (
        reserve("a", 0, 1, "x y", granted("r1", 1)),
        reserve("b", 2, 3, "z", granted("r2", 2)),
        reserve("a", 4, 5, "y x", granted("r1", 1)),
    ),
    "a lease that lapsed": (
        reserve("a", 0, 1, "src", granted("r1", 1), ttl_ms=100),
        reserve("b", 99, 150, "src", granted("r2", 2)),
        renew("a", 160, 170, "r1", NOT_FOUND),
    ),
    "taken back before anybody took it": (
        reserve("a", 0, 1, "src", granted("r1", 1), ttl_ms=100),
        look("b", 150, 151, "src", FREE),
        renew("a", 160, 170, "r1"),
        look("b", 180, 181, "src", conflict("r1")),
    ),
    "a grant that nobody was told of": (
        reserve("a", 0, None, "src", None),
        reserve("b", 2, 3, "src", conflict("r1")),
        release("a", 4, 5, "r1", client="a2"),
    ),
    "a grant that happened after its client gave up": (
        reserve("a", 0, None, "src", None),
        look("b", 20, 30, "src", FREE),
        look("b", 40, 50, "src", conflict("r1")),
    ),
    "a grant that never happened": (
        reserve("a", 0, None, "src", None),
        reserve("b", 2, 3, "src", granted("r2", 2)),
    ),
    "a release that nobody was told of": (
        reserve("a", 0, 1, "src", granted("r1", 1)),
        release("a", 2, None, "r1"),
        look("b", 3, 4, "src", conflict("r1")),
        reserve("b", 5, 6, "src", granted("r2", 2)),
    ),
    "a retry under its key": (
        reserve("a", 0, None, "src", None, key="k"),
        reserve("b", 2, 3, "src", conflict("r1")),
        reserve("a", 5, 6, "src", granted("r1", 1), key="k", client="a2"),
        reserve("a", 8, 9, "src", granted("r1", 1), key="k", client="a2"),
    ),
    "asked again for what nobody was told of": (
        reserve("a", 0, None, "src", None),
        reserve("b", 2, 3, "doc", granted("r2", 2)),
        reserve("a", 5, 6, "src", granted("r1", 1), client="a2"),
    ),
    "asked again after a conflict that does not say with what": (
        reserve("a", 0, None, "src", None),
        reserve("b", 2, 3, "src", {"kind": "conflict"}),
        reserve("a", 5, 6, "src", granted("r1", 1), client="a2"),
    ),
    "a list": (
        reserve("a", 0, 1, "src", granted("r1", 1)),
        reserve("b", 0, 9, "doc", granted("r2", 2)),
        listed("c", 3, 4, "r1"),
        listed("c", 5, 6, "r1", "r2"),
    ),
    "somebody waits": (
        reserve("b", 2, 3, "src", conflict(waiting=["t1"])),
        reserve("c", 2, 3, "src", conflict(waiting=["t1"])),
    ),
    "more than are listed": (
        reserve("a", 0, 1, "src", granted("r1", 1), mode=S),
        reserve("b", 0, 1, "src", granted("r2", 2), mode=S),
        reserve("c", 2, 3, "src", conflict("r2", more=True)),
    ),
    "two that nobody was told of and no answer names": (
        reserve("a", 0, None, "src", None, ttl_ms=5),
        look("b", 2, 3, "src", {"kind": "conflict"}),
        look("b", 20, 21, "src", FREE),
        reserve("c", 22, None, "src", None),
        look("b", 24, 25, "src", {"kind": "conflict"}),
    ),
    "a renewal under a key that nobody was told of, and asked again after the lease": (
        reserve("a", 0, 1, "src", granted("r1", 1), ttl_ms=5),
        reserve("a", 2, None, "src", None, ttl_ms=5, key="k"),
        reserve("b", 20, 21, "src", granted("r2", 2)),
        reserve("a", 22, 23, "src", granted("r1", 1), ttl_ms=5, key="k", client="a2"),
    ),
    "a length that nobody was told of, and a renewal that says none": (
        reserve("a", 0, 1, "src", granted("r1", 1), ttl_ms=100),
        reserve("a", 80, None, "src", None, ttl_ms=30),
        renew("a", 90, 91, "r1", ttl_ms=None, client="a2"),
        reserve("b", 125, 126, "src", granted("r2", 2)),
    ),
    "a grant that nobody was told of, then one with a higher token, then its retry": (
        reserve("a", 0, None, "src", None, key="k"),
        reserve("b", 2, 3, "doc", granted("r2", 2)),
        look("c", 4, 5, "src", {"kind": "conflict"}),
        reserve("a", 6, 7, "src", granted("r1", 1), key="k", client="a2"),
    ),
    "leases go on after a restart": (
        reserve("a", 0, 1, "src", granted("r1", 1), epoch=1, seq=1),
        reserve("b", 2, None, "doc", None),
        look("c", 9, 10, "src", conflict("r1"), epoch=2, seq=1),
        renew("a", 11, 12, "r1", epoch=2, seq=2),
        look("c", 13, 14, "doc", FREE, epoch=2, seq=3),
    ),
    "another project": (
        reserve("a", 0, 1, "src", granted("r1", 5), project="one"),
        reserve("b", 2, 3, "src", granted("r2", 1), project="two"),
    ),
}
BAD = {
    "two hold what only one may": (
        reserve("a", 0, 1, "src/**", granted("r1", 1)),
        reserve("b", 2, 3, "src/*.py", granted("r2", 2)),
    ),
    "two at the same time, whichever was first": (
        reserve("a", 0, 9, "src", granted("r1", 1)),
        reserve("b", 5, 14, "src", granted("r2", 2)),
    ),
    "a check that is behind": (
        reserve("a", 0, 1, "src", granted("r1", 1)),
        look("b", 2, 3, "src", FREE),
    ),
    "a check that shows what was released": (
        reserve("a", 0, 1, "src", granted("r1", 1)),
        release("a", 2, 3, "r1"),
        look("b", 4, 5, "src", conflict("r1")),
    ),
    "a grant that was acknowledged and lost": (
        reserve("a", 0, 1, "src", granted("r1", 1)),
        renew("a", 2, 3, "r1", NOT_FOUND),
    ),
    "a list that leaves one out": (
        reserve("a", 0, 1, "src", granted("r1", 1)),
        reserve("b", 2, 3, "doc", granted("r2", 2)),
        listed("c", 4, 5, "r2"),
    ),
    "somebody else's was released": (
        reserve("a", 0, 1, "src", granted("r1", 1)),
        release("b", 2, 3, "r1"),
    ),
    "somebody else's was renewed": (
        reserve("a", 0, 1, "src", granted("r1", 1)),
        renew("b", 2, 3, "r1"),
    ),
    "one's own is said to be somebody else's": (
        reserve("a", 0, 1, "src", granted("r1", 1)),
        release("a", 2, 3, "r1", NOT_OWNER),
    ),
    "a conflict with nothing": (reserve("a", 0, 1, "src", conflict()),),
    "a conflict with what is not held": (reserve("a", 0, 1, "src", conflict("r9")),),
    "a conflict with what does not overlap": (
        reserve("a", 0, 1, "src/*.py", granted("r1", 1)),
        reserve("b", 2, 3, "src/*.md", conflict("r1")),
    ),
    "a conflict that leaves one out": (
        reserve("a", 0, 1, "src", granted("r1", 1), mode=S),
        reserve("b", 0, 1, "src", granted("r2", 2), mode=S),
        reserve("c", 2, 3, "src", conflict("r2")),
    ),
    "a token that goes back": (
        reserve("a", 0, 1, "src", granted("r1", 7)),
        release("a", 2, 3, "r1"),
        reserve("b", 4, 5, "src", granted("r2", 6)),
    ),
    "a token that goes back, of paths that never meet": (
        reserve("a", 0, 1, "src", granted("r1", 7)),
        reserve("b", 4, 5, "doc", granted("r2", 6)),
    ),
    "the same token twice": (
        reserve("a", 0, 9, "src", granted("r1", 7)),
        reserve("b", 0, 9, "doc", granted("r2", 7)),
    ),
    "half a set": (
        reserve("a", 0, 1, "x y", granted("r1", 1)),
        reserve("b", 2, 3, "y", granted("r2", 2)),
    ),
    "a set over what is held": (
        reserve("a", 0, 1, "y", granted("r1", 1)),
        reserve("b", 2, 3, "x y", granted("r2", 2)),
    ),
    "granted twice under one key": (
        reserve("a", 0, None, "src", None, key="k"),
        reserve("a", 2, 3, "src", granted("r1", 1), key="k", client="a2"),
        release("a", 4, 5, "r1", client="a2"),
        reserve("a", 6, 7, "src", granted("r2", 2), key="k", client="a2"),
    ),
    "a release that was done twice under one key": (
        reserve("a", 0, 1, "src", granted("r1", 1)),
        release("a", 2, 3, "r1", key="k"),
        release("a", 4, 5, "r1", NOT_FOUND, key="k"),
    ),
    "released twice": (
        reserve("a", 0, 1, "src", granted("r1", 1)),
        release("a", 2, 3, "r1"),
        release("a", 4, 5, "r1"),
    ),
    "held twice": (
        reserve("a", 0, 1, "src", granted("r1", 1)),
        reserve("a", 2, 3, "src", granted("r2", 2)),
    ),
    "renewed after somebody took it": (
        reserve("a", 0, 1, "src", granted("r1", 1), ttl_ms=100),
        reserve("b", 150, 151, "src/a.py", granted("r2", 2)),
        release("b", 152, 153, "r2"),
        renew("a", 160, 170, "r1"),
    ),
    "lapsed before its time": (
        reserve("a", 0, 1, "src", granted("r1", 1), ttl_ms=100),
        reserve("b", 2, 90, "src", granted("r2", 2)),
    ),
    "lapsed before the time of its renewal": (
        reserve("a", 0, 1, "src", granted("r1", 1), ttl_ms=100),
        renew("a", 50, 51, "r1", ttl_ms=100),
        reserve("b", 120, 140, "src", granted("r2", 2)),
    ),
    "asked before the lapse and answered after its effect": (
        reserve("a", 0, 1, "src", granted("r1", 1), ttl_ms=100),
        reserve("b", 10, 200, "src", granted("r2", 2)),
        reserve("c", 30, 90, "src", conflict("r2")),
    ),
    "the effect of a call that was refused": (
        reserve("a", 0, 1, "src", {"kind": "refused", "code": "limit_reached"}),
        reserve("b", 2, 3, "src", conflict("r1")),
    ),
    "a conflict that took the path all the same": (
        reserve("a", 0, 1, "src", granted("r1", 1)),
        reserve("b", 2, 3, "src", conflict("r1")),
        release("a", 4, 5, "r1"),
        look("c", 6, 7, "src", conflict("r2")),
    ),
    "an effect before its call": (
        look("b", 0, 1, "src", conflict("r1")),
        reserve("a", 5, None, "src", None),
    ),
    "seen, then not, then seen": (
        reserve("a", 0, 20, "src", granted("r1", 1)),
        look("b", 2, 3, "src", conflict("r1")),
        look("b", 4, 5, "src", FREE),
    ),
    "a lease that comes back after a restart, though it was released": (
        reserve("a", 0, 1, "src", granted("r1", 1), epoch=1, seq=1),
        release("a", 2, 3, "r1", epoch=1, seq=2),
        look("b", 9, 10, "src", conflict("r1"), epoch=2, seq=1),
    ),
    "a lease that comes back after a restart, though somebody took it": (
        reserve("a", 0, 1, "src", granted("r1", 1), ttl_ms=100, epoch=1, seq=1),
        reserve("b", 150, 151, "src", granted("r2", 2), epoch=1, seq=2),
        release("b", 152, 153, "r2", epoch=1, seq=3),
        renew("a", 160, 170, "r1", epoch=2, seq=1),
    ),
    "a grant that is gone after a restart": (
        reserve("a", 0, 1, "src", granted("r1", 1), epoch=1, seq=1),
        look("b", 9, 10, "src", FREE, epoch=2, seq=1),
    ),
    "tokens that begin anew after a restart": (
        reserve("a", 0, 1, "src", granted("r1", 7), epoch=1, seq=1),
        reserve("b", 9, 10, "doc", granted("r2", 1), epoch=2, seq=1),
    ),
    "a token of one that was released, for somebody else": (
        reserve("a", 0, 1, "src", granted("r1", 7)),
        release("a", 2, 3, "r1"),
        reserve("b", 4, 5, "src", granted("r2", 7)),
    ),
    "another token for what is held": (
        reserve("a", 0, 1, "src", granted("r1", 7)),
        reserve("a", 2, 3, "src", granted("r1", 8)),
    ),
    "a renewal that was acknowledged and lost": (
        reserve("a", 0, 1, "src", granted("r1", 1), ttl_ms=100),
        renew("a", 50, 51, "r1", ttl_ms=60_000),
        look("b", 200, 201, "src", FREE),
    ),
    "a renewal that says no length and was lost": (
        reserve("a", 0, 1, "src", granted("r1", 1), ttl_ms=100),
        renew("a", 90, 91, "r1", ttl_ms=None),
        reserve("b", 120, 140, "src", granted("r2", 2)),
    ),
    "a release that was acknowledged and lost": (
        reserve("a", 0, 1, "src", granted("r1", 1)),
        release("a", 2, 3, "r1"),
        reserve("b", 4, 5, "src", conflict("r1")),
    ),
    "a conflict that names nothing, and nobody holds anything": (
        reserve("a", 0, 1, "src", granted("r1", 1)),
        release("a", 2, 3, "r1"),
        reserve("b", 4, 5, "src", {"kind": "conflict"}),
    ),
    "a conflict that names nothing, with what does not overlap": (
        reserve("a", 0, None, "src", None),
        reserve("b", 4, 5, "doc", {"kind": "conflict"}),
    ),
    "a conflict with one's own": (
        reserve("a", 0, 1, "src", granted("r1", 1)),
        look("a", 2, 3, "src/a.py", conflict("r1")),
    ),
    "a lease of somebody is listed as another's": (
        reserve("a", 0, 1, "src", granted("r1", 1)),
        call("c", 2, 3, "list", {"agent": "b"}, {"kind": "listed", "reservations": ["r1"]}),
    ),
    "one call without an answer was granted twice": (
        reserve("a", 0, None, "src", None),
        look("b", 2, 3, "src", conflict("r1")),
        release("a", 4, 5, "r1", client="a2"),
        look("b", 6, 7, "src", conflict("r2")),
    ),
    "one call without an answer was granted twice, and its retry": (
        reserve("a", 0, None, "src", None, key="k"),
        reserve("a", 2, 3, "src", granted("r1", 1), key="k", client="a2"),
        release("a", 4, 5, "r1", client="a2"),
        look("b", 6, 7, "src", {"kind": "conflict"}),
    ),
    "one release without an answer took two": (
        reserve("a", 0, 1, "src", granted("r1", 1)),
        release("a", 2, None, "r1"),
        reserve("a", 4, 5, "src", granted("r2", 2), client="a2"),
        look("b", 6, 7, "src", FREE),
    ),
    "an id that was somebody else's": (
        reserve("a", 0, 1, "src", granted("r1", 1)),
        release("a", 2, 3, "r1"),
        reserve("b", 4, 5, "src", granted("r1", 2)),
    ),
}


# What can go wrong, and the histories above in which it does.
KINDS = {
    "two hold what only one may": (
        "two hold what only one may",
        "two at the same time, whichever was first",
        "half a set",
        "a set over what is held",
        "held twice",
        "lapsed before its time",
    ),
    "a token that is stale": (
        "a token that goes back",
        "a token that goes back, of paths that never meet",
        "the same token twice",
        "tokens that begin anew after a restart",
        "a token of one that was released, for somebody else",
        "another token for what is held",
    ),
    "a grant was lost": (
        "a grant that was acknowledged and lost",
        "a list that leaves one out",
        "a conflict that leaves one out",
        "a grant that is gone after a restart",
    ),
    "a release was lost": (
        "a check that shows what was released",
        "a release that was acknowledged and lost",
        "released twice",
    ),
    "a renewal was lost": (
        "lapsed before the time of its renewal",
        "a renewal that was acknowledged and lost",
        "a renewal that says no length and was lost",
    ),
    "a conflict with nobody": (
        "a conflict with nothing",
        "a conflict with what is not held",
        "a conflict with what does not overlap",
        "a conflict that took the path all the same",
        "a conflict that names nothing, and nobody holds anything",
        "a conflict that names nothing, with what does not overlap",
        "a conflict with one's own",
        "the effect of a call that was refused",
    ),
    "the wrong holder": (
        "somebody else's was released",
        "somebody else's was renewed",
        "one's own is said to be somebody else's",
        "a lease of somebody is listed as another's",
        "an id that was somebody else's",
    ),
    "what was over is back": (
        "a lease that comes back after a restart, though it was released",
        "a lease that comes back after a restart, though somebody took it",
        "renewed after somebody took it",
    ),
    "real time": (
        "a check that is behind",
        "an effect before its call",
        "seen, then not, then seen",
        "asked before the lapse and answered after its effect",
    ),
    "one call had its effect twice": (
        "granted twice under one key",
        "a release that was done twice under one key",
        "one call without an answer was granted twice",
        "one call without an answer was granted twice, and its retry",
        "one release without an answer took two",
    ),
}
