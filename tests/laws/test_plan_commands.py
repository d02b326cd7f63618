"""Every `samjax plan` command in a document or an experiment's docstring is one that can be compiled for."""

import re
import shlex

import pytest
from jax.sharding import AbstractMesh
from laws.documents import DOCUMENTS, EXPERIMENTS, ROOT, text

from samjax.cli.plan import with_changes
from samjax.cli.train import override
from samjax.core.experiment import load_experiment
from samjax.parallel.mesh import AXES
from samjax.parallel.sharding import check_batch
from samjax.plan.topology import parse_topology
from samjax.training.config import TrainConfig

_COMMAND = re.compile(r"samjax plan (experiments/[^#`\n]*--topology[^#`\n]*)")
COMMANDS = sorted({found.strip() for page in (*DOCUMENTS, *EXPERIMENTS) for found in _COMMAND.findall(text(page))})


def check(words: list[str]) -> None:
    """Do what the command does before it compiles, but for the devices themselves."""
    path, *options = words
    changes, overrides, topology = [], [], None
    while options:
        match option := options.pop(0):
            case "--topology":
                topology = parse_topology(options.pop(0))
            case "--json":
                options.pop(0)
            case "--largest-batch":
                pass
            case "--compare":
                while options and not options[0].startswith("--"):
                    changes.append(options.pop(0))
            case _:
                overrides.append(option)
    assert topology is not None
    config = override(load_experiment(ROOT / path, TrainConfig), overrides, command="plan")
    for one in (config, with_changes(config, changes)):
        mesh = AbstractMesh(one.mesh.sizes(topology.chips), AXES)
        check_batch("batch_size", one.batch_size, mesh)


@pytest.mark.parametrize("command", COMMANDS)
def test_its_mesh_covers_the_chips_and_splits_the_batch(command):
    check(shlex.split(command))


def test_commands_are_found_and_one_that_does_not_fit_is_noticed():
    assert len(COMMANDS) >= 8
    assert "experiments/sam/smoke.py --topology cpu:4" in COMMANDS
    with pytest.raises(Exception, match="batch_size"):
        check(shlex.split("experiments/sam/smoke.py --topology cpu:8"))
