"""cluster.yaml, beside params.yaml."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from atelier.config.cluster import ClusterSettings
from atelier.config.section import SettingsError
from pipelines.project import load
from tests.support.small import PARAMS


def test_each_override_goes_to_its_file() -> None:
    settings = load(PARAMS, ["cluster.cpu='4'", "train.seed=3"])
    assert (settings.cluster.cpu, settings.train.seed, settings.cluster.secret) == ("4", 3, "atelier")


def test_a_project_without_it_is_refused_where_tasks_are_placed(tmp_path: Path) -> None:
    copy = shutil.copyfile(PARAMS, tmp_path / "params.yaml")
    assert load(copy, ["cluster.cpu='4'"], placed=False).cluster == ClusterSettings(cpu="4")
    with pytest.raises(SettingsError, match=r"cluster\.yaml: missing, .* copy the one of the repository"):
        load(copy)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("cluster.cpus='2'", r"cluster\.yaml: cluster\.cpus: unknown key; did you mean cpu\?"),
        ("cluster.cpu=2", r"cluster\.yaml: cluster\.cpu: should be a valid string, but it is 2"),
        ("cluster.cpu.milli=2", r"--set cluster\.cpu\.milli=2"),
    ],
)
def test_what_cannot_be_is_refused_with_its_file(override: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        load(PARAMS, [override])
