"""tmux itself, on a private socket: what is typed, what is refused, and calls that never return."""

import hashlib
import os
import signal
from functools import partial
from pathlib import Path

import pytest
import trio

from intermute.project.tmux import SHELLS, Tmux

from ..panes import WAIT_S, TmuxServer, tmux_server

TOKEN = "pane_0123456789"
HASH = hashlib.sha256(TOKEN.encode()).digest()
TEXT = "one\ntwo; #{pane_id} $(touch x) 'é' \\ \x20three"


@pytest.fixture
def panes():
    with tmux_server() as server:
        yield server


async def inject(server: TmuxServer, target: str, *, pane_hash: bytes | None = HASH) -> str:
    # Slow machines are no reason to fail here; what a deadline does is tested below.
    tmux = Tmux(socket=server.socket, timeout_ms=int(WAIT_S * 1000))
    return await tmux.inject(target, pane_hash=pane_hash, text=TEXT)


async def test_what_is_typed_is_the_text_in_brackets_and_one_enter(panes: TmuxServer):
    pane = await panes.reader("work")
    pane.show(TOKEN)
    assert await inject(panes, "work") == ""
    assert await pane.until(b"\r") == b"\x1b[200~" + TEXT.encode() + b"\x1b[201~\r"
    await pane.nothing()
    assert panes.tmux("list-buffers") == "", "the buffer is gone"


async def test_b20_line_feeds_are_no_enters_without_brackets_either(panes: TmuxServer):
    pane = await panes.reader("work", brackets=False)
    pane.show(TOKEN)
    assert await inject(panes, "work") == ""
    typed = await pane.until(b"\r")
    assert typed == TEXT.encode() + b"\r"
    assert typed.count(b"\r") == 1


@pytest.mark.parametrize("target", ["work", "work:0", "work:main", "work:main.0", "work.0"])
async def test_every_shape_of_a_target_leads_to_its_pane(panes: TmuxServer, target: str):
    pane = await panes.reader("work")
    panes.tmux("rename-window", "-t", "work", "main")
    pane.show(TOKEN)
    assert await inject(panes, target) == ""
    await pane.until(b"\r")


async def test_b20_a_pane_without_the_token_is_left_alone(panes: TmuxServer):
    pane = await panes.reader("work")
    assert await inject(panes, "work") == "pane_unproven"
    for shown in ("", "other", TOKEN + "x", f"{TOKEN} x", "#{pane_id}", "x\ny"):
        pane.show(shown)
        assert await inject(panes, "work") == "pane_unproven"
    pane.show(TOKEN)
    assert await inject(panes, "work", pane_hash=None) == "pane_unproven"
    assert await inject(panes, "work", pane_hash=b"") == "pane_unproven"
    await pane.nothing()


async def test_b20_an_empty_token_proves_nothing(panes: TmuxServer):
    pane = await panes.reader("work")
    empty = hashlib.sha256(b"").digest()
    assert await inject(panes, "work", pane_hash=empty) == "pane_unproven"
    await pane.nothing()


async def test_b20_the_token_of_one_pane_opens_no_other(panes: TmuxServer):
    pane, other = await panes.reader("work"), await panes.reader("other")
    pane.show(TOKEN)
    assert await inject(panes, "other") == "pane_unproven"
    await other.nothing()
    await pane.nothing()


@pytest.mark.parametrize("shell", [("sh", "-i"), ("bash", "--norc", "-i")])
async def test_b20_a_shell_gets_nothing(panes: TmuxServer, shell: tuple[str, ...]):
    pane = panes.pane("work", *shell)
    pane.show(TOKEN)
    assert await inject(panes, "work") == "shell_in_foreground"
    assert "INTERMUTE" not in panes.tmux("capture-pane", "-p", "-t", pane.pane_id)
    assert "three" not in panes.tmux("capture-pane", "-p", "-t", pane.pane_id)


def test_programs_that_have_a_shell_behind_them_count_as_shells():
    assert {"sh", "bash", "zsh", "fish", "ssh", "sudo", "su", "tmux", "login"} <= SHELLS


