"""What the README tells people to write is accepted."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from ruamel.yaml import YAML

from atelier.config import settings
from tests.support.small import ROOT


def overrides(values: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from overrides(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}={value}"


def test_the_settings_for_own_images_are_valid() -> None:
    (text,) = re.findall(r"```yaml\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    chosen = settings.load(ROOT / "params.yaml", list(overrides(YAML(typ="safe").load(text))))
    assert {name: one.resolution for name, one in chosen.data.items()} == {"base": 64, "target": 64}
    names = {name: product.name for name, product in chosen.products.items()}
    assert (chosen.model.architecture, names) == ("r3gan", {"base": "flowers", "finetuned": "orchids"})
