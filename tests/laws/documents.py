"""The pages of the repository, and what is in them: commands, code, tables, names of files and modules."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
TOP = ("samjax", "tests", "docs", "experiments", "launch", "benchmarks", "data_pipelines", ".ci")

PAGES = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").glob("*.md"))
LAUNCHERS = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "launch").glob("*.md"))
DOCUMENTS = (
    "README.md",
    "CONTRIBUTING.md",
    *LAUNCHERS,
    "experiments/sam/photos/README.md",
    "runs/reference/README.md",
    *PAGES,
)
EXPERIMENTS = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "experiments").rglob("[!_]*.py"))


def text(document: str) -> str:
    """Return a page, with the commands that go over several lines on one."""
    return re.sub(r"\\{1,2}\n", " ", (ROOT / document).read_text())  # two in a docstring


def fences(document: str, language: str) -> list[str]:
    """Return the page's blocks of code in `language`, without the indentation of a list around them."""
    found = re.findall(rf"^( *)```{language}\n(.*?)^\1```", text(document), re.MULTILINE | re.DOTALL)
    return [re.sub(rf"^{indent}", "", block, flags=re.MULTILINE) for indent, block in found]


def prose(document: str) -> str:
    """Return the page without its blocks of code."""
    return re.sub(r"^( *)```.*?^\1```", "", text(document), flags=re.MULTILINE | re.DOTALL)


def spans(document: str) -> list[str]:
    """Return what the page's prose says in `backticks`."""
    return re.findall(r"`([^`\n]+)`", prose(document))


def tables(document: str) -> list[list[list[str]]]:
    """Return the page's tables, each as rows of cells, the header first."""
    found, rows = [], []
    for line in [*prose(document).splitlines(), ""]:
        if line.startswith("|"):
            rows.append([cell.strip() for cell in line.strip("|").split("|")])
        elif rows:
            header, _, *body = rows
            found.append([header, *body])
            rows = []
    return found
