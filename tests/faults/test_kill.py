"""kill -9 of the real server under everything at once; what it had acknowledged is kept outside.

Half of the servers are killed after some number of answers, the others by themselves at some
passing of some point in the product. Which ones, the seed says; what else happens at that moment,
nobody does, so a failing seed is worth trying more than once.
"""

import os
import random
import secrets
from contextlib import contextmanager

import pytest
import trio

from ..effort import effort
from .cycles import Cycles, cycling
from .seams import SEAMS

VARIABLE = "INTERMUTE_KILL_SEED"
CYCLES = 10
ROUNDS = effort(1, 20)
# Points that a server passes once for each project, and those that have a test of their own.
SELDOM = ("while a file is taken over", "before the leases are resumed")
OFTEN = tuple(
    name for name in SEAMS if name not in (*SELDOM, "in a migration", "before a file is closed")
)


@contextmanager
def named(seed):
    try:
        yield
    except BaseException as error:
        error.add_note(f"again with {VARIABLE}={seed}")
        raise


async def live_and_die(cycles: Cycles, chance: random.Random):
    if chance.random() < 0.5:
        await cycles.served.start()
        await cycles.ledger.so_many_more(chance.randrange(40, 160))
        await cycles.served.kill()
    else:
        seam = chance.choice((*SELDOM, *OFTEN))
        await cycles.served.start(seam=seam, nth=chance.randint(1, 2 if seam in SELDOM else 60))
        await cycles.dead()


@pytest.mark.parametrize("number", range(ROUNDS))
async def test_nothing_acknowledged_is_lost_when_the_server_is_killed(folder, number):
    seed = int(os.environ.get(VARIABLE) or secrets.randbits(32)) + number
    chance = random.Random(seed)
    with named(seed), trio.fail_after(300):
        async with cycling(folder, chance) as cycles:
            for _ in range(CYCLES):
                await live_and_die(cycles, chance)
                cycles.judge()
            await cycles.finish()
    assert len(cycles.ledger.attempts) > 20 * CYCLES, "there was some load"
    assert any(attempt.lost for attempt in cycles.ledger.attempts), "somebody was not answered"
