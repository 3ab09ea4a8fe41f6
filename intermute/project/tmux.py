"""tmux: look at a pane, and type into it if it is the right one.

Nothing here goes through a shell. Every call has a deadline after which its process is killed, and
what it answers is read only so far. Text travels over standard input into a buffer of its own and
is pasted in brackets where the program in the pane knows them, so that line breaks stay text.
"""

import hashlib
import hmac
import logging
import secrets
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final

import attrs
import trio

from intermute.domain.limits import LOGGED_LEN_MAX, TMUX_OUTPUT_LEN_MAX, TMUX_TIMEOUT_MS

__all__ = ["PANE_OPTION", "Tmux"]

_log = logging.getLogger(__name__)

# The option by which a pane shows the token of its window.
PANE_OPTION: Final = "@intermute_pane_token"

# What cannot hold a space stands first; the last may hold anything. The option may too, so its
# length goes with it: text behind a token would be taken for a part of the command.
_LOOK: Final = " ".join(
    (
        "#{pane_id}",
        "#{pane_dead}",
        "#{pane_in_mode}",
        "#{pane_input_off}",
        "#{pane_synchronized}",
        f"#{{n:{PANE_OPTION}}}",
        f"#{{{PANE_OPTION}}}",
        "#{pane_current_command}",
    )
)

# Programs that take what is typed as commands, or that have somebody else's program behind them.
_SHELLS: Final = (  # noqa: SIM905
    "ash bash busybox cmd csh dash elvish fish ksh ksh93 login mksh nu oksh osh pdksh powershell "
    "pwsh rbash rc rksh sh su sudo tcsh xonsh yash zsh docker kubectl mosh mosh-client podman "
    "screen ssh telnet tmux"
).split()
SHELLS: Final = frozenset(_SHELLS)


class _Failed(Exception):
    """A call came to nothing; the text is the reason, as a code."""


@attrs.frozen
class _Pane:
    """A pane as it was when it was looked at."""

    pane_id: str
    dead: bool
    in_mode: bool
    input_off: bool
    synchronized: bool
    token: str
    command: str

    def refuse(self, pane_hash: bytes | None) -> str:
        """Why nothing may be typed into it, empty when something may.

        Whose pane it is comes first: of another's nothing else is told.
        """
        shown = hashlib.sha256(self.token.encode("utf-8", "surrogateescape")).digest()
        right = hmac.compare_digest(shown, pane_hash or bytes(32))
        if not right or not self.token or pane_hash is None:
            return "pane_unproven"
        if self.dead:
            return "pane_dead"
        if self.in_mode:
            return "pane_in_mode"
        if self.input_off:
            return "pane_input_off"
        if self.synchronized:
            return "pane_synchronized"
        if self.command.removeprefix("-").rpartition("/")[2].lower() in SHELLS:
            return "shell_in_foreground"
        return ""


@attrs.define
class _Turns:
    """Who waits for a pane, so that its lock can go when nobody does."""

    lock: trio.Lock = attrs.field(factory=trio.Lock)
    users: int = 0


