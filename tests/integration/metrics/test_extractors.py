"""What every extractor promises, on EfficientNet-Lite0: one feature for an image whatever comes with it, and clear refusals."""

from __future__ import annotations

import subprocess
import sys


def test_only_the_network_that_is_asked_for_is_imported() -> None:
    code = (
        "import sys; from atelier.extractors import load_extractor; before = set(sys.modules);"
        "load_extractor('efficientnet_lite0', 'packaged', (28, 28));"
        "print({'timm', 'torchvision', 'onnxruntime'} & before, {'onnxruntime'} & set(sys.modules))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert found.stdout == "set() set()\n"
