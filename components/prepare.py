"""Packs a set of images: decodes, checks, resizes, drops duplicates, splits, and writes shards with a manifest.

Reads section `data` (the base images) or `target` (the images of fine-tuning) of params.yaml. Equal images give equal bytes,
whatever their order, file times or machine; broken ones are listed by name and reason in the manifest. --output is replaced where
it is an earlier packed set, and refused where it is anything else.

example:
  python -m components.prepare --section data --output data/base
  python -m components.prepare --section data --output data/base --set data.source=folder --set data.path=data/raw/flowers

what the paths hold:
  --output   train-00000.tar, test-00000.tar, ... (WebDataset) and manifest.json (count, classes, source, licence, hashes)
"""

from __future__ import annotations

from pathlib import Path

from atelier.data.manifest import NAME, Manifest
from atelier.data.pack import pack
from atelier.registry.tracking import step_run
from atelier.settings import DataSettings
from components import cli


def prepare(
    settings: DataSettings, output: Path, experiment: str, section: str = "data", step: str = "prepare_base", workers: int = 0
) -> Manifest:
    """Packs what `settings` name into the folder `output` and returns its manifest.

    `section` is the part of params.yaml that messages point to, `step` the name of the MLflow run in `experiment`; `workers`
    are processes, 0 for as many as there are cores. Raises DataError, StorageError or WriteError.
    """
    with step_run(step, experiment, {section: settings.model_dump(mode="json")}) as run:
        manifest = pack(settings, output, workers, section=section)
        run.log_metrics(
            {"images": manifest.count, "duplicates": manifest.duplicates, "rejected": len(manifest.rejected)},
        )
        run.set_tags({"atelier.data_hash": manifest.content_hash})
        run.log_file(output / NAME)
    return manifest


def main() -> None:
    """The command line."""
    parser = cli.parser("prepare", __doc__)
    parser.add_argument("--section", choices=("data", "target"), default="data", help="which images (default: data)")
    parser.add_argument("--output", type=Path, required=True, metavar="FOLDER", help="where the packed images go")
    parser.add_argument("--workers", type=int, default=0, metavar="N", help="processes (default: as many as there are cores)")
    args = parser.parse_args()
    settings = cli.settings(args)
    step = {"data": "prepare_base", "target": "prepare_target"}[args.section]
    images = getattr(settings, args.section)
    manifest = prepare(images, args.output, settings.registry.experiment, args.section, step, args.workers)
    print(
        f"{args.output}: {manifest.count} images of {manifest.resolution} px, {len(manifest.classes)} classes, "
        f"{manifest.duplicates} duplicates dropped, {len(manifest.rejected)} rejected"
    )


if __name__ == "__main__":
    cli.run(main)
