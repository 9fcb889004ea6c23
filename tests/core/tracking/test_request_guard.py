"""The HTTP guard: strict JSON, known fields, a size limit, one sentence for every failure."""

from __future__ import annotations

import asyncio
import json

import pytest

from core.errors import ServingError
from core.tracking.guard import RequestGuard, plain_failure
from core.tracking.request import normalise

COLUMNS = {"query": "string", "top": "long", "share": "double", "exact": "boolean"}


@pytest.mark.parametrize(
    ("sent", "forwarded"),
    [
        ({"query": "x", "top": 3}, {"dataframe_records": [{"query": "x", "top": 3}]}),
        ({"dataframe_records": [{"query": "x"}]}, None),
        ({"dataframe_split": {"columns": ["query"], "data": [["x"]]}}, None),
        ({"inputs": [{"query": "x", "share": 1, "exact": True}]}, None),
        ({"inputs": {"query": ["x", "y"]}}, None),
        ({"inputs": {"query": "x"}, "params": {"seed": 1}}, None),
        ({"query": "x", "seed": 1}, {"dataframe_records": [{"query": "x"}], "params": {"seed": 1}}),
    ],
)
def test_good_requests_pass(sent, forwarded):
    assert json.loads(normalise(json.dumps(sent).encode(), COLUMNS, ["seed"])) == (forwarded or sent)


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"", "empty"),
        (b"{", "not JSON"),
        (b'{"query": "\xff"}', "not JSON"),
        (b"[1]", "expected a JSON object"),
        (b"{}", "exactly one of"),
        (b'{"query": NaN}', "holds NaN"),
        (b'{"share": -Infinity}', "holds -Infinity"),
        (b'{"share": 1e400}', "holds 1e400"),
        (b'{"share": ' + b"9" * 5000 + b"}", "not JSON"),
        (b'{"query": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested too deeply"),
        (b'{"query": "x", "limit": 1}', "unknown field 'limit'"),
        (b'{"inputs": [{"query": "x"}], "instances": []}', "exactly one of"),
        (b'{"inputs": [{"query": "x"}], "extra": 1}', "unknown field 'extra'"),
        (b'{"inputs": [{"query": "x", "limit": 1}]}', "unknown field 'limit' in row 0"),
        (b'{"inputs": {"limit": [1]}}', "unknown field 'limit'"),
        (b'{"inputs": [{"query": "x"}], "params": {"limit": 1}}', "in params"),
        (b'{"dataframe_records": []}', "no rows"),
        (b'{"dataframe_records": {}}', "no rows"),
        (b'{"dataframe_records": [1]}', "expected an object"),
        (b'{"dataframe_split": {"columns": ["query"], "data": [["x", 1]]}}', "rows of 1 values"),
        (b'{"dataframe_split": {"columns": ["limit"], "data": [["x"]]}}', "unknown field 'limit'"),
        (b'{"dataframe_split": {"data": [["x"]]}}', "lists 'columns' and 'data'"),
        (b'{"query": 5}', "query in row 0: saw 5, expected text"),
        (b'{"query": "x", "top": 2.5}', "whole number"),
        (b'{"query": "x", "top": true}', "whole number"),
        (b'{"query": "x", "top": 99999999999999999999}', "whole number"),
        (b'{"query": "x", "exact": 1}', "true or false"),
        (b'{"inputs": [{"query": "x", "top": 1}, {"query": "y"}]}', "top is given in 1 of 2 rows"),
    ],
)
def test_bad_requests_are_refused(body, sentence):
    with pytest.raises(ServingError, match=sentence.replace("(", r"\(")):
        normalise(body, COLUMNS, ["seed"])


def test_unnamed_tensors_are_only_parsed_strictly():
    body = b'{"inputs": [[1.0, 2.0]]}'
    assert json.loads(normalise(body, {}, [])) == json.loads(body)
    with pytest.raises(ServingError, match="unknown field 'x'"):
        normalise(b'{"inputs": [[1.0]], "x": 1}', {}, [])


