"""Serve one model folder over HTTP: MLflow's scoring app behind strict JSON and a size limit.

Run as ``python -P -m core.tracking.server FOLDER`` with ``PYTHONPATH=FOLDER/code``: the process then uses the copy of
this module, and of everything else, that travels with the model, and needs no repository.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

from core.errors import KindredError, ServingError
from core.tracking.store import quiet_environment

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

FORMATS = ("dataframe_records", "dataframe_split", "inputs", "instances")
DEFAULT_MIB = 8.0
_PREFIX = re.compile(r"^Failed to (predict|enforce schema of) data .*?Error: ", re.DOTALL)
_BUG = "the model failed on this request; the server's log has the details"


class TooLarge(ServingError):
    """The request body passes the limit."""


class RequestGuard:
    """ASGI middleware: refuses what the model must not see, and turns every failure into one JSON sentence.

    Args:
        app: the ASGI app behind it.
        columns: field names a row may have; empty when the model takes unnamed tensors.
        params: names of request-wide parameters.
        limit: largest body in bytes.
    """

    def __init__(self, app: Any, *, columns: list[str], params: list[str], limit: int) -> None:
        self.app = app
        self.columns = columns
        self.params = params
        self.limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != "/invocations" or scope["method"] != "POST":
            await self.app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        try:
            body = await _read_body(headers, receive, self.limit)
            kind = headers.get(b"content-type", b"").decode("latin-1").partition(";")[0].strip().lower()
            if kind != "application/json":
                await _answer(send, 415, f"content type: saw {kind or 'none'!r}, expected 'application/json'")
                return
            body = normalise(body, self.columns, self.params)
        except TooLarge as error:
            await _answer(send, 413, str(error))
            return
        except ServingError as error:
            await _answer(send, 400, str(error))
            return
        kept = [
            (key, value) for key, value in scope["headers"] if key not in (b"content-length", b"content-type")
        ]
        kept += [(b"content-length", str(len(body)).encode()), (b"content-type", b"application/json")]
        await self._forward({**scope, "headers": kept}, body, receive, send)

    async def _forward(self, scope: Scope, body: bytes, receive: Receive, send: Send) -> None:
        sent = False

        async def replay() -> Message:
            nonlocal sent
            if sent:
                return await receive()
            sent = True
            return {"type": "http.request", "body": body, "more_body": False}

        failure: dict[str, Any] = {"status": 200, "body": b""}

        async def watch(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] >= 400:
                failure["status"] = message["status"]
            elif failure["status"] < 400:
                await send(message)
            else:
                failure["body"] += message.get("body", b"")

        try:
            await self.app(scope, replay, watch)
        except Exception as error:
            print(f"kindred: unexpected {type(error).__name__}: {error}", file=sys.stderr)
            failure = {"status": 500, "body": b""}
        if failure["status"] >= 400:
            await _answer(send, *plain_failure(failure["status"], failure["body"]))


def normalise(body: bytes, columns: list[str], params: list[str]) -> bytes:
    """Check a JSON request and bring it into the form that MLflow expects.

    A bare object of field names, ``{"query": "read json"}``, becomes one row. Refused with a ServingError: what is
    not an object, NaN and numbers beyond float64, unknown fields, no rows.

    >>> normalise(b'{"query": "x"}', ["query"], [])
    b'{"dataframe_records": [{"query": "x"}]}'
    """
    request = strict_json(body)
    if not isinstance(request, dict):
        raise ServingError("the request", seen=type(request).__name__, expected="a JSON object")
    used = [name for name in FORMATS if name in request]
    known = [*columns, *params]
    if not used and columns and request:
        _only_known(request, known, "the request")
        request = {
            "dataframe_records": [{key: value for key, value in request.items() if key not in params}],
            **({"params": {key: request[key] for key in params if key in request}} if params else {}),
        }
        used = ["dataframe_records"]
    if len(used) != 1:
        fields = f", or an object with the fields {', '.join(columns)}" if columns else ""
        raise ServingError(
            "the request", seen=sorted(request), expected=f"exactly one of {', '.join(FORMATS)}{fields}"
        )
    _only_known(request, [used[0], "params"], "the request")
    _only_known(request.get("params") or {}, params, "params")
    _check_rows(request[used[0]], used[0], columns)
    return json.dumps(request, allow_nan=False).encode()


def strict_json(body: bytes) -> Any:
    """Parse JSON as the standard has it: no NaN, no Infinity, no 1e400, no endless nesting."""

    def refuse(text: str) -> Any:
        raise ServingError(f"the request holds {text}", expected="finite numbers")

    def number(text: str) -> float:
        value = float(text)
        return value if abs(value) != float("inf") else refuse(text[:40])

    try:
        return json.loads(body, parse_constant=refuse, parse_float=number)
    except ServingError:
        raise
    except RecursionError:
        raise ServingError("the request is nested too deeply") from None
    except ValueError as error:  # includes bad UTF-8 and integers with thousands of digits
        raise ServingError("the request is not JSON", seen=str(error)) from None


def plain_failure(status: int, body: bytes) -> tuple[int, str]:
    """Status and one sentence for the client, from MLflow's error body; data and stack traces stay on the server."""
    try:
        content = json.loads(body)
        message, trace = str(content["message"]), content.get("stack_trace")
    except (ValueError, KeyError, TypeError, AttributeError):
        return status, body.decode("utf-8", "replace")[:300].strip() or _BUG
    if trace and "unexpected error while evaluating" in message:
        print(trace, file=sys.stderr)
        return 500, _BUG
    return status, _PREFIX.sub("", _PREFIX.sub("", message))[:1000]