class Tmux:
    """The tmux server of this host whose panes are typed into.

    Args:
        executable: A name on the path, or a path.
        socket: The server's socket, None for the default one.
        timeout_ms: After which one call is given up.
    """

    def __init__(
        self,
        *,
        executable: str = "tmux",
        socket: Path | None = None,
        timeout_ms: int = TMUX_TIMEOUT_MS,
    ) -> None:
        server = () if socket is None else ("-S", str(socket))
        self._command = (executable, *server)
        self._timeout_s = timeout_ms / 1000
        self._turns: dict[str, _Turns] = {}

    async def inject(self, target: str, *, pane_hash: bytes | None, text: str) -> str:
        """Type `text` and Enter into the pane of `target`, if it shows the token with that hash.

        Answers an empty text when it was typed, else the reason why it was not, as a code. After
        `tmux_timeout` and `tmux_failed` it may have been typed all the same.

        Cancellation: the call that runs is killed; whether it had its effect is not known.
        """
        try:
            pane = await self._look(_exact(target))
            async with self._turn(pane.pane_id) as waited:
                if waited:
                    pane = await self._look(pane.pane_id)
                reason = pane.refuse(pane_hash)
                if not reason:
                    await self._paste(pane.pane_id, text)
                return reason
        except _Failed as failed:
            return str(failed)

    async def _look(self, target: str) -> _Pane:
        shown = await self._call("display-message", "-p", "-t", target, _LOOK)
        fields = shown.rstrip("\n").split(" ", 7)
        if len(fields) != 8 or not fields[0].startswith("%"):
            raise _Failed("pane_not_found")
        dead, in_mode, input_off, synchronized = (field not in ("", "0") for field in fields[1:5])
        token = fields[6] if fields[5] == str(len(fields[6])) else ""
        return _Pane(fields[0], dead, in_mode, input_off, synchronized, token, fields[7])

    async def _paste(self, pane_id: str, text: str) -> None:
        """Through a buffer of its own, which is gone afterwards whatever happens."""
        buffer = f"intermute-{secrets.token_hex(8)}"
        await self._call("load-buffer", "-b", buffer, "-", stdin=text)
        pasted = False
        try:
            paste = ("paste-buffer", "-p", "-r", "-d", "-b", buffer, "-t", pane_id)
            await self._call(*paste, ";", "send-keys", "-t", pane_id, "Enter")
            pasted = True
        finally:
            if not pasted:
                await self._forget(buffer)

    async def _forget(self, buffer: str) -> None:
        """Best effort, and within its own deadline even when everything else is given up."""
        with trio.CancelScope(shield=True):
            try:
                await self._call("delete-buffer", "-b", buffer)
            except _Failed as failed:
                _log.debug("buffer %s is left: %s", buffer, failed)

    @asynccontextmanager
    async def _turn(self, pane_id: str) -> AsyncIterator[bool]:
        """One at a time for each pane. Tells whether it had to wait."""
        turns = self._turns.setdefault(pane_id, _Turns())
        waited = turns.users > 0
        turns.users += 1
        try:
            async with turns.lock:
                yield waited
        finally:
            turns.users -= 1
            if not turns.users:
                del self._turns[pane_id]

    async def _call(self, *arguments: str, stdin: str = "") -> str:
        """What tmux prints.

        Raises:
            _Failed: It is not there, takes too long, or says no.
        """
        run = partial(
            trio.run_process,
            (*self._command, *arguments),
            stdin=stdin.encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
            deliver_cancel=_kill,
        )
        output, failure = b"", ""
        with trio.move_on_after(self._timeout_s) as deadline:
            try:
                async with trio.open_nursery() as nursery:
                    process = await nursery.start(run)
                    output = await _read(process.stdout)
            except* FileNotFoundError:
                failure = "tmux_missing"
            except* OSError as errors:
                failure = "tmux_failed"
                _log.warning("tmux cannot be run: %s", errors.exceptions[0])
        if deadline.cancelled_caught:
            failure = "tmux_timeout"
            _log.warning("tmux %s took longer than %s s", arguments[0], self._timeout_s)
        if failure:
            raise _Failed(failure)
        shown = output.decode("utf-8", "surrogateescape")
        if process.returncode != 0:
            _log.warning("tmux %s: %s", arguments[0], shown.strip()[:LOGGED_LEN_MAX])
            raise _Failed(_reason(shown))
        return shown


def _exact(target: str) -> str:
    """The target so that tmux takes no other name that merely begins like it."""
    session, colon, window = target.partition(":")
    if colon:
        return f"={session}:={window}"
    name, dot, pane = session.rpartition(".")
    return f"={name}:.{pane}" if dot and pane.isdigit() else f"={session}:"


def _reason(said: str) -> str:
    if "no server running" in said or "error connecting" in said:
        return "tmux_not_running"
    return "pane_not_found" if "can't find" in said else "tmux_failed"


async def _read(stream: trio.abc.ReceiveStream) -> bytes:
    """All of it; what is beyond the bound is read and forgotten, so that the writer can end."""
    kept = b""
    async for chunk in stream:
        kept = (kept + chunk)[:TMUX_OUTPUT_LEN_MAX]
    return kept


async def _kill(process: trio.Process) -> None:
    process.kill()
