"""ASGI middleware before MLflow's scoring app: size limit, strict requests, one sentence a failure."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from typing import Any

from core.errors import ServingError
from core.tracking.request import normalise

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_PREFIX = re.compile(r"^Failed to (predict|enforce schema of) data .*?Error: ", re.DOTALL)
_BUG = "the model failed on this request; the server's log has the details"
_DRAIN = 512 * 2**20


class TooLarge(ServingError):
    """The request body passes the limit."""


class RequestGuard:
    """ASGI middleware: refuses what the model must not see, and turns every failure into one JSON sentence.

    Args:
        app: the ASGI app behind it.
        columns: field name -> MLflow type name; empty when the model takes unnamed tensors.
        params: names of request-wide parameters.
        limit: largest body in bytes.
    """

    def __init__(self, app: Any, *, columns: Mapping[str, str], params: Sequence[str], limit: int) -> None:
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


def plain_failure(status: int, body: bytes) -> tuple[int, str]:
    """Status and one sentence for the client, from MLflow's error body; stack traces stay on the server."""
    try:
        content = json.loads(body)
        message, trace = str(content["message"]), content.get("stack_trace")
    except (ValueError, KeyError, TypeError, AttributeError):
        return status, body.decode("utf-8", "replace")[:300].strip() or _BUG
    if trace and "unexpected error while evaluating" in message:
        print(trace, file=sys.stderr)
        return 500, _BUG
    return status, _PREFIX.sub("", _PREFIX.sub("", message))[:1000]


async def _read_body(headers: dict[bytes, bytes], receive: Receive, limit: int) -> bytes:
    """The body; one that is too large is read to its end and dropped, since most clients listen only then."""
    expected = f"at most {limit / 2**20:g} MiB"
    size = headers.get(b"content-length", b"")
    if size.isdigit() and int(size) > limit and b"expect" in headers:
        raise TooLarge("request body", seen=f"{int(size) / 2**20:.1f} MiB", expected=expected)
    body, count = bytearray(), 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ServingError("the client hung up")
        part = message.get("body", b"")
        count += len(part)
        if count <= limit:
            body += part
        if not message.get("more_body"):
            break
        if count > limit + _DRAIN:
            raise TooLarge("request body", seen=f"over {count / 2**20:.0f} MiB", expected=expected)
    if count > limit:
        raise TooLarge("request body", seen=f"{count / 2**20:.1f} MiB", expected=expected)
    return bytes(body)


async def _answer(send: Send, status: int, sentence: str) -> None:
    name = {413: "REQUEST_TOO_LARGE", 415: "UNSUPPORTED_MEDIA_TYPE"}.get(
        status, "INVALID_PARAMETER_VALUE" if status < 500 else "INTERNAL_ERROR"
    )
    body = json.dumps({"error_code": name, "message": sentence}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if status == 413:
        headers.append((b"connection", b"close"))  # part of the body may be unread
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
