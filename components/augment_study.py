"""Does a generator's data help a classifier? Generators trained on few real images, and classifiers with and without theirs.

Real images are drawn from the training split: --images of the largest class, of the others fewer by --imbalance. On each draw a
generator is trained by sections model and train, and classifiers are fitted in several ways, in equally many steps: without and
with augmentation, with class weights, with rare classes repeated, and with generated images beside the real ones (--ratios),
which fill up the rarest classes. Images that no draw holds choose the strength of augmentation and the best baseline; all are
read on the test split, which nothing else sees. Differences are tested in pairs over the generators' seeds, with Holm's
correction.

What was computed stays in --states: an interrupted study goes on there when the same command runs again, and one with more
numbers or seeds begins with what there is. A generator that was interrupted goes on from its last save.

example:
  python -m components.augment_study --data data/digits --output study
  python -m components.augment_study --data data/digits --output study --images 20 100 --imbalance 10 --classifiers 1 --steps 120

what the paths hold:
  --data     a packed dataset with labels and held-out images (components.prepare)
  --output   report.html, and study.json: protocol, each generator and classifier, means with intervals, tests
  --states   what was computed so far; remove it when the study is done
  --cache    statistics of the real images, by content hash; may be deleted at any time
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np

from atelier.augmentation.protocol import Protocol, StudyError, opened
from atelier.augmentation.results import conclusions, measures, results
from atelier.augmentation.study import Study, generated, studied
from atelier.config.evaluation import EvaluateSettings
from atelier.config.model import ModelSettings
from atelier.config.training import TrainSettings
from atelier.io.files import atomic_folder, atomic_write, canonical_json, check_folders, check_output
from atelier.report.study import study_page
from components import cli
from components.contract import CACHE, DEVICE, Dataset, Evaluation, In, Option, Out, Page, component

RESULTS, REPORT = "study.json", "report.html"
SHOWN = 20  # images of a generator


@component(
    reads={"model": "model", "settings": "train", "evaluate": "evaluate.extractor,weights,layer,seed,batch"},
    computes=True,
    reusable=True,
    retries=10,
    pages={"report": Page("HTML", lambda _, folder: (folder / REPORT).read_text(encoding="utf-8"))},
)
def augment_study(
    model: ModelSettings,
    settings: TrainSettings,
    evaluate: EvaluateSettings,
    data: Annotated[In[Dataset], "the packed images"],
    output: Annotated[Out[Evaluation], "where report and results go"],
    states: Annotated[Path, Option("what was computed so far (default: states)", default=lambda: Path("states"))],
    cache: Annotated[Path, CACHE],
    images: Annotated[
        list[int] | None, Option("real images of the largest class, one study each (default: 10 20 50 100)", "N")
    ] = None,
    imbalance: Annotated[
        float, Option("how many times more images the largest class has than the rarest (default: 1)", "X")
    ] = 1.0,
    ratios: Annotated[list[float] | None, Option("generated images for each real one (default: 0.5 1 2)", "X")] = None,
    generators: Annotated[int, Option("seeds of real images and generators (default: 5)", "N")] = 5,
    classifiers: Annotated[int, Option("seeds of classifiers for each of those (default: 5)", "N")] = 5,
    steps: Annotated[int, Option("steps of each classifier, of 64 images (default: 300)", "N")] = 300,
    validation: Annotated[int, Option("images of each class that choose (default: 50)", "N")] = 50,
    jobs: Annotated[int, Option("fits at once, in processes of their own (default: 1)", "N")] = 1,
    device: Annotated[str, DEVICE] = "auto",
) -> dict[str, Any]:
    """Makes the study into the folder `output`, and returns its results (atelier.augmentation.results).

    `settings` are those by which each generator is trained, with its number added to the seed; of `evaluate` counts what chooses
    among its saves. Raises StudyError, DataError, WriteError and what training raises.
    """
    check_output(output, RESULTS)
    check_folders(states, cache)
    if jobs < 1:
        raise StudyError(f"--jobs is {jobs}; give 1 or more")
    protocol = Protocol(
        images=tuple(sorted(set(images))) if images else Protocol.images,
        imbalance=imbalance,
        ratios=tuple(sorted(set(ratios))) if ratios else Protocol.ratios,
        generators=generators,
        classifiers=classifiers,
        steps=steps,
        validation=validation,
    )
    study = Study.of(protocol, data, states, cache, device, model, settings, evaluate)
    whole = opened(data)
    manifest = whole.dataset.manifest
    about = {
        "set": f"{manifest.source['description']}, {whole.dataset.resolution} px, {len(whole.classes)} classes",
        "content_hash": manifest.content_hash,
        "classes": whole.classes,
        "test": len(whole.test.labels),
        "model": model.plain(),
        "train": settings.plain(),
    }
    found = results(protocol, studied(study, jobs), about)
    page = study_page(found, measures(imbalance), conclusions(found), _pictures(study))
    with atomic_folder(output, RESULTS) as folder:
        atomic_write(folder / RESULTS, canonical_json(found))
        atomic_write(folder / REPORT, page)
    return found


def _pictures(study: Study) -> dict[str, np.ndarray]:
    """Of the first generator of each number of images, one of each class in turn, the rarest first."""
    rows = {}
    for images in study.protocol.images:
        made = generated(study, images, 0, max(study.protocol.ratios))
        counts = study.protocol.counts(images, len(opened(study.data).classes), 0)
        turns = np.concatenate([np.arange(count) for count in np.bincount(made.labels, minlength=len(counts))])
        order = np.lexsort((counts[made.labels], turns))[:SHOWN]
        rows[f"{images} real images of the largest class, {counts.min()} of the rarest"] = made.images[order]
    return rows


def main() -> None:
    """The command line."""
    args = cli.parser(augment_study, __doc__).parse_args()
    found = cli.call(augment_study, args)
    for line in conclusions(found):
        print(line)
    print(f"report: {args.output / REPORT}")


if __name__ == "__main__":
    cli.run(main)
