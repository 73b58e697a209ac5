"""Requests to an ASGI application in this process, without a server."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import FastAPI


def ask(app: FastAPI, method: str, path: str, query: bytes = b"", body: bytes = b"", accept: bytes = b"*/*") -> tuple[int, bytes]:
    """Status and content of the answer."""
    first, *rest = _sent(app, method, path, query, body, accept)
    return first["status"], b"".join(message.get("body", b"") for message in rest)


def headers(app: FastAPI, method: str, path: str, body: bytes = b"") -> dict[str, str]:
    """The headers of the answer, their names in small letters."""
    return {name.decode().lower(): value.decode() for name, value in _sent(app, method, path, b"", body, b"*/*")[0]["headers"]}


def _sent(app: FastAPI, method: str, path: str, query: bytes, body: bytes, accept: bytes) -> list[dict[str, Any]]:
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http", "path": path,
        "raw_path": path.encode("utf-8", "replace"), "query_string": query, "root_path": "", "headers": [(b"accept", accept)],
        "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80),
    }  # fmt: skip
    asyncio.run(app(scope, receive, send))  # type: ignore[arg-type]
    return sent
