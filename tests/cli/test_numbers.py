"""Numbers of the command line that are no fields of a config have a range too."""

import re
from pathlib import Path

import pytest

from samjax.cli.main import main

CLI = Path(__file__).parent.parent.parent / "samjax" / "cli"


def test_every_number_of_the_command_line_has_a_range():
    """`choices` is one as well."""
    for path in sorted(CLI.glob("*.py")):
        for line in path.read_text().splitlines():
            if re.search(r"type=(int|float)\b", line):
                assert "choices=" in line, f"{path.name}: {line.strip()}: give whole_number(...) as the type"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("train x.py --processes 0", "--processes is 0; it must be at least 1"),
        ("train x.py --process -1", "--process is -1; it must be at least 0"),
        ("train x.py --stopped-code 300", "--stopped-code is 300; it must be between 0 and 255"),
        ("train x.py --stopped-code no", "--stopped-code is 'no'; it must be a whole number, between 0 and 255"),
        ("data verify d --sample -1", "--sample is -1; it must be at least 0"),
        ("data verify d --workers 0", "--workers is 0; it must be at least 1"),
        ("data prepare --source x --out y --workers 0", "--workers is 0; it must be at least 1"),
        ("data inspect --photos 1.5", "--photos is '1.5'; it must be a whole number, at least 1"),
        (
            "import w --out o --image-size 64 -64",
            "--image-size is -64; it must be at least 1: it is",
        ),
        ("import w --out o --decoder-heads 0", "--decoder-heads is 0; it must be at least 1"),
        ("generate --checkpoint c --images i --out o --batch-size 0", "--batch-size is 0; it must be at least 1"),
    ],
)
def test_a_number_out_of_range_is_one_sentence(capsys, words, sentence):
    assert main(words.split()) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"samjax: {sentence}")
    assert said.count("\n") == 1
