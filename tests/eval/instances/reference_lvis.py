"""LVIS's own package, which was written for NumPy 1 and imports OpenCV to draw."""

import sys
import types
import warnings
from contextlib import contextmanager

import numpy as np
import pytest


@contextmanager
def lvis_package():
    """The package, while it is needed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(np, "float", float, raising=False)
        for name in ("cv2", "lvis.vis"):
            patch.setitem(sys.modules, name, types.ModuleType(name))
        sys.modules["lvis.vis"].LVISVis = None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            import lvis

            yield lvis
