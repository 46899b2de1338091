"""The switch to deterministic kernels."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src"
CODE = """
import sys
from medtransfer.training.determinism import make_deterministic, prepare_deterministic
prepare_deterministic()
assert "torch" not in sys.modules
make_deterministic()
import os, torch
print(os.environ["CUBLAS_WORKSPACE_CONFIG"], torch.are_deterministic_algorithms_enabled(),
      torch.is_deterministic_algorithms_warn_only_enabled(),
      torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark)
"""


@pytest.mark.parametrize(("given", "used"), [(None, ":4096:8"), (":16:8", ":16:8")])
def test_all_that_torch_asks_for_is_set_before_it_is_imported(given, used):
    environment = {k: v for k, v in os.environ.items() if k != "CUBLAS_WORKSPACE_CONFIG"}
    environment["PYTHONPATH"] = str(SOURCE)
    if given is not None:
        environment["CUBLAS_WORKSPACE_CONFIG"] = given
    result = subprocess.run(
        [sys.executable, "-c", CODE], capture_output=True, text=True, env=environment, check=True
    )
    assert result.stdout.split() == [used, "True", "False", "True", "False"]
