"""cluster.yaml, which only pipelines/ reads."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from atelier.config.section import Section


class ClusterSettings(Section):
    """Where Kubeflow places the tasks. Amounts are texts, since Kubeflow takes no number for them from a run's form."""

    accelerator: Annotated[str, Field(pattern=r"^[a-z0-9.-]+/[A-Za-z0-9._-]+$")] = Field(
        default="nvidia.com/gpu", description="resource name of the accelerator of the tasks that compute with networks"
    )
    accelerators: Annotated[str, Field(pattern=r"^[0-9]+$")] = Field(
        default="0", description='how many of them such a task gets, in quotes; "0" for none'
    )
    cpu: Annotated[str, Field(pattern=r"^[0-9]+(\.[0-9]+|m)?$")] = Field(
        default="2", description="cores that such a task asks for, in quotes"
    )
    memory: Annotated[str, Field(pattern=r"^[0-9]+([KMGT]i?)?$")] = Field(
        default="8Gi", description="memory that such a task asks for"
    )
    node_selector: Annotated[dict[str, str], Field(min_length=1)] = Field(
        default={"kubernetes.io/os": "linux"}, description="labels that their nodes have"
    )
    tolerations: Annotated[list[dict[str, str | int]], Field(min_length=1)] = Field(
        default=[{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
        description="taints of nodes that they may run on all the same",
    )
    secret: Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$")] = Field(
        default="atelier",
        description="Secret whose keys (AWS_ACCESS_KEY_ID, MLFLOW_TRACKING_TOKEN, ...) become the environment of every task; may "
        "be absent",
    )
    states: Annotated[str, Field(pattern=r"^(none|s3://[^/]+(/.*)?)$")] = Field(
        default="none",
        description="s3:// prefix to which training saves go too, where a task that lost its node finds them; or none",
    )
    form: list[str] = Field(
        default=[],
        description="keys of params.yaml and of this file that the run form in Kubeflow's UI asks for, at most 23; its field "
        "overrides takes all others",
    )
