"""Fine-tunes a trained generator to other images: it goes on from its weights, its discriminator's and its moving average.

Reads section `finetune` of params.yaml: rates and budget of its own, and FreezeD (finetune.freeze_discriminator). Classes are
matched by name; a class that the generator does not know yet starts fresh. Where the weights come from is
finetune.init_from, or --init-from: "base" (the checkpoint of --base), a checkpoint folder, or models:/NAME@ALIAS.

--init-from and --resume are different things and exclude each other: the first begins a new run from the weights of a
finished one; the second goes on with an interrupted run of this command, with its own beginning and optimisers. An
interrupted run is also found by itself when the same command runs again (see components.train).

example:
  python -m components.finetune --base models/base --data data/target --output models/finetuned --states states/finetune
  python -m components.finetune --init-from models:/digits@champion --data data/target --output models/finetuned

what the paths hold:
  --base     the checkpoint that "base" stands for (components.train)
  --data     the packed target images (components.prepare --section target)
  --output   the checkpoint, as of components.train; its generator.json names the parent
  --states   a folder for each run with its last saves; keep it where a retry finds it again, or give --mirror
  --cache    statistics of the real images, by content hash; may be deleted at any time
"""

from __future__ import annotations

from pathlib import Path

from atelier.config.data import DataSettings
from atelier.config.evaluation import EvaluateSettings
from atelier.config.model import ModelSettings
from atelier.config.section import SettingsError
from atelier.config.training import FinetuneSettings
from atelier.models.model import GeneratorInfo
from components import cli
from components.train import add_arguments, report, train

BASE = "base"


def finetune(
    model: ModelSettings,
    settings: FinetuneSettings,
    evaluate: EvaluateSettings,
    experiment: str,
    data: Path,
    output: Path,
    states: Path,
    cache: Path,
    base: Path | None = None,
    device: str = "auto",
    resume_run: Path | None = None,
    mirror: str | None = None,
    packing: DataSettings | None = None,
) -> GeneratorInfo:
    """Fine-tunes the generator that settings.init_from names ("base" is the folder `base`) to the packed images of `data`.

    Other arguments, result and errors as of components.train.train.
    """
    if settings.init_from == BASE and base is None and resume_run is None:
        raise SettingsError("finetune.init_from is base: say with --base which checkpoint that is, or give --init-from")
    return train(
        model,
        settings,
        evaluate,
        experiment,
        data=data,
        output=output,
        states=states,
        cache=cache,
        device=device,
        init_from=str(base) if settings.init_from == BASE else settings.init_from,
        resume_run=resume_run,
        step="finetune",
        mirror=mirror,
        packing=packing,
    )


def main() -> None:
    """The command line."""
    parser = cli.parser("finetune", __doc__)
    parser.add_argument("--base", type=Path, metavar="FOLDER", help='the checkpoint that init_from "base" means')
    add_arguments(parser, "begin a new run from: base, a checkpoint folder, or models:/NAME@ALIAS (not finetune.init_from)")
    args = parser.parse_args()
    if args.init_from:
        args.set.append(f"finetune.init_from={args.init_from}")
    settings = cli.settings(args)
    info = finetune(
        settings.model,
        settings.finetune,
        settings.evaluate,
        settings.registry.experiment,
        data=args.data,
        output=args.output,
        states=args.states,
        cache=args.cache,
        base=args.base,
        device=args.device,
        resume_run=args.resume,
        mirror=args.mirror,
        packing=settings.target,
    )
    report(args.output, info)


if __name__ == "__main__":
    cli.run(main)
