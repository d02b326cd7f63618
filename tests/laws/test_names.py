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
    "protocol",  # of each protocol of an evaluation, in the protocol's folder: how photos are evaluated
    "report",  # the same: what is written of them
}
"""Several files have these names, and mean the same by them."""

PENDING_FILE_NAMES = {"config", "export", "import_weights", "plan"}
"""Still to be renamed: core, data, models and train have a `config` each; `samjax export`, `import` and `plan` are
named like the library file they call."""

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

VERBS = frozenset({"cut", "put", "read"})
"""Verbs where they are all of a name, as in `read(path)`; `photos_read` says what was done."""

WRITTEN_NAMES = frozenset({
    # Keys of JSON that samjax has written, or flags: a name in the file is the name in the code.
    "dropped", "left_out", "matched", "mixed_in", "predicted", "compiled_for", "needed",
})  # fmt: skip

PENDING_NAMES = frozenset({
    # Used in samjax/train, data/stream, models, nn, interop or a command of theirs.
    "half_written", "map_named", "nested", "observed", "packed", "remove_half_written", "LeftOut",
})  # fmt: skip

PENDING_PLACES = (
    "samjax/train/", "samjax/data/stream/", "samjax/models/", "samjax/nn/", "samjax/interop/", "samjax/pictures/",
    "samjax/cli/train.py", "samjax/cli/plan.py", "samjax/cli/dry_run.py",
    "samjax/eval/sheet.py", "samjax/eval/photo_sheet.py", "samjax/eval/batch_sheet.py", "samjax/eval/histogram.py",
    "samjax/checkpoint/half_written.py",
)  # fmt: skip
"""Their names are still to be looked at."""

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
    while len(parts) > 1 and parts[-1] in ENDINGS:
        parts = parts[:-1]
    if parts[-1] in WORDS or (len(parts) == 1 and parts[0] in VERBS):
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
    wrong = [paths for name, paths in doubled.items() if name not in SHARED_FILE_NAMES | PENDING_FILE_NAMES]
    assert not wrong, f"files of one name: {wrong}; name each for what it alone holds"
    assert set(doubled) >= PENDING_FILE_NAMES, "a file was renamed: take its name out of PENDING_FILE_NAMES"


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_names_are_nouns_and_verbs(path):
    where = path.relative_to(ROOT).as_posix()
    if where.startswith(PENDING_PLACES):
        return
    assert path.stem in WORDS or not is_participle(path.stem), f"{where}: name the file for what it holds"
    wrong = [
        f"{where}:{line}: {name}"
        for line, name in public_names(path.read_text())
        if is_participle(name) and name not in WRITTEN_NAMES | PENDING_NAMES
    ]
    assert not wrong, f"{wrong}: say what it is or does"


def test_every_exception_is_needed():
    """A name that is gone from the code goes from the lists."""
    there = {name for path in files() for _, name in public_names(path.read_text())}
    assert there >= WRITTEN_NAMES | PENDING_NAMES


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
        ("read_json", False),
        ("speed", False),
        ("embed", False),
        ("pad_to", False),
    ],
)
def test_what_counts_as_a_participle(name, expected):
    assert is_participle(name) is expected
