"""`samjax compare` as it is typed."""

import json

import numpy as np
import pytest
from PIL import Image

from samjax.cli.main import main

CONFIG = {"task": "T", "optim": {"schedule": {"peak_lr": 1e-3}, "beta2": 0.98}, "steps": 300, "seed": 0}


def write_run(
    folder, *, seed: int = 0, shift: float = 0.0, config: dict | None = CONFIG, figures=("loss", "lr")
) -> str:
    """Write what a run writes: thirty rows of training, six of validation; the loss is shifted from step 150 on."""
    folder.mkdir()
    draw = np.random.default_rng(seed)
    rows = []
    for step in range(10, 310, 10):
        values = {"loss": 3 - step / 200 + 0.05 * draw.normal() + shift * (step >= 150), "lr": 1e-3, "grad_norm": 1.0}
        rows.append({"step": step, **{name: values[name] for name in figures}, "step_s": 0.5 + seed, "note": "text"})
        if step % 50 == 0:
            rows.append({"step": step, "split": "val", "miou@1": step / 1000, "loss": float("nan")})
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"step": 310, "lo')
    if config is not None:
        (folder / "config.json").write_text(json.dumps(config))
    return str(folder)


def test_runs_beside_a_reference(tmp_path, capsys):
    reference = write_run(tmp_path / "reference")
    changed = {**CONFIG, "optim": {"schedule": {"peak_lr": 2e-3}}, "extra": [1, 2]}
    other = write_run(tmp_path / "other", seed=1, shift=1.0, config=changed)
    same = write_run(tmp_path / "same")
    assert main(["compare", other, same, reference, "--out", str(tmp_path / "a.png")]) == 0
    first, second = capsys.readouterr().out.split(f"{same}, 300 steps, beside ")
    assert "optim.schedule.peak_lr: 0.002, reference 0.001" in first
    assert "optim.beta2: (no such field), reference 0.98" in first
    assert "extra: [1, 2], reference (no such field)" in first
    assert "steps" not in first.split("figures:")[0].split("config:")[1]
    (step,) = (int(line.split()[4].rstrip(":")) for line in first.splitlines() if line.startswith("they part at step"))
    assert 100 <= step <= 170
    assert "val/miou@1  equal at all 6 steps" in first
    (ending,) = (line.split() for line in first.splitlines() if line.startswith("  loss ") and "+" in line)
    assert float(ending[-1]) == pytest.approx(1.0, abs=0.1)
    assert "no difference" in second
    assert "they are equal at every step that both logged" in second
    assert "step_s" in second.split("at the end")[1]
    with Image.open(tmp_path / "a.png") as picture:
        pixels = np.asarray(picture.convert("L"))
        assert picture.width > 1000
    assert (pixels < 128).any()
    assert main(["compare", other, same, reference, "--out", str(tmp_path / "b.png")]) == 0
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_a_folder_without_a_config_is_compared_by_its_figures(tmp_path, capsys):
    reference = write_run(tmp_path / "reference", config=None)
    run = write_run(tmp_path / "run", seed=3)
    assert main(["compare", run, reference, "--out", str(tmp_path / "a.png")]) == 0
    said = capsys.readouterr().out
    assert f"{reference} has no config.json: not compared" in said
    assert "they do not part" in said


@pytest.mark.parametrize(
    ("metrics", "config", "says"),
    [
        (None, None, "has no metrics.jsonl"),
        ("", None, "holds no figure"),
        ("[1]\n", None, "is not as a run writes it"),
        ('{"loss": 3}\n', None, "is not as a run writes it"),
        ('{"step": 1, "other": 3}\n', None, "have no figure in common"),
        ('{"step": 1, "loss": 3}\n', "{", "config.json is not JSON"),
        ('{"step": 1, "loss": 3}\n', "[]", "config.json is no config"),
    ],
)
def test_what_is_no_run(metrics, config, says, tmp_path, capsys):
    reference = write_run(tmp_path / "reference")
    run = tmp_path / "run"
    run.mkdir()
    for name, content in (("metrics.jsonl", metrics), ("config.json", config)):
        if content is not None:
            (run / name).write_text(content)
    assert main(["compare", str(run), reference, "--out", str(tmp_path / "a.png")]) == 2
    assert says in capsys.readouterr().err
    assert not (tmp_path / "a.png").exists()


def test_bad_arguments(tmp_path, capsys):
    reference = write_run(tmp_path / "reference")
    assert main(["compare", str(tmp_path / "lost"), reference]) == 2
    assert "lost is no folder" in capsys.readouterr().err
    assert main(["compare", reference, reference, "--out", str(tmp_path / "a.txt")]) == 2
    assert "must end in .png" in capsys.readouterr().err
