"""The wheel holds the whole package: an experiment of one's own trains with it, away from the repository."""

import importlib.metadata
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("samjax", "data_pipelines", "experiments")

MINE = '''"""An experiment of one's own: the smallest model, on photos that samjax draws itself."""

from samjax.data.masks.mask_data import MaskDataConfig
from samjax.models.sam.image_encoder import ImageEncoderConfig
from samjax.models.sam.mask_decoder import MaskDecoderConfig
from samjax.models.sam.sam import SamConfig
from samjax.prompting.interactive import InteractionConfig
from samjax.tasks.promptable import PromptableTraining


def config() -> PromptableTraining:
    return PromptableTraining(
        model=SamConfig.tiny(
            image_size=(64, 64),
            embedding=32,
            image_encoder=ImageEncoderConfig(width=24, depth=2, heads=2, window=2, global_every=2),
            mask_decoder=MaskDecoderConfig(hidden=32, heads=2, dropout=0.0),
        ),
        data=MaskDataConfig(source="synthetic:photos=8,size=96x128,masks=6", max_masks=4),
        prompting=InteractionConfig(corrections=1),
        steps=100,
        batch_size=2,
        log_every=1,
    )
'''


def build_options() -> list[str]:
    """Return pip's option to build with the setuptools at hand; without one that is new enough, pip fetches one."""
    try:
        major = int(importlib.metadata.version("setuptools").split(".")[0])
    except importlib.metadata.PackageNotFoundError:
        return []
    return ["--no-build-isolation"] if major >= 77 else []


def environment() -> dict[str, str]:
    """Return this process's variables, without those that lead Python back to the repository."""
    return {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}


def run(*command: str | Path, cwd: Path, **more: str) -> str:
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, env={**environment(), **more}, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """A wheel of a copy of the tree: setuptools leaves its build folders where it builds."""
    copy, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in PACKAGES:
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    run(sys.executable, "-m", "pip", "wheel", "--no-deps", *build_options(), "-w", out, copy, cwd=out)
    (path,) = out.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """A fresh virtual environment with the wheel, which sees the requirements of the running one and not its samjax."""
    folder = tmp_path_factory.mktemp("venv")
    run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder)
    python = folder / "bin" / "python"
    run(sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", wheel, cwd=folder)
    (site,) = folder.glob("lib/python*/site-packages")
    requirements = sorted({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")})
    # A path in a .pth file is searched last, and .pth files in it are not read: an editable samjax stays unseen.
    (site / "requirements.pth").write_text("\n".join(requirements) + "\n")
    return folder / "bin"


@pytest.mark.slow
def test_wheel_holds_every_module_and_the_demo_photos(wheel):
    expected = {
        path.relative_to(ROOT).as_posix()
        for name in PACKAGES
        for path in (ROOT / name).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    found = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert found == expected


@pytest.mark.slow
def test_an_experiment_of_ones_own_trains_away_from_the_repository(installed, tmp_path):
    (tmp_path / "mine.py").write_text(MINE)
    cache = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    place = run(installed / "python", "-c", "import samjax; print(samjax.__file__)", cwd=tmp_path)
    assert Path(place.strip()).is_relative_to(installed.parent)
    run(installed / "samjax", "train", "mine.py", "--steps", "1", cwd=tmp_path, **cache)
    assert (tmp_path / "runs" / "mine" / "checkpoints" / "1").is_dir()
    assert len((tmp_path / "runs" / "mine" / "metrics.jsonl").read_text().splitlines()) == 1


@pytest.mark.slow
def test_shipped_experiments_are_found_away_from_the_repository(installed, tmp_path):
    assert "--optim.schedule.peak-lr" in run(
        installed / "samjax", "train", "experiments/sam/vit_b.py", "--help", cwd=tmp_path
    )
