"""Requests to an ASGI application in this process, without a server."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import FastAPI


def ask(app: FastAPI, method: str, path: str, query: bytes = b"", body: bytes = b"", accept: bytes = b"*/*") -> tuple[int, bytes]:
    """Status and content of the answer."""
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
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:])
