"""JSON-RPC messages and batch envelopes, as values."""

import pytest

from intermute.domain.limits import (
    BATCH_COMMANDS_MAX,
    IDEMPOTENCY_KEY_LEN_MAX,
    METHOD_LEN_MAX,
    REQUEST_ID_LEN_MAX,
)
from intermute.wire import rpc
from intermute.wire.bodies import BadRequest
from intermute.wire.rpc import Malformed, Request


def request(**members) -> dict:
    return {"jsonrpc": "2.0", "id": 1, "method": "a.b", **members}


def test_a_request():
    params = {"x": 1, "idempotency_key": "k"}
    assert rpc.read_request(request(params=params)) == Request(1, "a.b", {"x": 1}, "k")
    assert params == {"x": 1, "idempotency_key": "k"}, "what was read is left as it is"


def test_without_an_id_no_answer_is_wanted():
    found = rpc.read_request({"jsonrpc": "2.0", "method": "a.b"})
    assert found == Request(None, "a.b", {}, wants_answer=False)
    assert rpc.read_request(request(id=None)).wants_answer


@pytest.mark.parametrize(
    ("message", "code", "request_id"),
    [
        (7, rpc.INVALID_REQUEST, None),
        ([], rpc.INVALID_REQUEST, None),
        ({"method": "a.b", "id": 1}, rpc.INVALID_REQUEST, 1),
        (request(jsonrpc=2.0), rpc.INVALID_REQUEST, 1),
        (request(method=None), rpc.INVALID_REQUEST, 1),
        (request(method=""), rpc.INVALID_REQUEST, 1),
        (request(method="m" * (METHOD_LEN_MAX + 1)), rpc.INVALID_REQUEST, 1),
        (request(id=True), rpc.INVALID_REQUEST, None),
        (request(id=1.5), rpc.INVALID_REQUEST, None),
        (request(id=[1]), rpc.INVALID_REQUEST, None),
        (request(id="i" * (REQUEST_ID_LEN_MAX + 1)), rpc.INVALID_REQUEST, None),
        (request(params="x"), rpc.INVALID_REQUEST, 1),
        (request(params=[1]), rpc.INVALID_PARAMS, 1),
        (request(params={"idempotency_key": 5}), rpc.INVALID_PARAMS, 1),
        (request(params={"idempotency_key": ""}), rpc.INVALID_PARAMS, 1),
        (
            request(params={"idempotency_key": "k" * (IDEMPOTENCY_KEY_LEN_MAX + 1)}),
            rpc.INVALID_PARAMS,
            1,
        ),
    ],
)
def test_what_is_no_request(message, code, request_id):
    found = rpc.read_request(message)
    assert isinstance(found, Malformed)
    assert (found.code, found.request_id) == (code, request_id)


def test_a_notification_with_bad_params_is_not_answered():
    bad = rpc.read_request({"jsonrpc": "2.0", "method": "a.b", "params": []})
    assert not bad.wants_answer


@pytest.mark.parametrize(
    ("message", "means"),
    [({"jsonrpc": 1}, True), ({"method": 1}, True), ({"type": "x"}, False), ([], False)],
)
def test_what_means_to_be_a_request(message, means):
    assert rpc.is_request(message) is means


def test_answers():
    asked = Request("x", "a.b", {})
    place = {"epoch": 1, "seq": 2}
    assert rpc.result(asked, [1], place) == {
        "jsonrpc": "2.0",
        "id": "x",
        "result": [1],
        "epoch": 1,
        "seq": 2,
    }
    assert rpc.error("x", 404, "No", {"status": 404}, {}) == {
        "jsonrpc": "2.0",
        "id": "x",
        "error": {"code": 404, "message": "No", "data": {"status": 404}},
    }


@pytest.mark.parametrize(
    ("status", "code", "number"),
    [
        (400, "invalid_request", rpc.INVALID_PARAMS),
        (400, "invalid_pattern", 400),
        (404, "method_not_found", rpc.METHOD_NOT_FOUND),
        (404, "agent_not_found", 404),
        (503, "overloaded", 503),
    ],
)
def test_the_number_of_an_error(status, code, number):
    assert rpc.error_code(status, code) == number


# -- Words


def test_words_are_text_whatever_they_were():
    params = {"t": "x", "n": 5, "f": False, "y": True, "l": ["a", 2], "z": None}
    assert [rpc.word(params, name) for name in "tnfylz"] == ["x", "5", "false", "true", "a,2", None]
    assert rpc.words(params, "l") == ["a", "2"]
    assert rpc.words(params, "t") == ["x"]
    assert rpc.words(params, "z") == []


@pytest.mark.parametrize("found", [{}, {"a": 1}, [{}], [[]], 1.5, [None]])
def test_what_is_no_word(found):
    with pytest.raises(BadRequest, match=r"\$\.name"):
        rpc.word({"name": found}, "name")


# -- Batches


def test_a_batch():
    batch = rpc.read_batch(
        {
            "project": "p",
            "commands": [
                {"method": "a.b", "params": {"x": 1}, "id": 5, "idempotency_key": "k"},
                {"method": "c.d"},
                {"method": "e.f", "params": {"idempotency_key": "in"}},
            ],
        }
    )
    assert batch.project == "p"
    assert batch.answered == [True, False, False]
    assert [(each.request_id, each.idempotency_key) for each in batch.requests] == [
        (5, "k"),
        (None, None),
        (None, "in"),
    ]
    assert batch.requests[2].params == {}


@pytest.mark.parametrize(
    "members",
    [
        {},
        {"commands": {}},
        {"commands": []},
        {"commands": [{"method": "a"}] * (BATCH_COMMANDS_MAX + 1)},
        {"commands": [{"method": "a"}], "project": 5},
        {"commands": [5]},
        {"commands": [{}]},
        {"commands": [{"method": 5}]},
        {"commands": [{"method": "a", "params": []}]},
        {"commands": [{"method": "a", "id": {}}]},
        {"commands": [{"method": "a", "idempotency_key": 5}]},
        {"commands": [{"method": "a", "idempotency_key": "k" * (IDEMPOTENCY_KEY_LEN_MAX + 1)}]},
    ],
)
def test_envelopes_that_are_none(members):
    with pytest.raises(BadRequest):
        rpc.read_batch(members)
