"""Every test runs with shapes and dtypes checked, and on eight virtual CPU devices."""

import gc
import importlib.util
import os
import tarfile
import tomllib
from pathlib import Path

from helpers.xla_flags import quick

os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {quick()}"  # before JAX starts

import jax
import pytest
from jaxtyping import install_import_hook
from packaging.requirements import Requirement

jax.config.update("jax_num_cpu_devices", 8)
install_import_hook("samjax", "beartype.beartype")

from helpers.kept_programs import settings  # noqa: E402  imports samjax

for name, value in settings().items():
    jax.config.update(name, value)

if importlib.util.find_spec("hypothesis"):  # not in the environments of Beam and of plans for TPUs
    import hypothesis

    hypothesis.settings.register_profile("samjax", deadline=None)  # how long an example takes is no law
    hypothesis.settings.load_profile("samjax")

# tests/parity needs the extra `parity`; every other test runs without it.
_project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())["project"]
_parity = [Requirement(text).name for text in _project["optional-dependencies"]["parity"]]
_missing = [name for name in _parity if importlib.util.find_spec(name) is None]
collect_ignore = ["parity"] if _missing else []


def pytest_addoption(parser):
    parser.addoption("--rewrite-plans", action="store_true", help="write tests/golden/plans instead of comparing")


def pytest_collection_finish():
    """Look for unreachable objects less often, and not among what imports made: a tenth of the time of tracing."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


def pytest_collection_modifyitems(items):
    """Begin with the last folders, tests/training among them: the longest files, one of which would else be a worker's
    last while the other stands idle. Within a file the order stays."""
    place = {path: index for index, path in enumerate(dict.fromkeys(item.path for item in items))}
    items.sort(key=lambda item: -place[item.path])


def pytest_sessionstart(session):
    """Say so where pytest starts: -q leaves the report's header out."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if _missing and reporter is not None:  # a worker has none
        reporter.write_line(f"parity with PyTorch is not run: it needs {', '.join(_missing)}: pip install -e '.[test]'")


PHOTOS = Path(__file__).parent.parent / "experiments" / "sam" / "photos"


@pytest.fixture(scope="session")
def photos():
    """Folder of the photos shipped with the demo."""
    return PHOTOS


@pytest.fixture(scope="session")
def jpegs(photos):
    """Fifty of the shipped photos' bytes."""
    found = []
    for path in sorted(photos.rglob("*.tar")):
        with tarfile.open(path) as tar:
            found += [tar.extractfile(member).read() for member in tar if member.name.endswith(".jpg")]
    assert len(found) >= 50
    return found[:50]


@pytest.fixture(scope="session")
def prepared(tmp_path_factory):
    """Folder with the shipped photos as ArrayRecord, train/ and val/."""
    from data_pipelines.sa1b import prepare

    out = tmp_path_factory.mktemp("prepared")
    for split in ("train", "val"):
        prepare(str(PHOTOS / split), out / split, split=split)
    return out


@pytest.fixture(scope="module")
def leftovers_collected():
    """Where a read of Orbax's fails, those it began beside it say so when they are collected: here, not in a test that
    has nothing to do with it."""
    yield
    gc.collect()


@pytest.fixture(scope="session")
def micro():
    """The smallest model with every part."""
    from helpers.micro import micro_model

    return micro_model()


@pytest.fixture(scope="session")
def micro_run(prepared):
    """A run of the micro model on the shipped photos, seconds long."""
    from helpers.micro import micro_run

    return micro_run(str(prepared / "train"))
