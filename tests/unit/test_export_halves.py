"""Both halves of a generator as ONNX: what they give, and what is refused. More families: tests/integration/test_export.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from atelier.models.model import GeneratorError
from atelier.models.onnx import ExportError
from atelier.models.onnx_halves import export_halves
from tests.support.exported import check_halves, diverged
from tests.support.small_models import make_checkpoint
from tests.support.small_translators import make_checkpoint as make_translator


@pytest.mark.parametrize(("family", "conditional"), [("dcgan", True), ("mlp", False)])
def test_both_halves_paint_what_pytorch_paints(tmp_path: Path, family: str, conditional: bool) -> None:
    check_halves(tmp_path, family, conditional, truncates=True)


def test_weights_that_are_not_numbers_are_refused(tmp_path: Path) -> None:
    checkpoint = diverged(make_checkpoint(tmp_path / "checkpoint", "mlp"))
    with pytest.raises(ExportError, match=r"checkpoint: .* check the checkpoint's weights"):
        export_halves(checkpoint, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_generators_of_something_else_have_no_halves(tmp_path: Path) -> None:
    with pytest.raises(GeneratorError, match="takes image, and not noise with at most a class"):
        export_halves(make_translator(tmp_path / "checkpoint", "cyclegan"), tmp_path / "out")
