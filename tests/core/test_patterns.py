"""What exists is taken as it is; else it is a pattern."""

from pathlib import Path

import pytest

from samjax.core.patterns import expand_pattern

FILES = ("photo[1].png", "photo1.png", "run [a]/b.jpg", "run [a]/deep/c.jpg", "run a/d.jpg", "[x].jpg")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for name in FILES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("photo[1].png", ["photo[1].png"]),
        ("photo[12].png", ["photo1.png"]),
        ("./photo*.png", ["photo1.png", "photo[1].png"]),
        ("run [a]/*.jpg", ["run [a]/b.jpg"]),
        ("run [a]/**/*.jpg", ["run [a]/b.jpg", "run [a]/deep/c.jpg"]),
        ("run [ab]/*.jpg", ["run a/d.jpg"]),
        ("run*/*.jpg", ["run [a]/b.jpg", "run a/d.jpg"]),
        ("run [a]", ["run [a]"]),
        ("[x].jpg", ["[x].jpg"]),
        ("nothing/*.jpg", []),
    ],
)
@pytest.mark.parametrize("absolute", [False, True])
def test_names_before_patterns(pattern, found, absolute, folder):
    given = str(folder / pattern) if absolute else pattern
    assert expand_pattern(given) == [folder / name if absolute else Path(name) for name in found]


def test_the_home_folder_is_found(folder, monkeypatch):
    monkeypatch.setenv("HOME", str(folder))
    assert expand_pattern("~/run [[]a[]]/*.jpg") == [folder / "run [a]" / "b.jpg"]
