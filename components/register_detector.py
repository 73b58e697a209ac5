"""Registers a detector that components.detect has made, as a version in MLflow's registry that `python -m atelier.serving` takes.

example:
  python -m components.register_detector --detector detector --output registered-detector

what the paths hold:
  --detector  the folder that components.detect wrote; one that the limits of section detect reject is refused
  --output    registration.json: name and version
"""

from __future__ import annotations

from typing import Annotated

from atelier.detection.model import DetectorError
from atelier.io.files import atomic_folder, atomic_write, canonical_json, check_output
from atelier.metrics import acceptance
from components import cli
from components.contract import Detector as Made
from components.contract import In, Option, Out, Registration, component

REGISTERED = "registration.json"


@component(reads={"name": "detect.name", "experiment": "registry.experiment"})
def register_detector(
    name: str,
    experiment: str,
    detector: Annotated[In[Made], "the detector"],
    output: Annotated[Out[Registration], "where its name and version go"],
    step: Annotated[str, Option("name of the MLflow run (default: register_detector)", "NAME", "--stage")] = "register_detector",
) -> str:
    """Registers the detector under its name in section detect, and returns models:/NAME/VERSION.

    Raises DetectorError for one that its limits reject, TrackingError when MLflow cannot be used, SignatureError.
    """
    from atelier.registry import detectors
    from atelier.registry.versions import uri
    from atelier.tracking.step_run import step_run
    from components.detect import MEASURED, REPORT, TABLES

    check_output(output, REGISTERED)
    if reason := acceptance.read(detector):
        raise DetectorError(
            f"{detector}: rejected ({reason}), so it is not registered; give it more generators and images (its report shows "
            "which it misses), or change that limit in params.yaml"
        )
    with step_run(step, experiment, {"detect": {"name": name}}, {}, required=True) as run:
        description = (detector / TABLES).read_text(encoding="utf-8")
        version = detectors.register(run, name, detector, description, (detector / MEASURED, detector / REPORT))
    made = {"name": name, "version": int(version.version), "uri": uri(version)}
    with atomic_folder(output, REGISTERED) as folder:
        atomic_write(folder / REGISTERED, canonical_json(made))
    return uri(version)


def main() -> None:
    """The command line."""
    print(cli.call(register_detector, cli.parser(register_detector, __doc__).parse_args()))


if __name__ == "__main__":
    cli.run(main)