async def test_a_pane_in_copy_mode_gets_nothing(panes: TmuxServer):
    pane = await panes.reader("work")
    pane.show(TOKEN)
    panes.tmux("copy-mode", "-t", pane.pane_id)
    assert await inject(panes, "work") == "pane_in_mode"
    panes.tmux("send-keys", "-t", pane.pane_id, "-X", "cancel")
    await pane.nothing()


async def test_a_dead_pane_gets_nothing(panes: TmuxServer):
    pane = panes.pane("work", "cat")
    pane.show(TOKEN)
    panes.tmux("set-option", "-p", "-t", pane.pane_id, "remain-on-exit", "on")
    # A key would be lost on a program that is not there yet.
    os.kill(
        int(panes.tmux("display-message", "-p", "-t", pane.pane_id, "#{pane_pid}")), signal.SIGKILL
    )
    with trio.fail_after(WAIT_S):
        while (
            panes.tmux("display-message", "-p", "-t", pane.pane_id, "#{pane_dead}").strip() != "1"
        ):
            await trio.lowlevel.checkpoint()
    assert await inject(panes, "work") == "pane_dead"


async def test_panes_that_type_into_one_another_get_nothing(panes: TmuxServer):
    """Enter would be pressed in the others too, whatever runs there."""
    pane = await panes.reader("work")
    panes.tmux("split-window", "-d", "-t", pane.pane_id, "sh")
    panes.tmux("set-option", "-w", "-t", pane.pane_id, "synchronize-panes", "on")
    pane.show(TOKEN)
    assert await inject(panes, "work") == "pane_synchronized"
    panes.tmux("set-option", "-w", "-t", pane.pane_id, "synchronize-panes", "off")
    await pane.nothing()


async def test_a_pane_whose_input_is_off_gets_nothing(panes: TmuxServer):
    pane = await panes.reader("work")
    pane.show(TOKEN)
    panes.tmux("select-pane", "-d", "-t", pane.pane_id)
    assert await inject(panes, "work") == "pane_input_off"


@pytest.mark.parametrize("target", ["gone", "wor", "gone:0.0", "-x", "."])
async def test_a_target_that_is_not_there_is_said_to_be_gone(panes: TmuxServer, target: str):
    pane = await panes.reader("work")
    pane.show(TOKEN)
    assert await inject(panes, target) == "pane_not_found"
    await pane.nothing()


async def test_without_a_server_or_without_tmux_it_says_so(panes: TmuxServer):
    nowhere = Tmux(socket=panes.folder / "nothing")
    assert await nowhere.inject("work", pane_hash=HASH, text="x") == "tmux_not_running"
    missing = Tmux(executable=str(panes.folder / "no-tmux"), socket=panes.socket)
    assert await missing.inject("work", pane_hash=HASH, text="x") == "tmux_missing"


async def test_b09_a_tmux_server_that_hangs_is_given_up(panes: TmuxServer):
    pane = await panes.reader("work")
    pane.show(TOKEN)
    os.kill(panes.pid, signal.SIGSTOP)
    tmux = Tmux(socket=panes.socket, timeout_ms=50)
    with trio.fail_after(WAIT_S):
        assert await tmux.inject("work", pane_hash=HASH, text=TEXT) == "tmux_timeout"
    assert children() == [], "its process was killed and waited for"


def children() -> list[str]:
    """The processes that this one has started and not yet seen the end of, tmux among them."""
    found = []
    for task in Path("/proc/self/task").iterdir():
        for pid in (task / "children").read_text().split():
            name = Path(f"/proc/{pid}/comm").read_text().strip()
            if name.startswith(("tmux", "sleep", "hangs", "yes")):
                found.append(name)
    return found


