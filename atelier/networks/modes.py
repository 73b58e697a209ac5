"""Modes of a forward pass that layers ask for: differentiated twice, without weight gradients, recomputed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager

TWICE, IMAGES_ALONE, RECOMPUTED = "differentiated twice", "no weight gradients", "computed again"
RECORDS = "gradients of single records"
_on: set[str] = set()  # of the process: CUDA's backward passes run in threads of their own


def is_on(mode: str) -> bool:
    """True within that mode."""
    return mode in _on


@contextmanager
def _while_on(mode: str) -> Iterator[None]:
    before = mode in _on
    _on.add(mode)
    try:
        yield
    finally:
        if not before:
            _on.discard(mode)


def differentiated_twice() -> AbstractContextManager[None]:
    """Around a pass whose gradients will be differentiated: Convolutions prepare for that, which costs time elsewhere."""
    return _while_on(TWICE)


def no_weight_gradients() -> AbstractContextManager[None]:
    """Around torch.autograd.grad by images or by a code: Convolutions leave out the gradients by their weights."""
    return _while_on(IMAGES_ALONE)


def of_single_records() -> AbstractContextManager[None]:
    """Around torch.func.vmap over a pass, which knows neither memory formats nor autograd functions of one's own."""
    return _while_on(RECORDS)


class Recomputation(AbstractContextManager[None]):
    """Around the recomputation of a pass, once or, where gradients are differentiated, twice.

    The pass runs in the mode of the first one and in the context that `restored` makes. (torch.utils.checkpoint restores
    autocast.)
    """

    def __init__(self, restored: Callable[[], AbstractContextManager[None]]) -> None:
        self.twice, self.restored = is_on(TWICE), restored
        self.stack = ExitStack()

    def __enter__(self) -> None:
        self.stack.enter_context(_while_on(RECOMPUTED))
        if self.twice:
            self.stack.enter_context(differentiated_twice())
        self.stack.enter_context(self.restored())

    def __exit__(self, *error: object) -> None:
        self.stack.close()
