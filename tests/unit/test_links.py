"""What the pages link to is there: files, and headings in them; and their code blocks end."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.support.small import ROOT

PAGES = sorted([*ROOT.glob("*.md"), *(page for top in ("docs", "recipes", "data") for page in (ROOT / top).rglob("*.md"))])
LINK = re.compile(r"\]\(([^()\s]+(?:\([^()\s]*\)[^()\s]*)*)\)")
CODE = re.compile(r"^```.*?^```|`[^`\n]*`", re.MULTILINE | re.DOTALL)


def links(page: Path) -> Iterator[tuple[Path, str]]:
    """File and heading ("" for none) of each link of a page to this repository."""
    for address in LINK.findall(CODE.sub("", page.read_text(encoding="utf-8"))):
        if not re.match(r"[a-z]+:", address):
            file, _, heading = address.partition("#")
            yield (page.parent / file).resolve() if file else page, heading


@cache
def headings(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them, and those that it names itself."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    found: set[str] = set()
    for title in re.findall(r"^#+ (.+)$", text, re.MULTILINE):
        words = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", title)
        anchor = re.sub(r"[^\w\- ]", "", words.strip().lower()).replace(" ", "-")
        again = sum(one == anchor or re.fullmatch(rf"{re.escape(anchor)}-\d+", one) is not None for one in found)
        found.add(f"{anchor}-{again}" if again else anchor)
    return found | set(re.findall(r'<a (?:id|name)="([^"]+)"', text))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    missing = [
        f"{file.name}#{heading}"
        for file, heading in links(page)
        if not file.exists() or (heading and file.suffix == ".md" and heading not in headings(file))
    ]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_code_block_ends(page: Path) -> None:
    """Else all that follows is shown as code."""
    assert len(re.findall("^```", page.read_text(encoding="utf-8"), re.MULTILINE)) % 2 == 0


def test_there_are_links_to_follow() -> None:
    found = [heading for page in PAGES for _, heading in links(page)]
    assert len(found) > 200 and sum(map(bool, found)) > 10
