"""Whether an image can do its work: a step's imports what it needs and can write below /tmp, the server answers.

python3 health.py data|train|mlflow: exit code 0, or an error that names what is wrong. It runs inside the container.
"""

from __future__ import annotations

import importlib
import os
import sys
import tempfile
import urllib.request

ANY_STEP = ("boto3", "mlflow", "pipelines.task", "pipelines.steps")
NEEDED = {
    "data": (
        *ANY_STEP,
        "dvc.cli",
        "dvc_s3",
        "lmdb",
        "mlxtend.data",
        "pyarrow.parquet",
        "sklearn.datasets",
        "components.fetch",
        "components.prepare",
    ),
    "train": (
        *ANY_STEP,
        "torchvision",
        "mlflow.pyfunc",
        "kubeflow.trainer",
        "atelier.training.run",
        "atelier.metrics.while_training",
        "components.measure_folders",
        "atelier.report.html",
        "atelier.registry.register",
    ),
}


def main(image: str) -> None:
    """Raises what an import, a write or the server raises."""
    if image == "mlflow":
        urllib.request.urlopen(f"http://127.0.0.1:{os.environ.get('MLFLOW_PORT', '5000')}/health", timeout=8).close()
        return
    os.environ["_KFP_RUNTIME"] = "true"  # as the tasks of Kubeflow import kfp: without its client
    for module in NEEDED[image]:
        importlib.import_module(module)
    with tempfile.TemporaryFile() as file:
        file.write(b"atelier")


if __name__ == "__main__":
    main(sys.argv[1])
