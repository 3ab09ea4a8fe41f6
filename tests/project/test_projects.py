"""All projects of a server: mailboxes, idle stops, sweeps, and files that cannot be used."""

import apsw
import pytest
import trio

from actors import ActorStopped, Overloaded
from intermute.domain import limits
from intermute.domain.commands import Caller, Heartbeat, RegisterAgent
from intermute.domain.events import ReservationExpired
from intermute.project.breaker import BreakerState
from intermute.project.directory import Projects, ProjectsSettings
from intermute.project.messages import StorageUnavailable, Told, WriteOutcome
from intermute.storage.faults import InUse
from intermute.storage.reader import AgentFilter

from ..faults.disk import faulty_disk
from .harness import (
    NOBODY,
    PROJECT,
    TAG,
    TTL_S,
    Desk,
    HandClock,
    TrioClock,
    all_at_once,
    assert_consistent,
    check,
    file_of,
    has_event,
    log_of,
    opened,
    outcome,
    refused,
    release,
    reserve,
    running,
)

EVERYBODY = AgentFilter()


def agents_of(reader):
    return [view.name for view in reader.agents(EVERYBODY, limit=100)]


def beside(folder):
    """Files of a folder other than the lock and the projects' own."""
    names = (entry.name for entry in folder.iterdir())
    return [name for name in names if name != "server.lock" and not name.endswith(".sqlite3")]


# -- Asking


async def test_projects_know_nothing_of_each_other(tmp_path):
    async with running(tmp_path) as projects:
        for name in ("one", "two"):
            told = await projects.ask(name, reserve("alice", "src"), NOBODY)
            assert outcome(told).project == name
        told = await projects.ask("one", reserve("bob", "src"), NOBODY)
        assert refused(told) == "reservation_conflict"
        held = outcome(await projects.ask("two", reserve("bob", "lib"), NOBODY)).reservation_id
        told = await projects.ask("one", release(held, "bob"), NOBODY)
        assert refused(told) == "reservation_not_found"
        assert sorted(projects.all_projects()) == ["one", "two"]
    assert len(list(tmp_path.glob("*.sqlite3"))) == 2


async def test_all_spellings_of_a_name_are_one_project(tmp_path):
    async with running(tmp_path) as projects:
        await projects.ask("caf\u00e9", reserve("alice", "src"), NOBODY)
        for spelling in ("cafe\u0301", "  caf\u00e9 "):
            told = await projects.ask(spelling, reserve("bob", "src"), NOBODY)
            assert refused(told) == "reservation_conflict"
        assert list(projects.all_projects()) == ["caf\u00e9"]


@pytest.mark.parametrize("name", ["", " ", "x" * 201, "a\x00b", "a\u202eb"])
async def test_what_is_no_name_is_refused_without_a_file(tmp_path, name):
    async with running(tmp_path) as projects:
        told = await projects.ask(name, reserve("alice", "src"), NOBODY)
        assert refused(told) == "invalid_project"
        assert (told.epoch, told.seq) == (0, 0)
        assert not projects.exists(name)
        assert projects.read(name, agents_of, empty="nothing") == "nothing"
    assert list(tmp_path.glob("*.sqlite3")) == []


async def test_looking_at_a_project_that_is_not_there_makes_none(tmp_path):
    async with running(tmp_path) as projects:
        told = await projects.ask("nowhere", check("src"), NOBODY)
        assert outcome(told).conflicts == ()
        assert refused(await projects.ask("nowhere", check("["), NOBODY)) == "invalid_pattern"
        wrong = Caller("ghost", b"t" * 32)
        assert (
            refused(await projects.ask("nowhere", check("x"), wrong)) == "agent_identity_mismatch"
        )
        assert not projects.exists("nowhere")
        assert projects.name_of("a" * 12) is None
        assert projects.read("nowhere", agents_of, empty=[]) == []
    assert list(tmp_path.glob("*.sqlite3")) == []


