"""A study of few jobs whose trainings last long enough to be disturbed."""

from __future__ import annotations

import atexit
import copy
import shutil
import tempfile
from functools import cache
from pathlib import Path

import yaml
from conftest import MINI, Workspace
from faulty_places import finished

RUN = "tiny/chest/cbr/random/full/holdout/seed0"


def settings(steps: int = 400) -> dict:
    small = copy.deepcopy(MINI)
    grid = small["studies"]["mini"]["grids"][0]
    small["studies"]["mini"]["figures"] = ["gains"]
    grid |= {"inits": ["random", "shapes"], "seeds": [0]}
    small["recipes"]["tiny"] |= {"steps": steps, "validations": 20, "dropout": 0.3}
    small["recipes"]["source"] = MINI["recipes"]["tiny"]
    small["sources"]["shapes"]["pretraining"]["recipe"] = "source"
    return small | {"hardware": {"save_seconds": 0}}


@cache
def finished_study() -> Workspace:
    """The study, which nobody disturbed; made once and never to be changed."""
    folder = Path(tempfile.mkdtemp(prefix="undisturbed-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    workspace = Workspace(folder)
    workspace.study.write_text(yaml.safe_dump(settings(), sort_keys=False))
    status, said = finished(workspace)
    assert status == 0, said
    return workspace
