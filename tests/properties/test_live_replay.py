"""Windows and pokes in the log: folded, rebuilt, written again or interrupted, it says the same."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from intermute.domain import commands
from intermute.domain.commands import Caller

from ..project.harness import assert_consistent, log_of, quick_folder, raw_log, tables
from .test_log_replay import Life, live_again, places, quick

uuids = st.sampled_from(("u1", "u2"))
names = st.sampled_from(("m1", "m2", "m3"))
steps = st.one_of(
    st.tuples(st.just("window"), places, uuids, st.sampled_from(("", "work"))),
    st.tuples(st.just("no window"), uuids),
    st.tuples(st.just("focus"), places, st.sampled_from(("at-prompt", "at-prompt", "thinking"))),
    st.tuples(
        st.just("poke"),
        st.lists(places, min_size=1, max_size=3),
        st.sampled_from(("live", "both", "both", "async")),
        names,
    ),
    st.tuples(st.just("settle"), names, places, st.booleans()),
    st.tuples(st.just("surface"), names, places),
    st.tuples(st.just("live"), st.sampled_from(("on", "on", "off", "default"))),
    st.tuples(st.just("retire"), places),
    st.tuples(st.just("register"), places, st.none(), st.none()),
    st.tuples(st.just("later"), st.sampled_from((1, 59, 61)), st.sampled_from((0, -90_000))),
    st.tuples(st.just("restart"), st.sampled_from((0, 30))),
)
begun = [
    ("live", "on"),
    *(("register", place, None, None) for place in range(3)),
    *(("open", place) for place in range(3)),
    *(("window", place, f"w{place}", "work") for place in range(3)),
    *(("focus", place, "at-prompt") for place in range(3)),
]
lives = st.lists(steps, min_size=5, max_size=40).map(lambda life: [*begun, *life])


class LiveLife(Life):
    """A life in which agents have windows and poke one another."""

    def command(self, kind, *rest):
        make = {
            "window": lambda p, uuid, target: commands.RegisterWindow(
                uuid, self.agent(p), b"t" * 32, b"p" * 32, "", target
            ),
            "no window": commands.ExpireWindow,
            "focus": lambda p, word: commands.Heartbeat(self.agent(p), word),
            "open": lambda p: commands.SetPolicy(self.agent(p), None, "open"),
            "poke": lambda to, transport, name: commands.SendMessage(
                "bob", tuple(map(self.agent, to)), transport=transport, message_id=name, body="hi"
            ),
            "settle": lambda name, p, injected: commands.SettlePokes(
                name, (commands.PokeOutcome(self.agent(p), injected, "" if injected else "x"),)
            ),
            "surface": lambda name, p: commands.SurfacePoke(self.agent(p), name),
        }
        if kind == "live":
            command = commands.ConfigureProject(None, *rest)
            return self.desk.ask(command, Caller(operator=True))
        return make[kind](*rest) if kind in make else super().command(kind, *rest)


@quick
@given(lives)
def test_the_log_the_tables_and_the_live_state_agree_on_windows_and_pokes(life):
    with quick_folder() as folder:
        one = LiveLife(Path(folder) / "x.sqlite3")
        one.live(life)
        assert_consistent(one.desk.path, Path(folder) / "scratch.sqlite3", one.desk.state)
        one.desk.close()


@quick
@given(lives, st.integers(1, 50))
def test_the_same_live_life_leaves_the_same_bytes(life, batch_len):
    with quick_folder() as folder:
        one = LiveLife(Path(folder) / "one.sqlite3")
        one.live(life)
        one.desk.close()
        other = Path(folder) / "other.sqlite3"
        live_again(one.asked, other, batch_len)
        assert raw_log(one.desk.path) == raw_log(other)
        assert tables(one.desk.path) == tables(other)


@quick
@given(lives)
def test_b38_each_poke_is_planned_once_settled_once_and_none_is_left_behind(life):
    """Whatever happens in between: two injections of one message would need two plans."""
    with quick_folder() as folder:
        one = LiveLife(Path(folder) / "x.sqlite3")
        one.live(life)
        one.desk.reopen()
        assert one.desk.state.pokes == {}
        waiting, injected = set(), set()
        for event in log_of(one.desk.path):
            key = (getattr(event.data, "message_id", ""), getattr(event.data, "agent_id", ""))
            if event.type == "peer.window_poke" and event.data.result == "pending":
                assert key not in waiting
                assert key not in injected
                waiting.add(key)
            elif event.type == "peer.window_poke_settled":
                waiting.remove(key)
                if event.data.result == "injected":
                    injected.add(key)
        assert waiting == set()
        one.desk.close()
