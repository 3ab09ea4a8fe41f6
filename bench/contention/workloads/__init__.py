"""The workloads of the harness, one idea a module."""

from bench.contention.workloads.base import Workload
from bench.contention.workloads.contended import Contended
from bench.contention.workloads.fan import FanOut
from bench.contention.workloads.overload import Overload
from bench.contention.workloads.plain import InboxPage, Reserve, Send
from bench.contention.workloads.race import Race
from bench.contention.workloads.resume import Resume
from bench.contention.workloads.rounds import FiveCalls, ManyProjects
from bench.contention.workloads.sets import BigSet
from bench.contention.workloads.waiting import HandOff, Rings

_ALL: tuple[Workload, ...] = (
    Reserve(),
    Race(),
    Contended(),
    HandOff(),
    Rings(),
    Send(),
    InboxPage(),
    FiveCalls(),
    FanOut(),
    Resume(),
    BigSet(),
    ManyProjects(),
    Overload(),
)
WORKLOADS = {workload.name: workload for workload in _ALL}