@pytest.mark.parametrize("hangs_at", ["display-message", "load-buffer", "paste-buffer"])
async def test_b09_whichever_call_hangs_is_killed(panes: TmuxServer, hangs_at: str):
    """And what was loaded before is taken away again."""
    pane = await panes.reader("work")
    pane.show(TOKEN)
    fake = panes.folder / "hangs"
    fake.write_text(
        f'#!/bin/sh\ncase " $* " in *" {hangs_at} "*) exec sleep 10000 ;; esac\nexec tmux "$@"\n'
    )
    fake.chmod(0o755)
    tmux = Tmux(executable=str(fake), socket=panes.socket, timeout_ms=1_000)
    with trio.fail_after(WAIT_S):
        assert await tmux.inject("work", pane_hash=HASH, text=TEXT) == "tmux_timeout"
    assert children() == []
    assert panes.tmux("list-buffers") == ""
    await pane.nothing()


async def test_b09_what_is_cancelled_is_killed(panes: TmuxServer):
    fake = panes.folder / "hangs"
    fake.write_text("#!/bin/sh\nexec sleep 10000\n")
    fake.chmod(0o755)
    tmux = Tmux(executable=str(fake), socket=panes.socket)
    with trio.move_on_after(0.05) as scope:
        await tmux.inject("work", pane_hash=HASH, text=TEXT)
    assert scope.cancelled_caught
    assert children() == []


async def test_what_tmux_says_is_read_only_so_far(panes: TmuxServer):
    pane = await panes.reader("work")
    pane.show("x" * 8_000)
    assert await inject(panes, "work") in ("pane_unproven", "pane_not_found")
    endless = panes.folder / "hangs"
    endless.write_text("#!/bin/sh\nexec yes\n")
    endless.chmod(0o755)
    tmux = Tmux(executable=str(endless), timeout_ms=50)
    assert await tmux.inject("work", pane_hash=HASH, text=TEXT) == "tmux_timeout"
    assert children() == []


async def test_two_texts_for_one_pane_are_not_mixed(panes: TmuxServer):
    pane = await panes.reader("work")
    pane.show(TOKEN)
    tmux = Tmux(socket=panes.socket, timeout_ms=int(WAIT_S * 1000))
    told: list[str] = []

    async def one(letter: str) -> None:
        text = (letter * 2_000 + "\n") * 3
        told.append(await tmux.inject("work", pane_hash=HASH, text=text))

    async with trio.open_nursery() as nursery:
        for letter in "abcd":
            nursery.start_soon(one, letter)
    assert told == [""] * 4
    seen = set()
    for _ in "abcd":
        typed = await pane.until(b"\r")
        letters = set(typed.decode()) - set("\x1b[20~1\n\r")
        assert len(letters) == 1
        seen |= letters
    assert seen == set("abcd")
    assert panes.tmux("list-buffers") == ""


class Scripted(Tmux):
    """A tmux that is only played: every pane shows the token, and pasting waits for the gate."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = trio.Event()
        self.pasting: list[str] = []
        self.pasted: list[str] = []
        self.looks = 0

    async def _call(self, *arguments: str, stdin: str = "") -> str:
        await trio.lowlevel.checkpoint()
        if arguments[0] == "display-message":
            self.looks += 1
            pane = f"%{arguments[3].strip('=:%')}"
            return f"{pane} 0 0 0 0 {len(TOKEN)} {TOKEN} cat\n"
        if arguments[0] == "paste-buffer":
            pane = arguments[arguments.index("-t") + 1]
            self.pasting.append(pane)
            await self.gate.wait()
            self.pasted.append(pane)
        return ""


async def test_panes_wait_for_nobody_but_themselves(nursery: trio.Nursery):
    tmux = Scripted()
    for target in ("1", "1", "2"):
        inject_ = partial(tmux.inject, target, pane_hash=HASH, text=TEXT)
        nursery.start_soon(inject_)
    await trio.testing.wait_all_tasks_blocked()
    assert sorted(tmux.pasting) == ["%1", "%2"]
    tmux.gate.set()
    await trio.testing.wait_all_tasks_blocked()
    assert sorted(tmux.pasted) == ["%1", "%1", "%2"]
    assert tmux.looks == 4, "who has waited looks again"
