"""The server dies, or a bug meets it, at every named point once; see `seams`."""

import random
import secrets
import signal

import pytest
import trio

from ..effort import effort
from .cycles import cycling
from .seams import SEAMS

ROUNDS = effort(1, 10)
ACTS = ("die", "raise", "stall")[: effort(2, 3)]
# A bug in the middle of a file operation is no bug of the product's: see the tests of bad disks.
OF_THE_DISK = ("in a write of the log", "in a checkpoint")
AT_THE_END = "before a file is closed"


async def until_passed(cycles, act):
    """The point is passed, and if the server lives on, it goes on answering."""
    if act == "die":
        await cycles.dead()
        return
    await cycles.served.passed.wait()
    await cycles.ledger.so_many_more(25)
    await cycles.served.kill()


@pytest.mark.parametrize("number", range(ROUNDS))
@pytest.mark.parametrize("act", ACTS)
async def test_at_every_point_nothing_is_lost_or_done_by_half(folder, act, number):
    chance = random.Random(secrets.randbits(32))
    with trio.fail_after(300):
        async with cycling(folder, chance) as cycles:
            for seam in SEAMS:
                if act != "die" and seam in OF_THE_DISK:
                    continue
                try:
                    await cycles.served.start(seam=seam, act=act, nth=chance.randint(1, 2))
                    if seam == AT_THE_END:
                        await cycles.ledger.so_many_more(25)
                        cycles.served.alive = False
                        cycles.served.signal(signal.SIGTERM)
                        code = await cycles.served.ended()
                        assert (code == -signal.SIGKILL) == (act == "die")
                        # That it was passed is told beside the end, and may be heard after it.
                        await cycles.served.passed.wait()
                    else:
                        await until_passed(cycles, act)
                    cycles.judge()
                except BaseException as error:
                    error.add_note(f"the point: {seam}")
                    raise
            await cycles.finish()
