import functools
import json

import pytest
from flax import nnx
from helpers.micro import drawn_micro

from samjax.checkpoint.weights import save_weights
from samjax.core.json_config import to_json
from samjax.nn.init import Buffer
from samjax.predict.engine import Engine


@pytest.fixture(scope="package")
def checkpoint(micro, tmp_path_factory):
    """Weights of the micro model, in a folder."""
    _, params, buffers = nnx.split(drawn_micro(5), nnx.Param, Buffer)
    path = tmp_path_factory.mktemp("weights") / "micro"
    save_weights(
        path,
        params=nnx.to_pure_dict(params),
        buffers=nnx.to_pure_dict(buffers),
        config={"model": json.loads(to_json(micro))},
    )
    return path


@pytest.fixture(scope="module")
def compiled_once():
    """Commands of a module's tests share an engine, and so its programs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Engine, "from_checkpoint", functools.cache(Engine.from_checkpoint))
        yield
