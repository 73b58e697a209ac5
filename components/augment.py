"""Packs a set again with generated images beside its real ones: each class has as many as the largest, or as --per-class says.

The generator has to know the classes (model.conditional). Real images stay as they are, the held-out ones too; no generated image
is held out. What is generated is said in the manifest, image by image in generated.json, and thus in every model that is trained
on the set. Whether that helps a classifier, components.augment_study measures.

example:
  python -m components.augment --data data/few --model models/few --output data/balanced
  python -m components.augment --data data/few --model models:/digits@champion --output data/balanced --per-class 200 --seed 1

what the paths hold:
  --data     a packed dataset with labels (components.prepare)
  --model    a checkpoint (components.train), or models:/NAME@ALIAS, or models:/NAME/VERSION
  --output   a packed dataset; its manifest's source names the generator and the sha256 of its weights, and how many images are
             generated; generated.json lists them by their places in the training split
  --cache    registered models that were fetched; may be deleted at any time
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from atelier.data.manifest import NAME, Manifest
from atelier.io.files import check_folders, check_output
from components import cli
from components.contract import CACHE, DEVICE, Dataset, In, Model, Option, Out, component


@component(reads={}, computes=True, reusable=True, describe=lambda manifest: {"count": manifest.count, **manifest.source})
def augment(
    data: Annotated[In[Dataset], "the packed images"],
    model: Annotated[In[Model], Option("a checkpoint folder, or models:/NAME@ALIAS of the registry", metavar="MODEL")],
    output: Annotated[Out[Dataset], "where the balanced set goes"],
    cache: Annotated[Path, CACHE],
    per_class: Annotated[int | None, Option("images of each class, at least (default: those of the largest)", "N")] = None,
    seed: Annotated[int, Option("seed of the generated images (default: 0)", "N")] = 0,
    device: Annotated[str, DEVICE] = "auto",
) -> Manifest:
    """Packs real and generated images into the folder `output` and returns its manifest.

    Raises BalanceError, DataError, GeneratorError, TrackingError, WriteError.
    """
    from atelier.augmentation.balance import balance  # which loads PyTorch
    from atelier.models.model import load_latent_generator
    from atelier.registry.fetch import located
    from atelier.training.distributed import choose_device

    check_output(output, NAME)
    check_folders(cache)
    generator = load_latent_generator(located(model, cache, networks=False), choose_device(device))
    return balance(data, generator, str(model), output, per_class, seed)


def main() -> None:
    """The command line."""
    args = cli.parser(augment, __doc__).parse_args()
    manifest = cli.call(augment, args)
    print(f"{args.output}: {manifest.source['generated']} are generated")


if __name__ == "__main__":
    cli.run(main)
