"""What a task learns from its environment, by the names that every runner sets."""

from __future__ import annotations

TRACKING = "MLFLOW_TRACKING_URI"
PIPELINE_RUN, IMAGE, STATES, CACHE = "ATELIER_PIPELINE_RUN", "ATELIER_IMAGE", "ATELIER_STATES", "ATELIER_CACHE"
TASK = "ATELIER_TASK"
SECRETS = (  # keys of the Secret that become the environment of a task
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_ENDPOINT_URL_S3",
    "AWS_DEFAULT_REGION",
    "MLFLOW_TRACKING_USERNAME",
    "MLFLOW_TRACKING_PASSWORD",
    "MLFLOW_TRACKING_TOKEN",
)
SHARED_MEMORY = "2Gi"  # of /dev/shm, through which NCCL's processes talk; a container has 64 MiB
