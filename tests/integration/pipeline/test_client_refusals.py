"""What the command line refuses before the cluster hears of it, and what of placement it compiles in."""

from __future__ import annotations

import json
import re

import pytest

from tests.support.kfp_fixtures import PIPELINE, Run, kfp_server, run_verb
from tests.support.kfp_server import KfpServer

__all__ = ["kfp_server", "run_verb"]

MANY = ("--sweep", f"train.seed={','.join(map(str, range(90)))}")


@pytest.mark.parametrize("verb", [("submit",), ("schedule", "create", "--every", "7d"), ("upload",)])
def test_a_sweep_that_no_run_can_hold_is_refused_before_anything_is_sent(verb: tuple[str, ...], kfp: KfpServer, run: Run) -> None:
    done = run(*verb, *PIPELINE, *MANY)
    assert done.code == 1 and re.search(r"--sweep: 90 trials, and [5-8]\d fit into a run", done.err)
    assert kfp.requests == []


def test_placement_that_the_form_does_not_ask_for_is_compiled_in(kfp: KfpServer, run: Run) -> None:
    placed = ("--set", "cluster.cpu=4", "--set", "cluster.node_selector={disk: ssd}", "--set", "cluster.memory=64Gi")
    assert run("submit", *PIPELINE, *placed).code == 0
    (entry,) = kfp.runs.values()
    given, sent = entry.runtime_config.parameters, json.dumps(entry.pipeline_spec)
    assert given["overrides"] == {} and given["cluster_memory"] == "64Gi"
    assert '"resourceCpuRequest": "4"' in sent and '"disk": "ssd"' in sent and "64Gi" not in sent
