"""Servers that do not keep their word are found out by the tests that kill them."""

import random

import pytest
import trio

from .cycles import cycling

CYCLES = 6
FINDS = {
    "retry not remembered": ("done twice", "refused", "replayed"),
    "overlap test skipped": (
        "two hold what only one may",
        "somebody was overtaken",
        "a token did not grow",
    ),
    "resume off by one": ("another story",),
}


def leaves(error):
    if isinstance(error, BaseExceptionGroup):
        return [leaf for each in error.exceptions for leaf in leaves(each)]
    return [error]


async def live_with(bug, folder):
    async with cycling(folder, random.Random(7)) as cycles:
        for _ in range(CYCLES):
            await cycles.served.start(bug=bug)
            await cycles.ledger.so_many_more(60)
            await cycles.served.kill()
            cycles.judge()
        await cycles.finish()


@pytest.mark.parametrize("bug", FINDS)
async def test_a_server_that_breaks_its_word_is_found_out(folder, bug):
    found = []
    try:
        with trio.fail_after(120):
            await live_with(bug, folder)
    except* AssertionError as errors:
        found = [str(error) for error in leaves(errors)]
    assert any(word in said for said in found for word in FINDS[bug]), found
