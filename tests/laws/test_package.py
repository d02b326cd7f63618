"""What the documents promise: their commands run, their numbers are the code's, their versions fit together."""

import re
import shlex
import subprocess
import sys
import tomllib

import jax
import pytest
from documents import DOCUMENTS, EXPERIMENTS, ROOT, text
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from samjax.api import training_run
from samjax.cli import compare, evaluate, export, generate, import_weights, plan, predict, train
from samjax.cli.main import main
from samjax.core import distributed
from samjax.core.experiment import load_experiment
from samjax.data.annotations.formats import FormatOptions
from samjax.eval.protocols.proposals.protocol import paper_generator
from samjax.nn.structure import abstract_model
from samjax.plan.topology import parse_topology
from samjax.predict.automatic.generator_config import GeneratorConfig
from samjax.training.config import TrainConfig


def documented_commands() -> list[str]:
    """Return every `samjax train FILE ...` in documents and experiments' docstrings, and what launchers pass on."""
    commands = []
    for document in (*DOCUMENTS, *EXPERIMENTS):
        found = re.findall(r"(?:samjax train| --) (experiments/\S+\.py\b(?:'[^'\n]*'|[^'`#\n])*)", text(document))
        commands += [command.strip() for command in found]
    return sorted(set(commands))


def test_enough_commands_are_documented():
    assert {command.split()[0] for command in documented_commands()} == set(EXPERIMENTS)
    assert any("--multihost" in command for command in documented_commands())


@pytest.mark.parametrize("command", documented_commands())
def test_documented_overrides_exist(command, monkeypatch, capsys):
    """The command line takes every documented command, up to the point where it would train."""
    taken = []
    monkeypatch.chdir(ROOT)

    def take(config, *, workdir, **_):
        taken.append(config)
        return training_run.TrainingRun(workdir=workdir, step=config.steps, is_over=True)

    monkeypatch.setattr(training_run, "train", take)
    monkeypatch.setattr(training_run, "rehearse", lambda config, **_: str(taken.append(config)))
    monkeypatch.setattr(distributed, "join", lambda **_: None)
    arguments = ["train", *shlex.split(command)]
    if "--help" in arguments:
        with pytest.raises(SystemExit) as end:
            main(arguments)
        assert end.value.code == 0
        assert "--optim.schedule.peak-lr" in capsys.readouterr().out
        return
    assert main(arguments) == 0
    assert isinstance(taken[0], TrainConfig)


def documented_plans() -> list[str]:
    """Return every `samjax plan FILE ...` in the documents."""
    found = []
    for document in DOCUMENTS:
        found += re.findall(r"samjax plan (experiments/\S+\.py\b[^'`#\n]*)", text(document))
    return sorted({command.strip() for command in found})


@pytest.mark.parametrize("command", documented_plans())
def test_documented_plans_are_taken(command, monkeypatch):
    taken = []
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(plan, "run", lambda config, *, topology, **_: taken.append(parse_topology(topology)) or 0)
    assert main(["plan", *shlex.split(command)]) == 0
    assert taken


def test_tables_of_experiments_are_the_configs():
    rows = re.findall(r"^\| `(\S+\.py)` \| ([\d,]+) \| ([\d,]+) \| ([\d,]+) \|", text("docs/training.md"), re.M)
    assert sorted(row[0] for row in rows) == EXPERIMENTS
    for path, parameters, photos, steps in rows:
        config = load_experiment(ROOT / path, TrainConfig)
        count = sum(leaf.size for leaf in jax.tree.leaves(abstract_model(config.model.make)[1]))
        assert (f"{count:,}", f"{config.batch_size:,}", f"{config.steps:,}") == (parameters, photos, steps), path


def test_one_liner_prints_the_parameters_of_vit_h():
    [line] = re.findall(r"^python (-c '.*')$", text("docs/training.md"), re.M)
    said = subprocess.run([sys.executable, *shlex.split(line)], capture_output=True, text=True, cwd=ROOT, check=True)
    assert said.stdout == "641,090,608\n"


OTHERS = {"predict": predict, "generate": generate, "compare": compare, "export": export, "import": import_weights}