def ask(
    app, body: bytes, *, headers: dict | None = None, path: str = "/invocations", part: int = 1000
) -> tuple[int, dict]:
    """Send one POST through an ASGI app without a server; returns status and parsed body."""
    sent: list[dict] = []
    parts = [body[start : start + part] for start in range(0, len(body), part)] or [b""]
    messages = [{"type": "http.request", "body": one, "more_body": True} for one in parts]
    messages[-1]["more_body"] = False
    waiting = iter(messages)
    lines = {"content-type": "application/json", "content-length": str(len(body)), **(headers or {})}
    scope = {
        "type": "http",
        "method": "POST",
        "path": path,
        "headers": [(key.encode(), value.encode()) for key, value in lines.items() if value],
    }

    async def receive():
        return next(waiting, {"type": "http.disconnect"})

    async def send(message):
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    content = b"".join(message.get("body", b"") for message in sent)
    return sent[0]["status"], json.loads(content)


def answering(status: int, body: object):
    """An app that reads its request and answers with what it got, or with a fixed failure."""

    async def app(scope, receive, send):
        message = await receive()
        content = message["body"] if body is None else json.dumps(body).encode()
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": content})

    return RequestGuard(app, columns={"query": "string"}, params=[], limit=5000)


def test_body_reaches_the_model_in_mlflow_form():
    assert ask(answering(200, None), b'{"query": "x"}') == (200, {"dataframe_records": [{"query": "x"}]})


@pytest.mark.parametrize("headers", [{}, {"content-length": ""}, {"content-length": "12"}])
def test_large_body_gets_413_with_or_without_a_stated_length(headers):
    status, answer = ask(answering(200, None), b'{"query": "' + b"x" * 10_000 + b'"}', headers=headers)
    assert status == 413
    assert "at most 0.00476837 MiB" in answer["message"]


@pytest.mark.parametrize("kind", ["", "text/csv", "application/x-www-form-urlencoded"])
def test_other_content_types_get_415(kind):
    status, answer = ask(answering(200, None), b'{"query": "x"}', headers={"content-type": kind})
    assert status == 415
    assert "application/json" in answer["message"]


def test_charset_is_allowed():
    status, _ = ask(
        answering(200, None), b'{"query": "x"}', headers={"content-type": "Application/JSON; charset=utf-8"}
    )
    assert status == 200


def test_refusal_of_the_model_arrives_as_one_sentence():
    body = {
        "error_code": "INVALID_PARAMETER_VALUE",
        "message": "Failed to predict data 'secret\nrows'. \nError: too long",
    }
    status, answer = ask(answering(400, body), b'{"query": "x"}')
    assert (status, answer["message"]) == (400, "too long")


def test_bug_in_the_model_is_500_without_its_trace(capsys):
    body = {
        "message": "Encountered an unexpected error while evaluating the model.",
        "stack_trace": "secret trace",
    }
    status, answer = ask(answering(400, body), b'{"query": "x"}')
    assert status == 500
    assert "secret" not in json.dumps(answer)
    assert "secret trace" in capsys.readouterr().err


def test_crash_of_the_app_is_500(capsys):
    async def app(scope, receive, send):
        raise RuntimeError("boom")

    status, answer = ask(RequestGuard(app, columns={}, params=[], limit=100), b'{"inputs": [1]}')
    assert status == 500
    assert "boom" not in answer["message"]
    assert "boom" in capsys.readouterr().err


def test_other_paths_are_left_alone():
    assert ask(answering(200, {"ok": 1}), b"anything", path="/version") == (200, {"ok": 1})


def test_error_body_that_is_no_json_is_shortened():
    assert plain_failure(504, b"Request processing time exceeded limit") == (
        504,
        "Request processing time exceeded limit",
    )
    assert len(plain_failure(400, b"x" * 9000)[1]) <= 300
