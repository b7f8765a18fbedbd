"""The import of torchvision."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_the_shim_leaves_a_working_torchvision_alone_and_comes_before_lightning():
    code = (
        "from occnet_lib.networks.torchvision_shim import torchvision, import_torchvision\n"
        "from occnet_lib.training import lightning_imports\n"
        "import sys, torchmetrics\n"
        "assert 'scipy.signal' not in sys.modules\n"
        "assert import_torchvision() is torchvision\n"
        "assert torchvision.models.resnet18(weights=None) is not None\n"
    )
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root)
    assert done.returncode == 0, done.stderr