async def test_a_server_keeps_so_many_projects(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "PROJECTS_MAX", 2)
    async with running(tmp_path) as projects:
        for name in ("one", "two"):
            await projects.ask(name, reserve("alice", "src"), NOBODY)
        told = await projects.ask("three", reserve("alice", "src"), NOBODY)
        assert refused(told) == "limit_reached"
        assert isinstance(await projects.ask("two", check("x"), NOBODY), Told)


async def test_a_full_mailbox_says_so_at_once(tmp_path):
    async with running(tmp_path, mailbox_len_max=8, batch_len_max=4) as projects:
        await projects.ask("house", check("x"), NOBODY)
        calls = [
            lambda i=i: projects.ask("house", reserve(f"a{i}", f"f{i}"), NOBODY) for i in range(20)
        ]
        results = await all_at_once(calls)
        full = [one for one in results if isinstance(one, Overloaded)]
        told = [one for one in results if isinstance(one, Told)]
        assert (len(told), len(full)) == (8, 12)
        assert all(one.retry_after_s > 0 for one in full)
        held = projects.read("house", lambda r: len(r.events(after=0, limit=99)), empty=0)
        assert held == 8, "what was refused was not done"


# -- Live actors


async def test_actors_in_use_have_a_bound(tmp_path):
    async with running(tmp_path, live_max=2) as projects:
        await projects.ask("one", reserve("alice", "src"), NOBODY)
        await projects.ask("two", reserve("alice", "src"), NOBODY)
        with pytest.raises(Overloaded, match="2 actors are live"):
            await projects.ask("three", reserve("alice", "src"), NOBODY)
        told = await projects.ask("two", check("src"), NOBODY)
        held = outcome(told).conflicts[0].reservation_id
        await projects.ask("two", release(held, "alice"), NOBODY)
        assert isinstance(await projects.ask("three", reserve("a", "x"), NOBODY), Told)
        assert projects.statistics().evicted == 1
        assert isinstance(await projects.ask("one", check("src"), NOBODY), Told)


async def test_an_idle_project_stops_and_comes_back(tmp_path, autojump_clock):
    async with running(tmp_path, idle_ms=60_000, clock=TrioClock()) as projects:
        told = await projects.ask("house", RegisterAgent(b"t" * 32, name="alice"), NOBODY)
        await trio.sleep(120)
        assert projects.statistics().live == 0
        assert beside(tmp_path) == []
        again = await projects.ask("house", Heartbeat(outcome(told).agent_id), NOBODY)
        assert again.epoch == told.epoch + 1


async def test_a_project_with_leases_does_not_stop(tmp_path, autojump_clock):
    async with running(tmp_path, idle_ms=60_000, clock=TrioClock()) as projects:
        told = await projects.ask("house", reserve("alice", "src", ttl_s=TTL_S), NOBODY)
        await trio.sleep(TTL_S - 5)
        assert projects.statistics().live == 1
        await trio.sleep(200)
        assert projects.statistics().live == 0
    assert has_event(file_of(tmp_path), ReservationExpired, outcome(told).reservation_id)


# -- The sweeper


async def test_a_lease_lapses_without_anybody_asking(tmp_path, autojump_clock):
    async with running(tmp_path, clock=TrioClock()) as projects:
        told = await projects.ask("house", reserve("alice", "src", ttl_s=60), NOBODY)
        held = outcome(told).reservation_id
        path = file_of_live(tmp_path)
        await trio.sleep(59)
        assert not has_event(path, ReservationExpired, held)
        await trio.sleep(1 + limits.SWEEP_INTERVAL_MS / 1000)
        assert has_event(path, ReservationExpired, held)
        before = len(log_of(path))
        await trio.sleep(60)
        assert len(log_of(path)) == before, "and once"


def file_of_live(folder):
    (path,) = folder.glob("*.sqlite3")
    return path


async def test_the_sweeper_outlives_a_disk_that_fails(tmp_path, autojump_clock):
    with faulty_disk() as disk:
        async with running(tmp_path, clock=TrioClock()) as projects:
            told = await projects.ask("house", reserve("alice", "src", ttl_s=60), NOBODY)
            held = outcome(told).reservation_id
            disk.arm(1, for_good=True)
            await trio.sleep(120)
            (health,) = projects.health()
            assert health.breaker is not BreakerState.CLOSED
            assert health.last_fault == "io_error"
            disk.disarm()
            await trio.sleep(60)
            assert projects.health()[0].ready
            assert has_event(file_of_live(tmp_path), ReservationExpired, held)