def documented_others() -> list[str]:
    """Return every command of OTHERS in the documents and experiments' docstrings."""
    found = []
    for document in (*DOCUMENTS, *EXPERIMENTS):
        found += re.findall(rf"^ *samjax ((?:{'|'.join(OTHERS)}) [^`#\n]*)", text(document), re.M)
    return sorted({command.strip() for command in found})


def test_enough_of_the_other_commands_are_documented():
    assert {command.split()[0] for command in documented_others()} == set(OTHERS)


@pytest.mark.parametrize("command", documented_others())
def test_documented_commands_are_taken(command, monkeypatch):
    """With every option they have; of `generate` the settings too."""
    taken = []
    name, *_ = arguments = shlex.split(command)
    monkeypatch.setattr(OTHERS[name], "_run", lambda known, rest: taken.append(rest) or 0)
    assert main(arguments) == 0
    (rest,) = taken
    if name == "generate":
        train.override(GeneratorConfig(), rest, command="generate")
    else:
        assert not rest


def documented_evaluations() -> list[str]:
    """Return every `samjax evaluate PROTOCOL ...` in the documents and experiments' docstrings."""
    found = []
    for document in (*DOCUMENTS, *EXPERIMENTS):
        found += re.findall(r"^ *samjax evaluate (\S[^`#\n]*)", text(document), re.M)
    return sorted({command.strip() for command in found})


def test_every_protocol_is_documented():
    assert {command.split()[0] for command in documented_evaluations()} == set(evaluate.PROTOCOLS)


@pytest.mark.parametrize("command", documented_evaluations())
def test_documented_evaluations_are_taken(command, monkeypatch):
    taken = []
    name, *_ = arguments = shlex.split(command)
    monkeypatch.setattr(evaluate.PROTOCOLS[name], "_run", lambda known, rest: taken.append(rest) or 0)
    assert main(["evaluate", *arguments]) == 0
    (rest,) = taken
    if name == "proposals":
        train.override(paper_generator(), rest, command="evaluate proposals")
    elif name == "point-to-mask":
        train.override(FormatOptions(), rest, command="evaluate point-to-mask")
    else:
        assert not rest


def test_every_folder_of_modules_is_installed():
    """setuptools takes folders with `__init__.py`: a console script does not see the others."""
    folders = {
        path.parent for name in ("samjax", "data_pipelines", "experiments") for path in (ROOT / name).rglob("*.py")
    }
    assert not [folder for folder in folders if not (folder / "__init__.py").exists()]
    find = pyproject()["tool"]["setuptools"]["packages"]["find"]
    assert find["include"] == ["samjax*", "data_pipelines*", "experiments*"]


def pyproject() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_plots_need_no_extra():
    """Every evaluation ends in a plot: it must not fail there after hours of work."""
    project = pyproject()["project"]
    assert "matplotlib" in {Requirement(text).name for text in project["dependencies"]}
    named = {
        extra
        for path in (ROOT / "samjax").rglob("*.py")
        for extra in re.findall(r"""extra=["']([a-z]+)["']""", path.read_text())
    }
    assert named <= set(project["optional-dependencies"]), "a message tells to install an extra that is not there"


def test_constraints_fit_the_requirements():
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.]+", line) for line in lines), "names and versions alone"
    versions = {canonicalize_name(line.split("==")[0]): line.split("==")[1] for line in lines}
    project = pyproject()["project"]
    extras = project["optional-dependencies"]
    requirements = [Requirement(wanted) for wanted in project["dependencies"]]
    tested = ["test", "browser", "dev"]
    for extra in tested:  # grows: an extra may name others
        for requirement in map(Requirement, extras[extra]):
            if requirement.name == project["name"]:
                tested.extend(requirement.extras - set(tested))
            else:
                requirements.append(requirement)
    for requirement in requirements:
        version = versions.get(canonicalize_name(requirement.name))
        assert version is not None, f"constraints.txt has no version of {requirement}"
        assert requirement.specifier.contains(version), (
            f"constraints.txt has {version}, pyproject.toml wants {requirement}"
        )
