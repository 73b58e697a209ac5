"""A picture as a page of its own, for viewers that show HTML but no image files, such as that of Kubeflow Pipelines."""

from __future__ import annotations

import io
from html import escape

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from PIL import Image

from atelier.io.pictures import data_uri

MOST_BYTES = 700_000  # of the picture; in base64 it is a third larger, and the page below 1 MB


def template(name: str) -> Template:
    """A template of a page, from this folder."""
    environment = Environment(
        loader=PackageLoader("atelier.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)


def shown(picture: Image.Image, width: int, most: int) -> str:
    """The picture as a data URI of at most `most` bytes, shrunk to `width` pixels if it is wider."""
    if picture.width > width:
        picture = picture.resize((width, round(picture.height * width / picture.width)), Image.Resampling.LANCZOS)
    return data_uri(picture, most)


def page(title: str, png: bytes) -> str:
    """A self-contained HTML page with one picture (a PNG file's bytes)."""
    with Image.open(io.BytesIO(png)) as picture:
        shown = data_uri(picture, MOST_BYTES)
    return (
        f'<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>{escape(title)}</title>\n'
        f'<body style="margin:1rem;font-family:sans-serif"><h1 style="font-size:1.1rem">{escape(title)}</h1>\n'
        f'<img alt="{escape(title)}" style="max-width:100%;image-rendering:pixelated" src="{shown}">\n'
        "</body></html>\n"
    )
