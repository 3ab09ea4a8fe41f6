"""Starts the server again and again, each time as a process of its own that need not load it.

Run as a program by `served.Served`. Each line on standard input is one order, as JSON, and each
is answered by one line: an order to `serve`, with what is to be planted in that server, by the id
of the process; `{"wait": true}` by how it ended. A server is a child by `fork`, which saves the
second that loading takes; it then runs the same command as everybody's. When standard input ends,
so does the server.
"""

import contextlib
import json
import os
import signal
import sys

# What `serve` would load by itself.
import intermute.app
import intermute.wire  # noqa: F401
from intermute.cli.main import main as intermute_main

from ..planted import bugs
from . import seams


def serve(order):
    """Become the server. Never returns."""
    quiet = os.open(os.devnull, os.O_RDWR)
    os.dup2(quiet, 0)
    os.dup2(quiet, 1)
    code = 1
    try:
        if order["seam"] is not None:
            seams.plant(order["seam"], order["act"], nth=order["nth"])
        if order["bug"] is not None:
            bugs.plant(order["bug"])
        intermute_main(order["serve"])
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    finally:
        sys.stderr.flush()
        os._exit(code)


def main():
    child = None
    for line in sys.stdin:
        order = json.loads(line)
        if "wait" in order:
            _, status = os.waitpid(child, 0)
            child = None
            answer = os.waitstatus_to_exitcode(status)
        else:
            child = answer = os.fork()
            if not child:
                serve(order)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
    if child is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)


if __name__ == "__main__":
    main()
