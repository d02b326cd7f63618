"""Every path, module, flag and link that a page names exists, its code is the code's, and its drawings are true."""

import argparse
import contextlib
import functools
import importlib
import io
import re
import shlex
from pathlib import Path

import pytest
from documents import DOCUMENTS, ROOT, TOP, fences, prose, spans, tables, text
from test_layering import MAY_IMPORT

from samjax.cli import main, train
from samjax.cli.arguments import Parser
from samjax.core.experiment import load_experiment
from samjax.data.annotations.formats import FormatOptions
from samjax.eval.protocols.proposals.protocol import paper_generator
from samjax.predict.automatic.generator_config import GeneratorConfig
from samjax.training.config import TrainConfig

EVERY = pytest.mark.parametrize("document", DOCUMENTS)
ARCHITECTURE = "docs/architecture.md"

FOREIGN_FLAGS = frozenset({
    "--runner", "--project", "--region", "--temp_location",  # Beam's
    "--logdir",  # TensorBoard's
    "--gpus-per-task",  # Slurm's
    "--xla_cpu_prefer_vector_width", "--xla_cpu_enable_fast_math",  # XLA's
})  # fmt: skip
"""Flags of other programs that pages name."""


def exists(path: str) -> bool:
    """Return whether a path of the repository is there, or is a pattern of paths that are."""
    return (ROOT / path).exists() or any(ROOT.glob(path))


@EVERY
def test_paths_exist(document):
    """A path begins with a folder of the repository."""
    tops = "|".join(re.escape(name) for name in TOP)
    found = re.findall(rf"(?<![\w./:~-])((?:{tops})/[\w./*-]*)", text(document))
    missing = [path for path in found if not exists(path.rstrip("./") if path.count("/") > 1 else path.rstrip("."))]
    assert not missing, f"{document} names {missing}"


def resolve(dotted: str) -> bool:
    """Return whether `dotted` is a module, or a name in one."""
    parts = dotted.split(".")
    for end in range(len(parts), 0, -1):
        place = ROOT.joinpath(*parts[:end])
        if place.with_suffix(".py").is_file() or (place / "__init__.py").is_file():
            value = importlib.import_module(".".join(parts[:end]))
            for name in parts[end:]:
                if not hasattr(value, name):
                    return False
                value = getattr(value, name)
            return True
    return False


@EVERY
def test_modules_and_their_names_exist(document):
    page = text(document)
    found = re.findall(r"(?<![\w./@-])((?:samjax|data_pipelines|experiments)(?:\.[A-Za-z_]\w*)+)(?![\w/])", page)
    dotted = [name for name in found if not name.endswith((".py", ".md"))]
    for module, names in re.findall(r"from ((?:samjax|data_pipelines|experiments)[\w.]*) import ([\w, ]+)", page):
        dotted += [f"{module}.{name.strip()}" for name in names.split(",")]
    missing = [name for name in dotted if not resolve(name)]
    assert not missing, f"{document} names {missing}"


def anchors(path: Path) -> set[str]:
    """Return the anchors that GitHub gives a page's headings."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", path.read_text(), flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


@EVERY
def test_links_lead_somewhere(document):
    path = ROOT / document
    wrong = []
    for target in re.findall(r"\]\(([^)]+)\)", prose(document)):
        if "://" in target:
            continue
        file, _, anchor = target.partition("#")
        place = path.parent / file if file else path
        if not place.exists() or (anchor and anchor not in anchors(place)):
            wrong.append(target)
    assert not wrong, f"{document} links to {wrong}"


def flags_of(parser: argparse.ArgumentParser) -> set[str]:
    found = set()
    for action in parser._actions:
        found |= set(action.option_strings)
        if isinstance(action, argparse._SubParsersAction):
            found = found.union(*(flags_of(inner) for inner in action.choices.values()))
    return found


@functools.cache
def flags() -> frozenset[str]:
    """Return every flag of `samjax`, of the shipped experiments' fields, and of scripts of the repository."""
    parser = Parser(prog="samjax")
    commands = parser.add_subparsers()
    for name, module in main._COMMANDS.items():
        module.add_parser(commands, name)
    found = flags_of(parser)
    configs = [load_experiment(path, TrainConfig) for path in sorted((ROOT / "experiments").glob("*/smoke.py"))]
    for config in (*configs, GeneratorConfig(), paper_generator(), FormatOptions()):
        said = io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
            train.override(config, [], show_help=True)
        found |= set(re.findall(r"--[a-z][\w.-]*", said.getvalue()))
    for folder, pattern in (("benchmarks", "*.py"), ("launch", "*"), ("data_pipelines", "*.py")):
        for script in (ROOT / folder).glob(pattern):
            if script.suffix in (".py", ".sh"):
                found |= set(re.findall(r"(?<![\w-])--[a-z][\w-]*", script.read_text()))
    return frozenset(found)


