"""Requests to an ASGI application in this process, without a server."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI


def ask(app: FastAPI, method: str, path: str, query: bytes = b"", body: bytes = b"", accept: bytes = b"*/*") -> tuple[int, bytes]:
    """Status and content of the answer."""
    first, *rest = _sent(app, method, path, query, body, {"accept": accept.decode()})
    return first["status"], b"".join(message.get("body", b"") for message in rest)


def headers(app: FastAPI, method: str, path: str, body: bytes = b"", encoding: str = "") -> dict[str, str]:
    """The headers of the answer, their names in small letters; `encoding` is what may be sent compressed."""
    first = _sent(app, method, path, b"", body, {"accept": "*/*", "accept-encoding": encoding})[0]
    return {name.decode().lower(): value.decode() for name, value in first["headers"]}


def _sent(app: FastAPI, method: str, path: str, query: bytes, body: bytes, given: Mapping[str, str]) -> list[dict[str, Any]]:
    sent: list[dict[str, Any]] = []
    parts = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> dict[str, Any]:
        return parts.pop() if parts else await asyncio.get_running_loop().create_future()  # who asked stays and says no more

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http", "path": path,
        "raw_path": path.encode("utf-8", "replace"), "query_string": query, "root_path": "",
        "headers": [(name.encode(), value.encode()) for name, value in given.items()],
        "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80),
    }  # fmt: skip
    asyncio.run(app(scope, receive, send))  # type: ignore[arg-type]
    return sent
