"""`foreach` and templates in dvc.yaml mean in the graph what they mean to DVC."""

from __future__ import annotations

from pathlib import Path

from dvc.repo import Repo
from ruamel.yaml import YAML

from pipelines import graph

PARAMS = """\
base: {to: a, seed: 3}
sets: {base: {to: a}, target: {to: b}}
trials: [{seed: 1, name: x}, {seed: 2, name: y}]
"""
STAGES = """\
stages:
  plain:
    cmd: >-
      python -m components.train --output models/${base.to}
      --stage seed-${base.seed}
    outs: [models/plain]
  words:
    foreach: [frechet, 7]
    do:
      cmd: python -m components.evaluate --stage ${item} --output about/${base.to}-${item}
  sets:
    foreach: ${sets}
    do:
      cmd: python -m components.prepare --section data.${key} --output packed/${item.to}
  trials:
    foreach: ${trials}
    do:
      cmd: python -m components.train --stage ${item.name} --output models/${item.seed}
"""


def test_stages_and_commands_are_those_of_dvc(tmp_path: Path) -> None:
    (tmp_path / "dvc.yaml").write_text(STAGES, encoding="utf-8")
    (tmp_path / "params.yaml").write_text(PARAMS, encoding="utf-8")
    with Repo.init(str(tmp_path), no_scm=True) as repo:
        by_dvc = {stage.name.replace("@", "_"): stage.cmd for stage in repo.index.stages}
    load = YAML(typ="safe", pure=True).load
    assert dict(graph._stages(load(STAGES)["stages"], load(PARAMS))) == by_dvc
