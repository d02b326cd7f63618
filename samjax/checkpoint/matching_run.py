"""Whether a checkpoint is one that a run can resume from: of the same model, with the same parameters trained."""

from typing import Any

from etils import epath

from samjax.checkpoint.checksums import Record
from samjax.core.errors import UserError
from samjax.core.tree import named_leaves


def check_run(folder: epath.Path, saved: Record, like: Any) -> None:
    """Refuse to resume from the checkpoint in `folder`, whose record is `saved`, with a state shaped like `like`.

    Raises:
      UserError: it holds another model, or the state of a run that trains other parameters.
    """
    wanted = {name: list(leaf.shape) for name, leaf in named_leaves(like).items()}
    stored = {name: entry.get("shape") for name, entry in saved.items()}
    names = list({**wanted, **stored})
    parameters = [name for name in names if name.startswith("params/")]
    if wrong := [name for name in parameters if stored.get(name) != wanted.get(name)]:
        raise UserError(
            f"{folder} holds another model: {len(wrong)} of {len(parameters)} parameters differ, first {wrong[0]}, "
            f"saved {stored.get(wrong[0], 'not at all')}, expected {wanted.get(wrong[0], 'none')}; give this run a new "
            "--workdir, or the experiment and overrides that the checkpoint was made with"
        )
    if wrong := [name for name in names if stored.get(name) != wanted.get(name)]:
        what = "is in it, but not in this run" if wrong[0] in stored else "is in this run, but not in it"
        raise UserError(
            f"{folder} is of a run with other trainable parameters, averages, adapters or kernels of optim.muon: "
            f"{wrong[0]} {what}. Give the settings that it was made with; or give a new --workdir, and start from its "
            "weights with --init-from"
        )
