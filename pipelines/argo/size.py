"""How large the Workflow of a run becomes, and whether Argo can keep it.

Argo refuses to save what is beyond 1 MiB (getMaxWorkflowSize in workflow/packer/packer.go of 4.0.5), of which the nodes are
packed as soon as there would be more otherwise (CompressWorkflowIfNeeded). The run ends there, whatever it has computed. Linux
takes no argument beyond 128 KiB, and Argo none without rights that its Role in Kubeflow lacks (MaxEnvVarLen in
workflow/common/common.go).
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipelines.argo import spec
from pipelines.argo.nodes import Run
from pipelines.argo.spec import Json, Pipeline, text
from pipelines.cluster import PipelineError
from pipelines.form import TRIALS
from pipelines.transformations import MOST_TRIALS

WORKFLOW = 1024 * 1024
ARGUMENT = 128 * 1024
ROOM = 0.9  # of both: the model has been seen to miss by 2 %, and nodes of further attempts take room
LEVEL = 4  # of zlib, by which nodes become as long as in the recorded runs, which pgzip had packed
FEW, MORE = 2, 12  # trials from which the size of others follows: each adds the same


@dataclass(frozen=True)
class Size:
    """Bytes of a Workflow: without its nodes, of those as they are and packed; the longest argument of its pods."""

    spec: int
    nodes: int
    packed_nodes: int
    argument: int

    @property
    def unpacked(self) -> int:
        """With the nodes as they are; beyond 1 MiB Kubeflow's list of tasks stands still."""
        return self.spec + self.nodes

    @property
    def packed(self) -> int:
        """With packed nodes; beyond 1 MiB the run ends."""
        return self.spec + self.packed_nodes


def measure(specification: Mapping[str, Any], values: Mapping[str, Any], parameters: Mapping[str, Any] | None = None) -> Size:
    """The size of a run that succeeds. `values` are outputs of tasks, `parameters` those of the pipeline beside its defaults."""
    pipeline = Pipeline(specification)
    run = Run(pipeline, {**pipeline.defaults, **(parameters or {})}, values)
    written = text(run.nodes()).encode()
    return Size(spec.size(pipeline, run.parameters), len(written), packed(written), run.argument)


def packed(written: bytes) -> int:
    """Bytes of nodes as Argo packs them (CompressEncodeString in util/file/fileutil.go)."""
    return len(base64.b64encode(zlib.compress(written, LEVEL, zlib.MAX_WBITS | 16)))


def refuse_what_does_not_fit(specification: Mapping[str, Any], values: Mapping[str, Any]) -> None:
    """Raises PipelineError for a pipeline whose run Argo would end, with one trial if it is a sweep."""
    found = measure(specification, values, _repeated(specification, 1))
    if found.packed > ROOM * WORKFLOW or found.argument > ROOM * ARGUMENT:
        raise PipelineError(
            f"a run of this pipeline becomes {found.packed / 1024:.0f} KiB of Argo's Workflow, its longest argument "
            f"{found.argument / 1024:.0f} KiB, and {ROOM * WORKFLOW / 1024:.0f} and {ROOM * ARGUMENT / 1024:.0f} are safe; lower "
            "--partitions, or take stages out of dvc.yaml"
        )


def most_trials(specification: Mapping[str, Any], values: Mapping[str, Any]) -> int:
    """How many trials of a sweep fit into a run of a pipeline."""
    few, more = (measure(specification, values, _repeated(specification, count)) for count in (FEW, MORE))

    def fit(least: int, size: int, room: float) -> int:
        each = (size - least) / (MORE - FEW)
        return FEW + int((room - least) / each) if each > 0 else MOST_TRIALS

    fitting = fit(few.packed, more.packed, ROOM * WORKFLOW), fit(few.argument, more.argument, ROOM * ARGUMENT)
    return max(1, min(MOST_TRIALS, *fitting))


def _repeated(specification: Mapping[str, Any], count: int) -> Json:
    """The parameter of a sweep with so many trials, made of those that the pipeline has; empty where it has none."""
    trials = Pipeline(specification).defaults.get(TRIALS)
    return {TRIALS: [trials[place % len(trials)] for place in range(count)]} if trials else {}
