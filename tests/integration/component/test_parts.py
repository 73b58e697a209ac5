"""Preparation in parts as commands of their own, and what it needs to be installed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import mlflow
import pytest

from atelier.config.settings import load
from components.prepare import merge_parts, prepare, prepare_part
from tests.support.small import ROOT, folder_hash


def command(*arguments: str, code: str | None = None) -> subprocess.CompletedProcess[str]:
    """Runs `python -m components.prepare`, or a program, in the current folder."""
    program = ["-c", code] if code else ["-m", "components.prepare"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run([sys.executable, *program, *arguments], capture_output=True, text=True, env=environment)


def test_the_commands_in_any_order_make_what_one_makes(workspace: Path) -> None:
    for part in (3, 1, 2):
        done = command("--section", "data.target", "--part", f"{part}/3", "--output", f"parts/{part}")
        assert (done.returncode, done.stderr.count("error")) == (0, 0), done.stderr
        assert done.stdout.startswith(f"parts/{part}: part {part} of 3, 1") and done.stdout.endswith(" images\n")
    merged = command("--section", "data.target", "--merge", "parts/2", "parts/3", "parts/1", "--output", "merged")
    single = command("--section", "data.target", "--output", "single")
    assert (merged.returncode, single.returncode) == (0, 0), merged.stderr + single.stderr
    assert merged.stdout == single.stdout.replace("single", "merged")
    assert folder_hash(workspace / "merged") == folder_hash(workspace / "single")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--section", "data.base", "--part", "2"], 2, "'2' is no part; write I/N, for example 2/4"),
        (["--section", "data.base", "--part", "1/2", "--merge", "parts/1"], 2, "not allowed with argument"),
        (["--section", "data.base", "--part", "3/2"], 1, "error: part 3 of 2: there is no such part"),
        (
            ["--section", "data.target", "--part", "1/2", "--set", "data.target.path=nowhere"],
            1,
            "error: data.target.path 'nowhere': no such",
        ),
        (
            ["--section", "data.target", "--merge", "nowhere"],
            1,
            "error: nowhere/part.json: missing, so nowhere is no part of a set; ",
        ),
        (["--section", "data.target", "--merge", "nowhere"], 1, "components.prepare --section data.target --part I/N"),
        (["--section", "data.third"], 1, "error: data.third: params.yaml has no such section, but data.base, data.target; "),
        ([], 2, "the following arguments are required: --section"),
    ],
)
@pytest.mark.usefixtures("workspace")
def test_wrong_commands_name_the_remedy(arguments: list[str], code: int, said: str) -> None:
    done = command(*arguments, "--output", "packed")
    assert done.returncode == code and said in done.stderr and "Traceback" not in done.stderr, done.stderr
    assert not Path("packed").exists()


def test_parts_and_merge_are_runs_of_one_pipeline(workspace: Path) -> None:
    settings = load(workspace / "params.yaml").data["base"]
    counts = [
        prepare_part(settings, part, 2, Path(f"parts/{part}"), "atelier", "data.base", step="prepare_base_part")
        for part in (1, 2)
    ]
    manifest = merge_parts(settings, [Path("parts/2"), Path("parts/1")], Path("merged"), "atelier", "data.base")
    assert counts == [24, 24] and manifest == prepare(settings, Path("single"), "atelier", "data.base", step="single")
    client = mlflow.MlflowClient(os.environ["MLFLOW_TRACKING_URI"])
    experiment = client.get_experiment_by_name("atelier")
    assert experiment
    runs = [run for run in client.search_runs([experiment.experiment_id]) if "atelier.step" in run.data.tags]
    told = {(run.data.tags["atelier.step"], run.data.tags.get("atelier.part")): run for run in runs}
    assert set(told) == {
        ("prepare_base_part", "1/2"), ("prepare_base_part", "2/2"), ("prepare_base", None), ("single", None),
    }  # fmt: skip
    assert {run.info.status for run in runs} == {"FINISHED"} and len({run.data.tags["mlflow.parentRunId"] for run in runs}) == 1
    assert told["prepare_base_part", "2/2"].data.metrics == {"images": 24, "rejected": 0}
    merged, single = told["prepare_base", None], told["single", None]
    assert merged.data.metrics == single.data.metrics == {"images": 48, "duplicates": 0, "rejected": 0}
    assert merged.data.tags["atelier.data_hash"] == single.data.tags["atelier.data_hash"] == manifest.content_hash
    assert [file.path for file in client.list_artifacts(merged.info.run_id)] == ["manifest.json"]


WITHOUT_TORCH = """
import sys
from pathlib import Path
from atelier.config.settings import load
from components.prepare import merge_parts, prepare, prepare_part
data = load("params.yaml", sys.argv[1:]).data["base"]
prepare(data, Path("packed"), "atelier", "data.base")
prepare_part(data, 1, 1, Path("part"), "atelier", "data.base")
merge_parts(data, [Path("part")], Path("merged"), "atelier", "data.base")
print(sorted({"torch", "torchvision"} & set(sys.modules)))
"""


@pytest.mark.usefixtures("workspace")
@pytest.mark.parametrize("source", ["folder", "digits-1797"])
def test_neither_torch_nor_torchvision_is_imported(source: str) -> None:
    done = command(f"data.base.source={source}", code=WITHOUT_TORCH)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[]\n"


@pytest.mark.usefixtures("workspace")
def test_torchvision_that_is_not_installed_is_named() -> None:
    missing = "import sys; sys.modules['torchvision'] = None\nfrom components import cli, prepare\ncli.run(prepare.main)"
    done = command("--section", "data.base", "--output", "packed", "--set", "data.base.source=torchvision:MNIST", code=missing)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(
        "error: data.base.source torchvision:MNIST: torchvision is not in this image or environment"
    )
    assert "use an image that has it (--data-image naming the training image)" in done.stderr
