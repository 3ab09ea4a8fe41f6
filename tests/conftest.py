"""What every test needs done once, so that it is not done a thousand times."""

import gc

import pytest
from werkzeug.routing import Rule


def _made_once(compile_builder):
    """The function that builds a route's URL, compiled once for each route.

    Werkzeug compiles two for each of a hundred routes whenever an app is made, which is most of
    what it costs to start a server. What it makes follows from the route alone, and all
    the servers have the same ones.
    """
    made = {}

    def builder(rule, append_unknown=True):
        if rule.defaults:
            return compile_builder(rule, append_unknown)
        key = (rule.rule, tuple(rule._trace), append_unknown)
        if key not in made:
            made[key] = compile_builder(rule, append_unknown)
        return made[key]

    return builder


Rule._compile_builder = _made_once(Rule._compile_builder)


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """Thousands of tests stay to the end: the collector need not look at them time and again."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.enable()
