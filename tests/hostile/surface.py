"""Requests drawn from the description of the HTTP surface, and what every answer must be."""

from collections.abc import Callable
from random import Random
from typing import Any

import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis import Case, CheckContext, GenerationMode, Response
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from .schema import PROBLEM, documented_codes

TYPES = "https://intermute.dev/errors/"
# A call on the line is answered when its wait is over: here at once.
WAIT_MAX_S = 0.001
# Refusals that stand for something outside of the server, which is not there in a test.
OUTSIDE = {"delivery_failed", "recipient_busy"}
TIMEOUT_S = 60


def one_error_shape(ctx: CheckContext, response: Response, case: Case) -> None:
    """An error is a problem whose code is documented, with the status it is documented with."""
    if response.status_code < 400 or case.method == "HEAD":
        return
    assert response.headers["content-type"] == [PROBLEM], response.headers
    members = response.json()
    code = members["error"]
    assert members["code"] == code
    assert members["status"] == response.status_code
    assert members["type"] == TYPES + code.replace("_", "-")
    assert documented_codes().get(code) == response.status_code, code
    if response.status_code == 503:
        assert response.headers["retry-after"]


def no_server_error(ctx: CheckContext, response: Response, case: Case) -> None:
    """No 5xx, but for what lies outside of the server."""
    if response.status_code >= 500 and response.json()["error"] not in OUTSIDE:
        not_a_server_error(ctx, response, case)
        raise AssertionError(f"{response.status_code} for {case.method} {case.path}")


CHECKS = (
    no_server_error,
    one_error_shape,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
)


def without_waiting(value: Any) -> Any:
    """The same value with every wait made short, so that no request is held."""
    if isinstance(value, list):
        return [without_waiting(each) for each in value]
    if not isinstance(value, dict):
        return value
    return {
        name: WAIT_MAX_S
        if name.lower() == "wait_seconds" and isinstance(found, int | float) and found > 0
        else without_waiting(found)
        for name, found in value.items()
    }


def fuzz(
    description: dict[str, Any],
    url: str,
    *,
    operations: int,
    examples: int,
    chosen_seed: int,
    progress: Callable[[str], object] = lambda _: None,
) -> dict[int, int]:
    """Ask everything that is described, in right and in wrong ways; how often each status came.

    Args:
        operations: How many of all operations are asked, drawn by the seed.
        examples: Requests for each of them.
    """
    schema = schemathesis.openapi.from_dict(description)
    statuses: dict[int, int] = {}
    every = [found.ok() for found in schema.get_all_operations()]
    drawn = Random(chosen_seed).sample(every, min(operations, len(every)))
    session = requests.Session()
    for operation in drawn:
        progress(operation.label)
        right = operation.as_strategy(generation_mode=GenerationMode.POSITIVE)
        wrong = operation.as_strategy(generation_mode=GenerationMode.NEGATIVE)

        @seed(chosen_seed)
        @settings(
            max_examples=examples,
            database=None,
            deadline=None,
            phases=(Phase.generate, Phase.shrink),
            suppress_health_check=list(HealthCheck),
        )
        @given(case=right | wrong)
        def ask(case: Case) -> None:
            case.body = without_waiting(case.body)
            response = case.call(base_url=url, session=session, timeout=TIMEOUT_S)
            statuses[response.status_code] = statuses.get(response.status_code, 0) + 1
            case.validate_response(response, checks=CHECKS)

        try:
            ask()
        except BaseException as error:
            error.add_note(f"again with INTERMUTE_SURFACE_SEED={chosen_seed}: {operation.label}")
            raise
    session.close()
    return statuses
