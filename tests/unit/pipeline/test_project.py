"""cluster.yaml, beside params.yaml."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

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
        ("cluster.cpu=[2]", r"cluster\.yaml: cluster\.cpu: should be a valid string, but it is \[2\]"),
        ("cluster.cpu.milli=2", r"--set cluster\.cpu\.milli=2"),
    ],
)
def test_what_cannot_be_is_refused_with_its_file(override: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        load(PARAMS, [override])


@pytest.mark.parametrize(
    ("override", "found"),
    [
        ("cluster.accelerators=0", "0"),
        ("cluster.cpu=1.50", "1.50"),  # as it is written
        ("cluster.cpu='1'", "1"),
        ("registry.experiment=2026", "2026"),
        ("data.base.path=17", "17"),
        ("train.seed=1", 1),
        ("model.latent_dim=16", 16),
    ],
)
def test_a_number_is_text_where_a_key_takes_text(override: str, found: object) -> None:
    place: Any = load(PARAMS, [override])
    for name in override.partition("=")[0].split("."):
        place = place[name] if isinstance(place, dict) else getattr(place, name)
    assert place == found and type(place) is type(found)


@pytest.mark.parametrize("override", ["cluster.accelerators=true", "registry.experiment=[1]", "cluster.cpu=-1"])
def test_what_is_no_text_stays_refused(override: str) -> None:
    with pytest.raises(SettingsError, match=override.partition("=")[0]):
        load(PARAMS, [override])
