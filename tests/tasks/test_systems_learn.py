"""Each system of dense prediction learns eight shipped photos by heart."""

from pathlib import Path

import jax
import numpy as np
import pytest
from helpers.learned_by_heart import learn
from helpers.tiny_systems import SYSTEMS

from data_pipelines.sa1b import prepare
from samjax.core.batches import counted_pixels
from samjax.data.segments.segment_data import SegmentDataConfig
from samjax.optim.build import OptimConfig
from samjax.optim.schedule import PolynomialConfig
from samjax.parallel.mesh import MeshConfig
from samjax.scores.confusion import SemanticScores, confusion
from samjax.tasks.semantic import SemanticTraining
from samjax.training.config import ValidationConfig

PHOTOS = Path(__file__).parents[2] / "experiments" / "sam" / "photos" / "train"
STEPS, KNOWN_PHOTOS = 400, 8
MORE_STEPS = {"segmenter-mask": 800}
RATES = dict.fromkeys(
    ("segformer", "pvt-fpn", "pvt-v2-li-fpn", "hrformer-ocr", "setr-naive", "setr-pup", "segmenter-mask"), 3e-3
)
"""Of systems that learn with more than 1e-3."""

pytestmark = [pytest.mark.slow, pytest.mark.long]


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    out = tmp_path_factory.mktemp("photos") / "records"
    prepare(str(PHOTOS), out, split="train")
    return str(out)


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_system_learns_eight_photos_by_heart(name, records):
    """mIoU of at least 0.90 on the photos that it has seen hundreds of times, with batch norms' running statistics."""
    steps = MORE_STEPS.get(name, STEPS)
    config = SemanticTraining(
        model=SYSTEMS[name],
        data=SegmentDataConfig(source=records, of_masks=True),
        optim=OptimConfig(
            schedule=PolynomialConfig(peak_lr=RATES.get(name, 1e-3), warmup_steps=20),
            weight_decay=0.0,
            layer_decay=1.0,
        ),
        validation=ValidationConfig(source=records, split="train", photos=KNOWN_PHOTOS, batch_size=KNOWN_PHOTOS),
        mesh=MeshConfig(data=1),
        steps=steps,
        batch_size=KNOWN_PHOTOS,
    )
    mesh, blueprint, state, batch = learn(config)
    with jax.set_mesh(mesh):
        logits = jax.jit(lambda params, buffers: blueprint.model(params, buffers).logits(batch.image, batch.valid_size))
        predicted = np.asarray(logits(state.params, state.buffers).argmax(-1))
    truth = np.where(np.asarray(counted_pixels(batch)), np.asarray(batch.labels), -1)
    matrix = confusion(truth, predicted, classes=SYSTEMS[name].classes)
    miou = SemanticScores(matrix=matrix).miou
    print(f"{name}: mIoU {miou:.3f} after {steps} steps")
    assert miou >= 0.90
