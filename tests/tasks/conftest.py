"""Records that tests of tasks share."""

import numpy as np
import pytest
from PIL import Image

from data_pipelines.annotated_photos import prepare
from data_pipelines.preparation import LocalRun
from samjax.data.annotations.formats import Format
from samjax.data.classes.class_table import ClassTable


@pytest.fixture(scope="module")
def records_of(tmp_path_factory):
    """Return a function of a table: a folder of two photos' records, made with it."""
    folder = tmp_path_factory.mktemp("photos")
    for kind, picture in (("images", np.zeros((8, 8, 3), np.uint8)), ("maps", np.eye(8, dtype=np.uint8))):
        (folder / kind).mkdir()
        for name in "ab":
            Image.fromarray(picture).save(folder / kind / f"{name}.png")

    def make(classes: ClassTable) -> str:
        out = folder / f"records_{'_'.join(classes.names)}_{classes.classes[0].colour is None}"
        options = {"images": folder / "images", "format": Format.LABEL_MAPS, "run": LocalRun(workers=1)}
        prepare(str(folder / "maps"), out, classes=classes, **options)
        return str(out)

    return make
