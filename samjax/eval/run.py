"""Runs an evaluation: opens its folder, evaluates, and writes the results."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from samjax.core.errors import UserError
from samjax.eval.evaluation_folder import EvaluationFolder, open_evaluation
from samjax.eval.results import Results


def run_evaluation(
    protocol: str,
    path: Path,
    *,
    checkpoint: str,
    request: Mapping[str, Any],
    resume: bool,
    evaluate: Callable[[EvaluationFolder], Results],
) -> Results:
    """Evaluate in the folder `path`, and write the results there.

    Args:
      protocol: its name, as in the commands.
      checkpoint: the checkpoint to evaluate.
      request: everything else that the results depend on, as JSON; a resumed evaluation must have the same.
      resume: continue with the records in the folder.
      evaluate: records the missing photos in the folder, and returns the results of all.

    Raises:
      UserError: see `open_evaluation` and `write_results`.
    """
    about = {"protocol": protocol, "checkpoint": checkpoint, **request}
    with open_evaluation(path, request=about, resume=resume) as folder:
        results = evaluate(folder)
        write_results(results, folder.path)
    return results


def write_results(results: Results, folder: Path) -> None:
    """Write `results.json` and `table.txt` into the folder.

    Raises:
      UserError: all rows are of nothing.
    """
    if all(row.masks == 0 or set(row.metrics.values()) == {None} for row in results.rows):
        first = results.rows[0]
        left_out = "".join(f"; {count:,} {kind} left out" for kind, count in first.left_out.items())
        raise UserError(
            f"{first.name}: {first.photos:,} photos with {first.masks or 0:,} objects were evaluated, so there are no "
            f"results{left_out}"
        )
    results.write(folder)