async def test_sweeping_an_idle_project_writes_nothing(tmp_path, autojump_clock):
    async with running(tmp_path, clock=TrioClock()) as projects:
        await projects.ask("house", reserve("alice", "src"), NOBODY)
        await trio.sleep(10)
        seq = (await projects.ask("house", check("x"), NOBODY)).seq
        await trio.sleep(60)
        assert (await projects.ask("house", check("x"), NOBODY)).seq == seq + 1


# -- Files that cannot be used


def spoil_with_text(path):
    path.write_bytes(b"this is no database, but plain text. " * 200)


def spoil_a_page(path):
    content = bytearray(path.read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)
    path.write_bytes(content)


def make_newer(path):
    with opened(path) as connection:
        connection.pragma("user_version", 1_000)


def make_foreign(path):
    path.write_bytes(b"")
    with opened(path) as connection:
        connection.execute("CREATE TABLE mine (x); PRAGMA user_version = 2")


def make_anothers(path):
    with opened(path) as connection:
        connection.execute("UPDATE meta SET value = 'elsewhere' WHERE name = 'project'")


def make_link(path):
    target = path.with_name("moved")
    path.rename(target)
    path.symlink_to(target)


SPOILT = {
    "text": (spoil_with_text, "corrupt"),
    "pages": (spoil_a_page, "corrupt"),
    "newer": (make_newer, "schema 1000"),
    "foreign": (make_foreign, ""),
    "another project's": (make_anothers, "another project"),
    "link": (make_link, "not a regular file"),
}


@pytest.mark.parametrize("how", SPOILT)
async def test_a_file_that_cannot_be_used_answers_why_and_leaves_the_others_alone(
    tmp_path, how, caplog
):
    spoil, reason = SPOILT[how]
    async with running(tmp_path) as projects:
        await projects.ask("house", RegisterAgent(b"t" * 32, name="alice"), NOBODY)
    path = file_of(tmp_path)
    spoil(path)
    before = path.read_bytes()
    async with running(tmp_path) as projects:
        with pytest.raises((ActorStopped, StorageUnavailable)) as failed:
            await projects.ask("house", reserve("alice", "src"), NOBODY)
        assert reason in str(failed.value)
        assert failed.value.retry_after_s is not None
        told = await projects.ask("other", reserve("alice", "src"), NOBODY)
        assert outcome(told).agent_id == "alice"
        assert "other" in projects.all_projects()
        assert projects.health()
    assert path.read_bytes() == before or how == "foreign"


@pytest.mark.parametrize("how", ["text", "pages", "foreign", "link"])
async def test_reading_a_file_that_cannot_be_used_is_a_fault(tmp_path, how):
    async with running(tmp_path) as projects:
        await projects.ask("house", RegisterAgent(b"t" * 32, name="alice"), NOBODY)
    SPOILT[how][0](file_of(tmp_path))
    async with running(tmp_path) as projects:
        with pytest.raises(StorageUnavailable) as failed:
            projects.read("house", agents_of, empty=[])
        assert failed.value.outcome is WriteOutcome.NOT_DONE
        assert "house" not in projects.all_projects() or how == "pages"


async def test_a_file_that_is_repaired_is_used_again(tmp_path, autojump_clock):
    async with running(tmp_path, clock=TrioClock()) as projects:
        await projects.ask("house", RegisterAgent(b"t" * 32, name="alice"), NOBODY)
    path = file_of(tmp_path)
    good = path.read_bytes()
    spoil_with_text(path)
    async with running(tmp_path, clock=TrioClock()) as projects:
        for _ in range(3):
            with pytest.raises(ActorStopped):
                await projects.ask("house", check("x"), NOBODY)
        path.write_bytes(good)
        await trio.sleep(10)
        assert isinstance(await projects.ask("house", check("x"), NOBODY), Told)
        assert projects.read("house", agents_of, empty=[]) == ["alice"]


