"""Names are nouns and verbs that one can search for, and no file has the name of another that means something else."""

import ast
import collections
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

SHARED_FILE_NAMES = {
    "__init__",
    "mae", "sam",  # a family: its model, and its table of weights
    "photos",  # photos without masks: their records, and the pipeline that writes them
    "protocol",  # of each protocol of an evaluation, in the protocol's folder: how photos are evaluated
    "report",  # of each protocol too: what is written about them
}  # fmt: skip
"""Several files have these names, and mean the same by them."""

IRREGULAR = frozenset({
    "asked", "been", "begun", "bought", "broken", "brought", "built", "caught", "chosen", "come", "cut", "done",
    "drawn", "driven", "eaten", "fallen", "forgotten", "found", "frozen", "given", "gone", "got", "grown", "heard",
    "held", "here", "hidden", "kept", "known", "laid", "left", "lost", "made", "meant", "met", "paid", "put", "read",
    "ridden", "risen", "said", "seen", "sent", "shown", "sold", "spent", "spoken", "stolen", "taken", "there",
    "thought", "thrown", "told", "torn", "understood", "worn", "written",
})  # fmt: skip
"""Participles that do not end in -ed, and the two adverbs that stood for what is somewhere."""

WORDS = frozenset({
    "bed", "embed", "feed", "need", "red", "seed", "speed",  # no participles
    "distributed", "federated", "hidden", "replicated",  # the field's terms: jax.distributed, LVIS, an MLP, a mesh
})  # fmt: skip

ALONE = frozenset({"cut", "left", "put", "read"})
"""Verbs, and the side of a box, where they are all of a name, as in `read(path)`; `photos_read` says what was done."""

WRITTEN_NAMES = frozenset({
    # Keys of JSON that samjax has written, or flags: a name in the file is the name in the code.
    "dropped", "left_out", "matched", "mixed_in", "predicted", "compiled_for", "needed",
})  # fmt: skip

ENDINGS = frozenset({"ahead", "at", "back", "by", "for", "from", "here", "in", "of", "off", "on", "out", "to", "up"})
"""A participle before one of these still is what the name says: `left_out`, `compiled_for`."""


def words(name: str) -> list[str]:
    return [word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)]


def is_participle(name: str) -> bool:
    """Return whether a name says what was done to a thing, and not what the thing is.

    What counts is its last word. A participle before a noun, as in `predicted_iou`, is an adjective; `is_done` asks.
    """
    parts = words(name)
    if not parts or parts[0] in ("is", "has"):
        return False
    if len(parts) == 1 and parts[0] in ALONE:
        return False
    while len(parts) > 1 and parts[-1] in ENDINGS:
        parts = parts[:-1]
    if parts[-1] in WORDS:
        return False
    return parts[-1] in IRREGULAR or parts[-1].endswith("ed")


def files() -> list[Path]:
    return sorted(path for name in ("samjax", "data_pipelines") for path in (ROOT / name).rglob("*.py"))


def public_names(source: str) -> Iterator[tuple[int, str]]:
    """Yield the line and the name of public classes and functions, and of their public methods and fields.

    Members of enumerations are in capitals, and mean what the field calls a choice: they are not looked at.
    """
    for node in ast.parse(source).body:
        if not isinstance(node, ast.FunctionDef | ast.ClassDef) or node.name.startswith("_"):
            continue
        yield node.lineno, node.name
        for member in node.body if isinstance(node, ast.ClassDef) else ():
            if isinstance(member, ast.FunctionDef):
                name = member.name
            elif isinstance(member, ast.AnnAssign) and isinstance(member.target, ast.Name):
                name = member.target.id
            else:
                continue
            if not name.startswith("_"):
                yield member.lineno, name


def test_no_two_files_have_one_name():
    places = collections.defaultdict(list)
    for path in files():
        places[path.stem].append(str(path.relative_to(ROOT)))
    doubled = {name: paths for name, paths in places.items() if len(paths) > 1}
    wrong = [paths for name, paths in doubled.items() if name not in SHARED_FILE_NAMES]
    assert not wrong, f"files of one name: {wrong}; name each for what it alone holds"
    assert set(doubled) >= SHARED_FILE_NAMES, "a name that no two files have any more goes from SHARED_FILE_NAMES"


def test_names_are_nouns_and_verbs():
    places = {path: path.relative_to(ROOT).as_posix() for path in files()}
    wrong = [where for path, where in places.items() if path.stem not in WORDS and is_participle(path.stem)]
    assert not wrong, f"{wrong}: name the files for what they hold"
    wrong = [
        f"{where}:{line}: {name}"
        for path, where in places.items()
        for line, name in public_names(path.read_text())
        if is_participle(name) and name not in WRITTEN_NAMES
    ]
    assert not wrong, f"{wrong}: say what they are or do"


def test_every_exception_is_needed():
    """A name that is gone from the code goes from the lists."""
    existing = {name for path in files() for _, name in public_names(path.read_text())}
    assert existing >= WRITTEN_NAMES


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("begun", True),
        ("said", True),
        ("Watched", True),
        ("left_out", True),
        ("compiled_for", True),
        ("photos_read", True),
        ("decayed", True),
        ("predicted_iou", False),
        ("GeneratedMask", False),
        ("is_done", False),
        ("read", False),
        ("left", False),
        ("read_from", True),
        ("read_json", False),
        ("speed", False),
        ("embed", False),
        ("pad_to", False),
    ],
)
def test_what_counts_as_a_participle(name, expected):
    assert is_participle(name) is expected
