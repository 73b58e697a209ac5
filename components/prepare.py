"""Packs a set of images: decodes, checks, resizes, drops duplicates, splits, and writes shards with a manifest.

A set is an entry of section `data` of params.yaml (--section data.NAME). Equal images give equal bytes,
whatever their order, file times or machine; broken ones are listed by name and reason in the manifest. --output is replaced where
it is an earlier packed set, and refused where it is anything else.

Many machines can share the work: each processes one part of the source (--part), and the parts are merged into the same bytes
that one machine writes (--merge). The merge reads no images but those of the parts.

example:
  python -m components.prepare --section data.base --output data/base
  python -m components.prepare --section data.base --output data/base --set data.base.path=data/raw/flowers
  python -m components.prepare --section data.base --part 1/2 --output parts/1
  python -m components.prepare --section data.base --part 2/2 --output parts/2
  python -m components.prepare --section data.base --merge parts/1 parts/2 --output data/base

what the paths hold:
  --raw      what components.fetch wrote
  --output   train-00000.tar, test-00000.tar, ... (WebDataset) and manifest.json (count, classes, source, licence, hashes);
             with --part instead: part.json, pixels, digests and labels of that share, for --merge
  --merge    the outputs of all parts, in any order
"""

from __future__ import annotations

import argparse
import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from atelier.config.data import DataSettings
from atelier.data.manifest import NAME, Manifest
from atelier.data.pack import merge, pack, pack_part
from atelier.data.parts import NAME as PART
from atelier.io.files import check_output
from atelier.tracking.step_run import StepRun, step_run
from components import cli
from components.contract import STEP, Dataset, Fetched, In, Option, Out, Part, component
from components.fetch import unpacked

Section = Annotated[str, Option("which images: data.NAME of params.yaml", metavar="data.NAME")]
Raw = Annotated[In[Fetched] | None, Option("images that components.fetch fetched, instead of those of the section's path")]
Step = Annotated[str, STEP]
Workers = Annotated[int, Option("processes (default: as many as there are cores)", metavar="N")]
READS = {"settings": "data.NAME", "experiment": "registry.experiment"}


def _describe(manifest: Manifest) -> dict[str, Any]:
    return {
        "count": manifest.count,
        "resolution": manifest.resolution,
        "classes": ", ".join(manifest.classes),
        "content_hash": manifest.content_hash,
    }


@component(READS, light=True, reusable=True, describe=_describe)
def prepare(
    settings: DataSettings,
    output: Annotated[Out[Dataset], "where the packed images go, or the part"],
    experiment: str,
    section: Section,
    step: Step = "",
    workers: Workers = 0,
    raw: Raw = None,
) -> Manifest:
    """Packs what `settings` name into the folder `output` and returns its manifest.

    `section` is the part of params.yaml that messages point to ("data.base"), `step` the name of the MLflow run in `experiment`;
    `workers` are processes, 0 for as many as there are cores. Raises DataError, StorageError or WriteError.
    """
    check_output(output, NAME)
    named: dict[str, Any] = {section: settings.model_dump(mode="json")}
    with fetched(settings, raw) as found, step_run(step or step_of(section), experiment, named) as run:
        manifest = pack(found, output, workers, section=section)
        _log(run, manifest, output)
    return manifest


@component(READS, light=True, reusable=True, describe=lambda count: {"count": count})
def prepare_part(
    settings: DataSettings,
    part: int,
    parts: int,
    output: Out[Part],
    experiment: str,
    section: Section,
    step: Step = "",
    workers: Workers = 0,
    raw: Raw = None,
) -> int:
    """Processes part 1 … `parts` of the source into the folder `output`, for `merge_parts`; returns how many images it holds.

    Everything else is as in `prepare`.
    """
    check_output(output, PART)
    named: dict[str, Any] = {section: settings.model_dump(mode="json")}
    tags = {"atelier.part": f"{part}/{parts}"}
    with fetched(settings, raw) as found, step_run(step or step_of(section), experiment, named, tags) as run:
        info = pack_part(found, part, parts, output, workers, section=section)
        run.log_metrics({"images": info.count, "rejected": len(info.rejected)})
    return info.count


@component(READS, light=True, reusable=True, describe=_describe)
def merge_parts(
    settings: DataSettings,
    parts: list[In[Part]],
    output: Out[Dataset],
    experiment: str,
    section: Section,
    step: Step = "",
) -> Manifest:
    """Packs the folders `parts`, all parts of one source in any order, into the folder `output`: what `prepare` would write.

    The source itself is not read. Refuses, with DataError, parts that do not belong together or to these settings.
    """
    check_output(output, NAME)
    with step_run(step or step_of(section), experiment, {section: settings.model_dump(mode="json")}) as run:
        manifest = merge(settings, parts, output, section=section)
        _log(run, manifest, output)
    return manifest


def step_of(section: str) -> str:
    """Name of the MLflow run that packs a set: data.base -> prepare_base."""
    return f"prepare_{section.rpartition('.')[2]}"


@contextlib.contextmanager
def fetched(settings: DataSettings, raw: Path | None) -> Iterator[DataSettings]:
    """The settings of a set of images; of one that was fetched into the folder `raw` while it is unpacked."""
    with unpacked(raw) if raw else contextlib.nullcontext(settings.path) as path:
        yield settings.model_copy(update={"path": str(path)})


def _log(run: StepRun, manifest: Manifest, output: Path) -> None:
    run.log_metrics({"images": manifest.count, "duplicates": manifest.duplicates, "rejected": len(manifest.rejected)})
    run.set_tags({"atelier.data_hash": manifest.content_hash})
    run.log_file(output / NAME)


def main() -> None:
    """The command line."""
    parser = cli.parser(prepare, __doc__)
    share = parser.add_mutually_exclusive_group()
    share.add_argument("--part", type=_part, metavar="I/N", help="process part I of N only, for --merge")
    share.add_argument("--merge", type=Path, nargs="+", metavar="FOLDER", help="pack these parts; the source is not read")
    args = parser.parse_args()
    if args.part:
        part, parts = args.part
        count = cli.call(prepare_part, args, part=part, parts=parts)
        print(f"{args.output}: part {part} of {parts}, {count} images")
        return
    manifest = cli.call(merge_parts, args, parts=args.merge) if args.merge else cli.call(prepare, args)
    images = f"whole pictures of {manifest.resolution} px or more" if manifest.whole else f"images of {manifest.resolution} px"
    print(
        f"{args.output}: {manifest.count} {images}, {len(manifest.classes)} classes, "
        f"{manifest.duplicates} duplicates dropped, {len(manifest.rejected)} rejected"
    )


def _part(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"([0-9]+)/([0-9]+)", text)
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} is no part; write I/N, for example 2/4")
    return int(found[1]), int(found[2])


if __name__ == "__main__":
    cli.run(main)