async def test_a_lock_held_while_opening_is_no_disaster(tmp_path, autojump_clock):
    path = file_of(tmp_path)
    Desk(path).close()
    async with running(tmp_path, clock=TrioClock()) as projects:
        with opened(path) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises((ActorStopped, StorageUnavailable)) as failed:
                await projects.ask("house", check("x"), NOBODY)
            assert "locked" in str(failed.value) or "busy" in str(failed.value)
            other.execute("COMMIT")
        await trio.sleep(5)
        assert isinstance(await projects.ask("house", check("x"), NOBODY), Told)


# -- Reads, health


async def test_reads_see_what_was_acknowledged(tmp_path):
    async with running(tmp_path) as projects:
        for i in range(5):
            await projects.ask("house", RegisterAgent(b"t" * 32, name=f"n{i}"), NOBODY)
            assert len(projects.read("house", agents_of, empty=[])) == i + 1
        assert projects.name_of(projects.tag_of("house")) == "house"
        assert projects.tag_of("house") == TAG
        assert projects.exists(PROJECT)


async def test_readers_open_at_once_have_a_bound(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "READERS_OPEN_MAX", 2)
    async with running(tmp_path) as projects:
        for name in ("one", "two", "three"):
            await projects.ask(name, RegisterAgent(b"t" * 32, name=name), NOBODY)
        for name in ("one", "two", "three", "one"):
            assert projects.read(name, agents_of, empty=[]) == [name]


async def test_health_tells_of_projects_in_use(tmp_path):
    async with running(tmp_path) as projects:
        assert projects.health() == []
        await projects.ask("house", reserve("alice", "src"), NOBODY)
        (health,) = projects.health()
        assert (health.tag, health.ready, health.faults_in_row) == (TAG, True, 0)


async def test_a_reader_that_meets_a_fault_is_opened_anew(tmp_path):
    async with running(tmp_path) as projects:
        await projects.ask("house", RegisterAgent(b"t" * 32, name="alice"), NOBODY)

        def broken(_):
            raise apsw.IOError("by order of a test")

        with pytest.raises(StorageUnavailable):
            projects.read("house", broken, empty=[])
        assert projects.read("house", agents_of, empty=[]) == ["alice"]


# -- The end


async def test_a_graceful_stop_leaves_only_the_files(tmp_path):
    async with running(tmp_path) as projects:
        for name in ("one", "two", "three"):
            await projects.ask(name, reserve("alice", "src"), NOBODY)
            projects.read(name, agents_of, empty=[])
        assert beside(tmp_path) != []
    assert beside(tmp_path) == []


async def test_projects_that_were_only_read_leave_nothing_beside_their_files(tmp_path):
    Desk(file_of(tmp_path)).close()
    async with running(tmp_path) as projects:
        assert projects.read("house", agents_of, empty=None) == []
    assert beside(tmp_path) == []


async def test_what_was_asked_before_the_stop_is_answered(tmp_path):
    async with running(tmp_path) as projects:
        await projects.ask("house", reserve("first", "x"), NOBODY)
        calls = [
            lambda i=i: projects.ask("house", reserve(f"a{i}", f"f{i}"), NOBODY) for i in range(50)
        ]

        async def stop():
            projects.stop()

        results = await all_at_once([*calls, stop])
    for result in results[:-1]:
        assert isinstance(result, Told | ActorStopped)
    done = sum(isinstance(result, Told) for result in results[:-1])
    assert len(log_of(file_of(tmp_path))) == 1 + done
    assert_consistent(file_of(tmp_path), tmp_path / "scratch")


async def test_after_a_stop_everything_is_refused(tmp_path):

    async with running(tmp_path) as projects:
        await projects.ask("house", reserve("alice", "src"), NOBODY)
    with pytest.raises(ActorStopped):
        await projects.ask("house", check("src"), NOBODY)
    Projects(ProjectsSettings(path=tmp_path), clock=HandClock())._data.close()


async def test_the_directory_is_held_until_the_end(tmp_path):
    async with running(tmp_path):
        with pytest.raises(InUse):
            Projects(ProjectsSettings(path=tmp_path))
