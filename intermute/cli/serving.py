"""The server as a process: from its settings to its end by a signal."""

import logging
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial

import click
import trio

from intermute import __version__, app

__all__ = ["run"]

_log = logging.getLogger(__name__)


def run(settings: app.Settings) -> None:
    """Serve until SIGTERM or SIGINT. SIGHUP reads the keys file again.

    Raises:
        click.UsageError: A setting cannot be.
        click.ClickException: The server cannot start.
    """
    app.settle_collector()
    failed: list[str] = []
    misused: list[str] = []
    try:
        trio.run(_serve_until_signalled, settings)
    except* ValueError as errors:
        misused = [str(error) for error in _leaves(errors)]
    except* app.START_ERRORS as errors:
        failed = [str(error) for error in _leaves(errors)]
    if misused:
        raise click.UsageError("; ".join(misused))
    if failed:
        raise click.ClickException("; ".join(failed))


async def _serve_until_signalled(settings: app.Settings) -> None:
    stopped = trio.Event()
    reload_keys: list[Callable[[], None]] = []
    async with trio.open_nursery() as nursery:
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
            nursery.start_soon(_watch, signals, stopped, reload_keys)
            async with trio.open_nursery() as serving:
                addresses = await serving.start(
                    partial(
                        app.serve, settings, shutdown=stopped.wait, on_reload=reload_keys.append
                    )
                )
                _log.info("intermute %s listens on %s", __version__, ", ".join(addresses))
            nursery.cancel_scope.cancel()
    _log.info("stopped")


async def _watch(
    signals: AsyncIterator[int], stopped: trio.Event, reload_keys: list[Callable[[], None]]
) -> None:
    async for number in signals:
        if number == signal.SIGHUP:
            for reload in reload_keys:
                reload()
        else:
            _log.info("stopping")
            stopped.set()


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error
