"""Remarks on training dynamics: who is ahead, what the discriminator has memorized, how much the images vary."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from tests.support.dynamics import few_digits, trained


def test_a_discriminator_of_few_images_memorizes_them_and_is_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """80 digits, shown 400 times each; of twenty times as many the same discriminator knows none."""
    chosen = (
        "model.mlp.hidden=[256]",
        "train.objective=nonsaturating",
        "train.lr_discriminator=0.0005",
        "train.regularizers.r1=0.05",
    )
    length = ("train.regularizers.r2=0.0", "train.images=32000", "train.log_every=3200")
    with caplog.at_level(logging.WARNING, "atelier.training"):
        many = trained(few_digits(tmp_path / "many", 0.1), tmp_path / "of many", *chosen, *length)
        assert "memorized" not in caplog.text
        few = trained(few_digits(tmp_path / "few", 0.95), tmp_path / "of few", *chosen, *length)
    assert few[-1]["auc_train_heldout"] > 0.8 > 0.65 > many[-1]["auc_train_heldout"] > 0.4
    assert caplog.text.count("has memorized the training images") == 1