@EVERY
def test_flags_exist(document):
    """Those in `backticks`, and those of commands of ours."""
    commands = [
        line.split("#")[0]
        for block in fences(document, "bash")
        for line in block.splitlines()
        if re.match(r"(samjax|python (benchmarks|launch|-m data_pipelines)|launch/)", line)
    ]
    named = [
        span
        for span in spans(document)
        if re.match(r"(--|samjax |launch/|python launch/)", span) and not span.endswith(".")
    ]
    found = set(re.findall(r"(?<![\w-])--[a-z][\w.-]*\w", " ".join([*commands, *named])))
    unknown = found - flags() - FOREIGN_FLAGS
    assert not unknown, f"{document} names {sorted(unknown)}"


@EVERY
def test_flags_in_tables_exist(document):
    """A table whose first heading is `--data.` lists fields of the data."""
    for header, *rows in tables(document):
        if not (start := re.fullmatch(r"`(--[a-z.-]+\.)`", header[0])):
            continue
        for row in rows:
            for span in re.findall(r"`([^`]+)`", row[0]):
                flag = start[1] + shlex.split(span)[0].replace("_", "-")
                assert flag in flags() or span == "mixed_in", f"{document}: {span} is no field of {start[1]}"


@EVERY
def test_code_is_the_files(document):
    """A block that begins with the name of a file quotes it, line by line; `...` stands for what is omitted."""
    for block in fences(document, "python"):
        first, *lines = block.splitlines()
        if not (quoted := re.fullmatch(r"# ((?:samjax|experiments|data_pipelines)/\S+\.py)", first)):
            continue
        source = iter([line.strip() for line in (ROOT / quoted[1]).read_text().splitlines()])
        for line in lines:
            wanted = line.strip().removesuffix("...").strip()
            assert not wanted or wanted in source, f"{document} quotes {quoted[1]}, which has no {wanted!r} there"


def floor(package: str) -> int:
    return 1 + max((floor(other) for other in imported(package)), default=0)


def short(package: str) -> str:
    return package.removeprefix("samjax.")


def imported(package: str) -> tuple[str, ...]:
    return next(names for name, names in MAY_IMPORT.items() if short(name) == package)


def below(package: str) -> set[str]:
    return set(imported(package)).union(*(below(other) for other in imported(package)))


def drawn_floors() -> str:
    return next(block for block in fences(ARCHITECTURE, "mermaid") if "subgraph" in block)


def test_floors_drawn_are_the_layering():
    drawn = {
        name: int(number)
        for number, body in re.findall(r'subgraph floor\d+\["(\d+)"\]\n(.*?)\n    end', drawn_floors(), re.DOTALL)
        for name in body.split()
    }
    assert drawn == {short(package): floor(short(package)) for package in MAY_IMPORT}


def test_arrows_drawn_are_the_layering():
    """Those that are not implied by others."""
    drawn = {
        (package, target.strip())
        for package, targets in re.findall(r"^ +(\w+) --> (.+)$", drawn_floors(), re.MULTILINE)
        for target in targets.split("&")
    }
    expected = {
        (short(package), target)
        for package, targets in MAY_IMPORT.items()
        for target in targets
        if not any(target in below(other) for other in targets)
    }
    assert drawn == expected


def test_table_of_packages_is_the_layering():
    (table,) = (table for table in tables(ARCHITECTURE) if table[0] == ["package", "is for", "may import"])
    written = {row[0].strip("`"): set(re.findall(r"`(\w+)`", row[2])) for row in table[1:]}
    assert written == {short(package): set(targets) for package, targets in MAY_IMPORT.items()}


def test_readme_is_short_and_says_what_is_not_done_at_the_top():
    lines = text("README.md").splitlines()
    assert len(lines) <= 150
    (said,) = (number for number, line in enumerate(lines) if line.startswith("**What has not been done.**"))
    assert said < next(number for number, line in enumerate(lines) if line.startswith("## "))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("samjax.training.config.TrainConfig", True),
        ("samjax.training.config.TrainConfig.objective", True),
        ("samjax.training.config.Trainer", False),
        ("samjax.trainer", False),
        ("experiments.sam.vit_b", True),
    ],
)
def test_what_counts_as_a_module_or_its_name(name, expected):
    assert resolve(name) is expected
