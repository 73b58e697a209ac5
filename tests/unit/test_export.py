"""ONNX export: what is in the file, that it gives what PyTorch gives, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from atelier.io.files import WriteError, sha256_file
from atelier.models import onnx as exporting
from atelier.models.model import GeneratorError
from atelier.models.onnx import ExportError, export_onnx
from atelier.networks.mlp import MLPGenerator
from tests.support.exported import check_export, diverged
from tests.support.small_models import CLASSES, LATENT, make_checkpoint


@pytest.mark.parametrize("family", ["mlp", "dcgan"])
def test_onnx_paints_what_pytorch_paints(tmp_path: Path, family: str) -> None:
    """The other families, sizes and colors: tests/integration."""
    check_export(tmp_path, family, True, 28, 1)


def test_the_file_says_what_it_is(tmp_path: Path) -> None:
    for conditional in (True, False):
        checkpoint = make_checkpoint(tmp_path / f"{conditional}", "dcgan", conditional, 32, 3)
        export_onnx(checkpoint, tmp_path / "generator.onnx")
        written = onnx.load(tmp_path / "generator.onnx")
        assert {one.key: json.loads(one.value) for one in written.metadata_props} == {
            "format": 2,
            "architecture": "dcgan",
            "takes": {
                "noise": {"kind": "noise", "size": LATENT, "truncation": True},
                **({"label": {"kind": "label", "classes": len(CLASSES)}} if conditional else {}),
            },
            "resolution": 32,
            "channels": 3,
            "classes": CLASSES if conditional else [],
            "weights_sha256": sha256_file(checkpoint / "generator.safetensors"),
        }
        assert "[-1, 1]" in written.doc_string
        content = (tmp_path / "generator.onnx").read_bytes()
        assert str(Path(exporting.__file__).parent).encode() not in content and b".py" not in content


def test_weights_that_are_not_numbers_are_refused(tmp_path: Path) -> None:
    checkpoint = diverged(make_checkpoint(tmp_path / "checkpoint", "mlp"))
    (tmp_path / "generator.onnx").write_text("an earlier one")
    with pytest.raises(ExportError, match=r"differ from PyTorch's by nan"):
        export_onnx(checkpoint, tmp_path / "generator.onnx")
    assert (tmp_path / "generator.onnx").read_text() == "an earlier one"


def test_a_deviation_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = make_checkpoint(tmp_path / "checkpoint", "mlp_deep")
    traced = exporting._traced

    def wrong(*args: object) -> onnx.ModelProto:
        made = traced(*args)  # type: ignore[arg-type]
        (bias,) = (one for one in made.graph.initializer if one.name.endswith("layers.4.bias"))
        bias.raw_data = (np.frombuffer(bias.raw_data, np.float32) + np.float32(0.001)).tobytes()
        return made

    monkeypatch.setattr(exporting, "_traced", wrong)
    with pytest.raises(ExportError, match=r"checkpoint: .* differ from PyTorch's by (1\.0e-03|9\.\de-04), more than 1e-04"):
        export_onnx(checkpoint, tmp_path / "generator.onnx")
    assert not (tmp_path / "generator.onnx").exists()


def test_a_family_that_cannot_be_traced_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    checkpoint = make_checkpoint(tmp_path / "checkpoint", "mlp")
    forward = MLPGenerator.forward

    def branching(self: MLPGenerator, z: torch.Tensor, label: torch.Tensor | None = None) -> torch.Tensor:
        return forward(self, z if z.sum() > 0 else -z, label)

    monkeypatch.setattr(MLPGenerator, "forward", branching)
    with pytest.raises(ExportError, match=r"checkpoint: this family of generators has no ONNX form") as refused:
        export_onnx(checkpoint, tmp_path / "generator.onnx")
    assert str(refused.value).isprintable() and capfd.readouterr().out == ""


def test_what_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = make_checkpoint(tmp_path / "checkpoint", "mlp")
    with pytest.raises(GeneratorError, match="no generator here"):
        export_onnx(tmp_path / "nothing", tmp_path / "generator.onnx")
    with pytest.raises(WriteError, match="checkpoint: cannot be written"):
        export_onnx(checkpoint, checkpoint)
    monkeypatch.setattr(exporting, "LARGEST_FILE", 1000)
    with pytest.raises(ExportError, match=r"generator\.safetensors: .* GiB of weights do not fit into one ONNX file"):
        export_onnx(checkpoint, tmp_path / "generator.onnx")
