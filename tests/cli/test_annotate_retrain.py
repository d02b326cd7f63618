"""`samjax annotate`: its figures, and a round of training on what it left."""

import json

import pytest
from helpers.micro import micro_experiment
from helpers.unpacked_tars import unpack

from samjax.cli.main import main


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
    return micro_experiment(tmp_path_factory.mktemp("experiment") / "mine.py", "")


@pytest.fixture(scope="module")
def masks(prepared, tmp_path_factory):
    """A folder as generate and annotate write it: the pairs of the shipped tars."""
    from laws.documents import ROOT

    folder = tmp_path_factory.mktemp("masks")
    for tar in sorted((ROOT / "experiments/sam/photos/val").glob("*.tar")):
        unpack(tar, folder)
    return folder


def words(masks, experiment, checkpoint, workdir, *options):
    given = ["--experiment", experiment, "--checkpoint", checkpoint, "--workdir", workdir, "--holdout", 0.1]
    return ["annotate", "retrain", *map(str, (masks, *given, "--clicks", 1, 2, *options))]


@pytest.mark.slow
def test_a_round_from_the_folder_to_the_next_servers_line(masks, experiment, checkpoint, tmp_path, capsys):
    run = words(masks, experiment, checkpoint, tmp_path / "round", "--steps", 2, "--checkpoint.every", 1)
    assert main(run) == 0
    said = capsys.readouterr().out
    frozen = json.loads((tmp_path / "round/frozen/frozen.json").read_text())
    assert f"{len(frozen['photos']['train'])} photos to train on, {len(frozen['photos']['val'])} held out" in said
    config = json.loads((tmp_path / "round/run/config.json").read_text())
    assert config["init_from"] == str(checkpoint)
    assert config["data"]["scale_jitter"] == [0.1, 2.0]
    for name in ("before", "after"):
        results = json.loads((tmp_path / "round" / name / "results.json").read_text())
        assert results["rows"][0]["photos"] == len(frozen["photos"]["val"])
        assert f"  {name}" in said
        assert f"@1 {results['rows'][0]['metrics']['miou@1']:.3f}" in said
    assert f"samjax annotate --checkpoint {tmp_path / 'round/run'}" in said.splitlines()[-1]
    assert main(run) == 0, "done already: nothing is trained or counted again"
    assert "$ samjax evaluate" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--mix", "more", "often"), "'often' is no weight"),
        (("--mix", "more", "0"), "weight"),
        (("--nonsense", "1"), "--nonsense"),
        (("--holdout", "1"), "--holdout"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_frozen(
    masks, experiment, checkpoint, tmp_path, capsys, options, sentence
):
    try:
        code = main(words(masks, experiment, checkpoint, tmp_path / "round", *options))
    except SystemExit as stop:
        code = stop.code
    assert code == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "round" / "frozen").exists()


@pytest.mark.parametrize("missing", ["--checkpoint", "--images", "--out"])
def test_the_page_needs_three_things(missing, tmp_path, capsys):
    given = {"--checkpoint": "c", "--images": "p/*.jpg", "--out": str(tmp_path)}
    options = [word for name, value in given.items() if name != missing for word in (name, value)]
    assert main(["annotate", *options]) == 2
    assert f"samjax annotate needs {missing}, or a verb" in capsys.readouterr().err


def test_other_machines_need_a_token(tmp_path, capsys):
    given = ["--checkpoint", "c", "--images", "p/*.jpg", "--out", str(tmp_path), "--host", "0.0.0.0"]
    assert main(["annotate", *given]) == 2
    assert "--host 0.0.0.0 lets other machines in: give --token" in capsys.readouterr().err


def test_stats_of_no_annotation_folder_are_refused(tmp_path, capsys):
    assert main(["annotate", "stats", str(tmp_path)]) == 2
    assert str(tmp_path) in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "value", "sentence"),
    [("--checkpoint", "nowhere", "nowhere: no such folder"), ("--cache-gb", "1e-7", "embeddings.gigabytes is 1e-07")],
)
def test_what_cannot_be_served_leaves_no_folder(masks, checkpoint, tmp_path, capsys, option, value, sentence):
    photo = sorted(masks.glob("*.jpg"))[0]
    given = {"--checkpoint": str(checkpoint), "--images": str(photo), "--out": str(tmp_path / "out"), "--port": "0"}
    given |= {"--cache": str(tmp_path / "cache"), option: value}
    assert main(["annotate", *(word for pair in given.items() for word in pair)]) == 2
    assert capsys.readouterr().err.startswith(f"samjax: {sentence}")
    assert not (tmp_path / "out").exists()
