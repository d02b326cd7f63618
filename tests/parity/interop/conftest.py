"""A run to export."""

import json

import pytest
from drawn_weights import drawn

from samjax.checkpoint.weights import save_weights
from samjax.core.json_config import to_json


@pytest.fixture(scope="session")
def weights(micro):
    """(parameters, buffers) of the micro model."""
    return drawn(micro)


@pytest.fixture(scope="session")
def run(weights, tmp_path_factory):
    """A workdir: the checkpoint of step 6 of a run of the micro model, and its metrics."""
    from helpers.micro import micro_run

    folder = tmp_path_factory.mktemp("run")
    params, buffers = weights
    config = json.loads(to_json(micro_run("/home/somebody/photos/sa1b")))
    save_weights(folder / "checkpoints" / "6", params=params, buffers=buffers, config=config)
    rows = [
        {"step": 3, "split": "val", "miou@1": 0.25, "oracle@1": 0.5, "photos": 4, "masks": 9},
        {"step": 6, "split": "val", "miou@1": 0.375, "oracle@1": 0.625, "photos": 4, "masks": 9},
        {"step": 6, "split": "train", "loss": 1.0},
        {"step": 9, "split": "val", "miou@1": 0.75, "oracle@1": 0.875, "photos": 4, "masks": 9},
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"step": 12, "spl')
    return folder
