"""`samjax plan` on the command line, up to the point where it would compile."""

import dataclasses

import jax
import pytest

from samjax.cli import plan
from samjax.cli.main import main

SMOKE = "experiments/sam/smoke.py"


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch, photos):
    jax.devices()  # JAX has started with eight CPU devices, whichever test comes first
    monkeypatch.chdir(photos.parents[2])


def refused(capsys, *arguments: str) -> str:
    assert main(["plan", *arguments]) == 2
    said = capsys.readouterr().err
    assert said.splitlines()[-1].startswith("samjax: ")
    assert "Traceback" not in said
    return said


def test_it_asks_for_the_topology(capsys):
    assert "--topology" in refused(capsys, SMOKE)


@pytest.mark.parametrize(
    ("topology", "said"), [("v9:2x2", "v5e:16x16"), ("v5e:16", "two numbers"), ("cpu:1000", "8 CPU devices")]
)
def test_a_topology_that_is_none_is_answered_with_those_that_are(capsys, topology, said):
    assert said in refused(capsys, SMOKE, "--topology", topology)


def test_a_batch_that_does_not_divide_is_refused(capsys):
    assert "batch_size is 6" in refused(capsys, SMOKE, "--topology", "cpu:8", "--batch-size", "6")


def test_a_mesh_that_does_not_cover_the_chips_is_refused(capsys):
    said = refused(capsys, SMOKE, "--topology", "cpu:8", "--mesh.data", "3", "--mesh.fsdp", "1")
    assert "does not cover 8 devices" in said


def test_there_is_no_largest_batch_on_cpus(capsys):
    assert "known memory" in refused(capsys, SMOKE, "--topology", "cpu:8", "--largest-batch")


def test_a_folder_that_is_not_there_is_refused_before_anything_is_compiled(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr("samjax.plan.step_plan.make_plan", lambda *_: pytest.fail("it was compiled"))
    said = refused(capsys, SMOKE, "--topology", "cpu:8", "--json", str(tmp_path / "missing" / "plan.json"))
    assert str(tmp_path / "missing") in said


def test_a_field_that_is_none_is_answered_with_the_nearest(capsys):
    assert "batch-size" in refused(capsys, SMOKE, "--topology", "cpu:8", "--batch-sise", "8")


def test_overrides_reach_the_plan(monkeypatch):
    taken = {}
    monkeypatch.setattr(plan, "run", lambda config, **others: taken.update(config=config, **others) or 0)
    arguments = ["plan", SMOKE, "--topology", "v5e:2x2", "--data.max-masks", "2", "--json", "plan.json"]
    assert main(arguments) == 0
    assert taken["config"].data.max_masks == 2
    assert (taken["name"], taken["topology"], taken["json"]) == ("smoke", "v5e:2x2", "plan.json")
    assert taken["with_largest_batch"] is False
    assert taken["changes"] == []


def test_what_to_compare_with_reaches_the_plan(monkeypatch):
    """Values follow until the next option; flags and tuples are written as values too."""
    taken = {}
    monkeypatch.setattr(plan, "run", lambda config, **others: taken.update(config=config, **others) or 0)
    changes = ["model.image-encoder.remat=DOTS", "batch-size=4", "optim.layer-decay=0.5"]
    assert main(["plan", SMOKE, "--compare", *changes, "--topology", "cpu:1", "--data.max-masks", "2"]) == 0
    assert taken["changes"] == changes
    config = plan.with_changes(taken["config"], [*changes, "model.image-size=64 128"])
    assert config.model.image_encoder.remat.name == "DOTS"
    assert (config.batch_size, config.optim.layer_decay) == (4, 0.5)
    assert config.model.image_size == (64, 128)
    assert config.data.max_masks == 2, "what both have in common stays"


@pytest.mark.parametrize("value", [True, False])
def test_truth_values_are_compared_by_name(value):
    @dataclasses.dataclass(frozen=True)
    class Inner:
        flag: bool = not value

    @dataclasses.dataclass(frozen=True)
    class Outer:
        inner: Inner = Inner()

    assert plan.with_changes(Outer(), [f"inner.flag={value}"]).inner.flag is value


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("batch-size", "give FIELD=VALUE"),
        ("=4", "give FIELD=VALUE"),
        ("batch-size=", "give FIELD=VALUE"),
        ("batch-sise=4", "batch-size"),
        ("batch-size=many", "many"),
        ("model.image-encoder.remat=SOME", "SOME"),
        ("batch-size=6", "batch_size is 6"),
    ],
)
def test_what_cannot_be_compared_is_refused_before_anything_is_compiled(capsys, monkeypatch, change, said):
    monkeypatch.setattr("samjax.plan.step_plan.make_plan", lambda *_: pytest.fail("it was compiled"))
    assert said in refused(capsys, SMOKE, "--topology", "cpu:4", "--compare", change)


def test_a_field_is_changed_once(capsys):
    said = refused(capsys, SMOKE, "--topology", "cpu:8", "--compare", "steps=3", "steps=4")
    assert "--steps is given twice" in said


def test_it_explains_itself(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["plan", "--help"])
    assert stop.value.code == 0
    said = capsys.readouterr().out
    assert "predicted" in said
    assert "--largest-batch" in said
    assert "--compare" in said
    with pytest.raises(SystemExit) as stop:
        main(["plan", SMOKE, "--help"])
    assert stop.value.code == 0
    assert "--data.max-masks" in capsys.readouterr().out
