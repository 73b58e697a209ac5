"""A picture as a page of its own, for viewers that show HTML but no image files, such as that of Kubeflow Pipelines."""

from __future__ import annotations

import base64
from html import escape


def page(title: str, png: bytes) -> str:
    """A self-contained HTML page with one picture (a PNG file's bytes)."""
    data = base64.b64encode(png).decode()
    return (
        f'<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>{escape(title)}</title>\n'
        f'<body style="margin:1rem;font-family:sans-serif"><h1 style="font-size:1.1rem">{escape(title)}</h1>\n'
        f'<img alt="{escape(title)}" style="max-width:100%;image-rendering:pixelated" src="data:image/png;base64,{data}">\n'
        "</body></html>\n"
    )