def main() -> int:
    """Command line: load FOLDER, serve until SIGTERM or Ctrl-C, answer what is in flight, exit with 0."""
    parser = argparse.ArgumentParser(prog="core.tracking.server", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=5001)
    parser.add_argument("--label", default="model")
    parser.add_argument("--max-mib", type=float, default=None)
    options = parser.parse_args()
    quiet_environment()
    try:
        return serve(options.folder, options.host, options.port, options.label, options.max_mib)
    except KindredError as error:
        print(f"kindred: {error}", file=sys.stderr)
        return 2


def serve(folder: Path, host: str, port: int, label: str, max_mib: float | None) -> int:
    """Load the model, bind the port, run."""
    bound = _bind(host, port)
    import mlflow.pyfunc
    import uvicorn
    from mlflow.pyfunc import scoring_server

    model = mlflow.pyfunc.load_model(str(folder))
    schema, wide = model.metadata.get_input_schema(), model.metadata.get_params_schema()
    columns = schema.input_names() if schema is not None and schema.has_input_names() else []
    params = [one.name for one in wide.params] if wide is not None else []
    own = ((model.metadata.metadata or {}).get("kindred") or {}).get("max_request_mib", DEFAULT_MIB)
    limit = int((max_mib if max_mib is not None else own) * 2**20)
    guard = RequestGuard(scoring_server.init(model), columns=columns, params=params, limit=limit)
    config = uvicorn.Config(
        guard, log_level="warning", limit_concurrency=128, timeout_graceful_shutdown=30, lifespan="off"
    )
    server = uvicorn.Server(config)
    # uvicorn repeats the signal when it has shut down; with a handler of ours in place the exit status is 0.
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: setattr(server, "should_exit", True))
    address = f"http://{host}:{bound.getsockname()[1]}"
    print(f"serving {label} at {address}/invocations (health: {address}/ping). Stop with Ctrl-C.", flush=True)
    server.run(sockets=[bound])
    return 0


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
    except (OSError, OverflowError) as error:
        bound.close()
        raise ServingError(
            f"cannot listen on {host} port {port}", seen=str(error), remedy="use another --port"
        ) from None
    os.set_inheritable(bound.fileno(), True)
    return bound


async def _read_body(headers: dict[bytes, bytes], receive: Receive, limit: int) -> bytes:
    size = headers.get(b"content-length", b"")
    expected = f"at most {limit / 2**20:g} MiB"
    if size.isdigit() and int(size) > limit:
        raise TooLarge("request body", seen=f"{int(size) / 2**20:.1f} MiB", expected=expected)
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ServingError("the client hung up")
        body += message.get("body", b"")
        if len(body) > limit:
            raise TooLarge("request body", seen=f"over {limit / 2**20:g} MiB", expected=expected)
        if not message.get("more_body"):
            return bytes(body)


async def _answer(send: Send, status: int, sentence: str) -> None:
    name = {413: "REQUEST_TOO_LARGE", 415: "UNSUPPORTED_MEDIA_TYPE"}.get(
        status, "INVALID_PARAMETER_VALUE" if status < 500 else "INTERNAL_ERROR"
    )
    body = json.dumps({"error_code": name, "message": sentence}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if status == 413:
        headers.append((b"connection", b"close"))  # the rest of the body is not read
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _only_known(found: Any, known: list[str], where: str) -> None:
    if not isinstance(found, dict):
        raise ServingError(where, seen=type(found).__name__, expected="an object")
    unknown = sorted(set(found) - set(known))
    if unknown:
        raise ServingError(
            f"unknown field {unknown[0][:80]!r} in {where}", expected=f"only {', '.join(known) or 'none'}"
        )


def _check_rows(data: Any, form: str, columns: list[str]) -> None:
    if form == "dataframe_split":
        _only_known(data, ["columns", "data", "index"], form)
        if columns and isinstance(data.get("columns"), list):
            _only_known(dict.fromkeys(map(str, data["columns"])), columns, "columns")
        rows = data.get("data")
    else:
        rows = data
        if columns:
            for row in data if isinstance(data, list) else [data]:
                if isinstance(row, dict) or form == "dataframe_records":
                    _only_known(row, columns, f"a row of {form}")
    if not isinstance(rows, list | dict) or not rows:
        raise ServingError(f"{form} holds no rows", expected="at least one row")


if __name__ == "__main__":
    sys.exit(main())
