"""A generator's settings in a file."""

from pathlib import Path

from samjax.core.errors import UserError
from samjax.core.folder import read_request
from samjax.core.json_config import from_json
from samjax.predict.automatic.generator_config import GeneratorConfig

FILE = "generator.json"
"""What `samjax generate --tune` writes."""


def settings_of(checkpoint: str | Path) -> Path | None:
    """Return the file of settings tuned for the weights in the folder `checkpoint`, if one lies there."""
    file = Path(checkpoint) / FILE
    return file if file.is_file() else None


def read_settings(path: str | Path) -> GeneratorConfig:
    """Return the `settings` in a JSON that `samjax generate` wrote: `generator.json` by --tune, or `generate.json`.

    Raises:
      UserError: there is no such file, or it holds no settings of a generator.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        raise UserError(f"--settings {path}: no such file; give the generator.json that samjax generate --tune wrote")
    try:
        settings = read_request(file, fields={"settings": dict})["settings"]
    except UserError:
        raise UserError(
            f"--settings {path} has no settings of a generator: give the generator.json that samjax generate --tune "
            "wrote"
        ) from None
    return from_json(GeneratorConfig, settings, name=f"{path}: settings")
