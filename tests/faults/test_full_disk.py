"""A disk that is really full, under a server of its own: said, survived, and healed by free space.

On a small file system of its own, where one may be mounted, and everywhere with a limit on how long
the server's files may become.
"""

import resource
import signal
import subprocess
from contextlib import contextmanager
from functools import partial

import pytest

from ..e2e.processes import client, serve_options, started

# Enough to start and for some messages.
SIZE = 2 * 1024 * 1024
BODY = "word " * 2_000
MESSAGES_MAX = 1_000


@contextmanager
def small_file_system(folder):
    """A mounted tmpfs of `SIZE` bytes.

    Skips where it cannot be mounted: that takes root, and a container may not let root do so.
    """
    place = folder / "small"
    place.mkdir()
    options = ["-t", "tmpfs", "-o", f"size={SIZE},mode=0700", "intermute-test", str(place)]
    done = subprocess.run(["mount", *options], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


async def send(to, number):
    """One message of ten kilobytes, always under the key of its number."""
    body = {"from": "ann", "to": ["bob"], "subject": f"s{number}", "body": BODY}
    headers = {"Idempotency-Key": f"k{number}"}
    return await to.post("/api/messages", json=body, headers=headers)


async def fill(to):
    """Send until the disk is full: the acknowledged numbers, and the answer that says so."""
    for number in range(MESSAGES_MAX):
        response = await send(to, number)
        if response.status_code != 200:
            return range(number), response
    raise AssertionError("it never was full")


async def reads_go_on(to, known):
    response = await to.get("/api/agents")
    assert response.status_code == 200
    assert {each["name"] for each in response.json()["agents"]} == {"ann", "bob"}
    response = await to.get("/api/inbox/bob", params={"limit": 1_000})
    assert response.status_code == 200, response.text
    subjects = {each["subject"] for each in response.json()["messages"]}
    assert {f"s{number}" for number in known} <= subjects
    return subjects


def is_full(response):
    assert response.status_code == 503, response.text
    members = response.json()
    assert members["error"] == "storage_unavailable"
    assert members["outcome"] in ("unknown", "not_done")
    assert "Retry-After" in response.headers
    return members["detail"]


async def register(to):
    for name in ("ann", "bob"):
        response = await to.post("/api/agents", json={"name": name, "agent_id": name})
        assert response.status_code == 200, response.text


async def test_a_full_file_system_is_said_and_heals(folder):
    with small_file_system(folder) as place:
        ballast = place / "ballast"
        ballast.write_bytes(bytes(SIZE // 4))
        async with started(serve_options(place)) as process, client(await process.port()) as to:
            await register(to)
            known, response = await fill(to)
            assert len(known) > 3
            assert "full" in is_full(response) or "io_error" in is_full(response)
            subjects = await reads_go_on(to, known)
            assert subjects == {f"s{number}" for number in known}
            assert (await to.get("/health")).status_code == 200
            ready = await to.get("/ready")
            assert ready.status_code == 503
            assert ready.json()["disk"]["ok"] is False
            ballast.unlink()
            # One fault has not opened the breaker, so nobody has to wait for it.
            again = await send(to, known.stop)
            assert again.status_code == 200, again.text
            await reads_go_on(to, [*known, known.stop])
            assert await process.end(signal.SIGTERM) == 0
        await opens_again(place, [*known, known.stop])


async def test_a_file_that_may_not_grow_is_said_and_heals(folder):
    """The limit of the process, which is raised again from outside."""
    options = serve_options(folder)
    async with started(options) as process, client(await process.port()) as to:
        await register(to)
        limit = partial(resource.prlimit, process.process.pid, resource.RLIMIT_FSIZE)
        _, most = limit()
        limit((SIZE // 2, most))
        known, response = await fill(to)
        assert len(known) > 3
        assert "full" in is_full(response) or "io_error" in is_full(response)
        assert await reads_go_on(to, known) == {f"s{number}" for number in known}
        limit((most, most))
        again = await send(to, known.stop)
        assert again.status_code == 200, again.text
        assert await process.end(signal.SIGTERM) == 0
    await opens_again(folder, [*known, known.stop])


async def opens_again(folder, known):
    """After a restart, everything that was acknowledged is there, once."""
    async with started(serve_options(folder)) as process, client(await process.port()) as to:
        await reads_go_on(to, known)
        assert await process.end(signal.SIGTERM) == 0
