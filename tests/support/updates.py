"""The updates of generation by name, and batches as it reads them."""

from __future__ import annotations

from torch import Tensor

from atelier.tasks.base import Batch
from atelier.tasks.generation.task import Generation

UPDATES = {update.name: update for update in Generation.updates}


def labeled(images: Tensor, labels: Tensor) -> Batch:
    return {"image": images, "label": labels}
