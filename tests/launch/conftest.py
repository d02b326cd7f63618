from pathlib import Path

import pytest
from started import write_experiment


@pytest.fixture(scope="module")
def experiment(prepared, tmp_path_factory) -> Path:
    """An experiment file of the micro model on the shipped photos."""
    return write_experiment(tmp_path_factory.mktemp("experiment") / "experiment.py", prepared)
