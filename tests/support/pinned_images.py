"""Images of containers, and data that DVC has, named by their content."""

from __future__ import annotations

PINNED = f"registry.example:5000/atelier@sha256:{'a' * 64}"
DATA = f"registry.example:5000/atelier-data@sha256:{'b' * 64}"
ADDRESSES = {
    section: f"s3://bucket/cache/files/md5/00/{letter * 30}.dir" for section, letter in (("data.base", "a"), ("data.target", "b"))
}
