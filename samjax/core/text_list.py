"""Lists in text files that come with data sets, a line for each thing: nobody vouches for them."""

from pathlib import Path

from samjax.core.errors import UserError


def read_lines(path: Path, *, most_bytes: int, what: str, wanted: str) -> list[str]:
    """Return the lines of the list at `path`.

    Args:
      path: the file.
      most_bytes: a larger file is no such list.
      what: what it should be, in errors: "list of names".
      wanted: what to give instead, in errors: "the list of the values' names".

    Raises:
      UserError: it cannot be read, is too large, or is no text.
    """
    try:
        if path.stat().st_size > most_bytes:
            raise UserError(f"{path} has more than {most_bytes:,} bytes, which is no {what}")
        return path.read_text().splitlines()
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): give {wanted}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is no {what}: {error}") from error
