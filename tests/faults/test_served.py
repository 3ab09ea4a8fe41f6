"""What keeps the servers of these tests, when a test fails."""

import pytest
import trio
import trio.testing

from .served import serving


class Failed(Exception):
    pass


async def test_no_server_outlives_a_test_that_fails_while_it_waits_for_its_end(tmp_path):
    with trio.fail_after(120), pytest.RaisesGroup(Failed, flatten_subgroups=True):
        async with serving(tmp_path) as served:
            await served.start()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(served.ended)
                await trio.testing.wait_all_tasks_blocked()
                raise Failed
