"""The size of Argo's Workflow: the model against what was recorded of real runs, and the project's runs against the limits."""

from __future__ import annotations

import json
import lzma
import re
from typing import Any

import pytest

from pipelines import check, dag, runners
from pipelines.argo import size
from pipelines.argo.nodes import Run
from pipelines.argo.spec import Pipeline, text
from pipelines.project import load
from tests.support.compiled_yaml import compiled_text
from tests.support.kfp_recorded import recorded
from tests.support.pinned_images import ADDRESSES, DATA, PINNED
from tests.support.small import PARAMS, ROOT

CLUSTER = dag.Cluster(PINNED, DATA, tracking="http://mlflow.mlflow.svc:5000", reuse=True)
Compiled = dict[str, Any]


@pytest.fixture(scope="module")
def then() -> dict[str, Compiled]:
    """The pipelines that ran on the real backend, as they were compiled; `train.trial` is typed as it was mended there."""
    file = ROOT / "tests/support/kfp_recorded/compiled-pipelines.json.xz"
    found: dict[str, Compiled] = json.loads(lzma.decompress(file.read_bytes()))
    return found


def sweep(trials: int) -> dag.Cluster:
    return dag.Cluster(PINNED, DATA, tracking="http://mlflow.mlflow.svc:5000", trials=({"train.seed": 0},) * trials)


def compiled(cluster: dag.Cluster) -> tuple[Compiled, dict[str, Any]]:
    """This repository's pipeline, and what its check hands on."""
    project = load(PARAMS)
    graph = dag.graph(cluster, project, ROOT / "dvc.yaml")
    values = {name: check.told_to(project, readings) for name, readings in dag.handed(graph).items()}
    return runners.specification(compiled_text(cluster)), values


def measured(cluster: dag.Cluster) -> size.Size:
    """The size of a run of this repository's project."""
    return size.measure(*compiled(cluster))


# --- against what was recorded


@pytest.mark.parametrize(("name", "file"), [("sweep-of-2", "nodes-sweep-of-2")])
def test_nodes_are_those_that_were_recorded(name: str, file: str, then: dict[str, Compiled]) -> None:
    def shape(nodes: Any) -> set[tuple[str, ...]]:
        unnamed = re.compile(r"^[a-z]+-[a-z0-9]{5}\b")
        return {(unnamed.sub("", node["name"]), node["type"], node["templateName"]) for node in nodes}

    assert shape(Run(Pipeline(then[name]), {}, {}).nodes().values()) == shape(recorded(file)["nodes"])


@pytest.mark.parametrize(
    ("name", "bytes_recorded"),
    [("plain", 782_000), ("sweep-of-2", 925_000)],  # of Workflows at their end
)
def test_packed_sizes_are_those_that_were_recorded(name: str, bytes_recorded: int, then: dict[str, Compiled]) -> None:
    assert size.measure(then[name], {}).packed == pytest.approx(bytes_recorded, rel=0.1)


def test_the_rest_of_a_plain_run_is_as_it_was_recorded(then: dict[str, Compiled]) -> None:
    found = size.measure(then["plain"], {})
    assert found.spec == pytest.approx(491_000, rel=0.1)
    assert found.nodes == pytest.approx(1_960_000, rel=0.1)
    assert len(Run(Pipeline(then["plain"]), {}, {}).nodes()) == 74
    assert 94_000 < found.argument < 103_000  # what had been read in the source


def test_a_sweep_of_8_would_have_been_refused(then: dict[str, Compiled]) -> None:
    """Argo gave its Workflow up at 1,067,743 bytes, when all trials were measured and nothing was chosen yet."""
    compiled = then["sweep-of-8"]
    nodes = Run(Pipeline(compiled), {}, {}).nodes()
    later = re.compile(r"choose|condition|onExit")
    reached = {key: node for key, node in nodes.items() if not later.search(node["name"])}
    spec = size.measure(compiled, {}).spec
    assert spec + size.packed(text(reached).encode()) == pytest.approx(1_067_743, rel=0.1)
    assert size.most_trials(compiled, {}) < 8


# --- what we send


def test_a_plain_run_stays_small() -> None:
    """Beyond 1 MiB unpacked Kubeflow's list of tasks stands still. What was recorded as unpacked are the nodes."""
    found = measured(CLUSTER)
    assert found.spec <= 80_000
    assert found.nodes <= 600_000
    assert found.unpacked <= 0.7 * size.WORKFLOW
    assert found.argument <= 0.1 * size.ARGUMENT


@pytest.mark.parametrize(
    "cluster",
    [
        dag.Cluster(PINNED, DATA, imports=ADDRESSES, tracking="http://mlflow", reuse=True),
        dag.Cluster(PINNED, DATA, partitions=8, tracking="http://mlflow", reuse=True),
        dag.Cluster(PINNED, DATA, claim="states", tracking="http://mlflow"),
    ],
)
def test_other_runs_fit(cluster: dag.Cluster) -> None:
    found = measured(cluster)
    assert found.packed <= 0.3 * size.WORKFLOW and found.argument <= 0.2 * size.ARGUMENT


def test_a_sweep_of_50_fits() -> None:
    found = measured(sweep(50))
    assert found.packed <= size.ROOM * size.WORKFLOW and found.argument <= size.ROOM * size.ARGUMENT


def test_a_sweep_that_does_not_fit_is_refused_with_how_many_do() -> None:
    with pytest.raises(dag.PipelineError, match=r"--sweep: 100 trials, and \d+ fit into a run: .* sweep fewer values") as refused:
        compiled_text(sweep(100))
    found = re.search(r"and (\d+) fit", str(refused.value))
    assert found and 50 <= int(found[1]) < 100


def test_the_largest_sweep_that_is_taken_fits() -> None:
    specification, values = compiled(sweep(2))
    told = re.search(r"--trials=(\d+)", str(specification))
    assert told
    found = size.measure(specification, values, {"sweep_trials": [{"train.seed": 0}] * int(told[1])})
    assert found.packed <= size.ROOM * size.WORKFLOW and found.argument <= size.ROOM * size.ARGUMENT


def test_a_plain_run_takes_no_trials() -> None:
    assert "--trials=0" in compiled_text(CLUSTER)


def test_a_pipeline_of_too_many_tasks_is_refused() -> None:
    with pytest.raises(dag.PipelineError, match=r"a run of this pipeline becomes \d+ KiB .* lower --partitions, or take stages"):
        compiled_text(dag.Cluster(PINNED, DATA, partitions=200))
