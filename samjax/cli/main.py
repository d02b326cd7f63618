"""Entry point of the `samjax` command."""

import io
import logging
import sys

from samjax.cli import (
    annotate,
    compare,
    data,
    evaluate,
    export,
    generate,
    import_weights,
    plan,
    predict,
    propose,
    segment,
    train,
)
from samjax.cli.arguments import Parser
from samjax.core.errors import MachineError, UserError
from samjax.core.machine_faults import raise_open_file_limit

_COMMANDS = {
    "train": train,
    "plan": plan,
    "data": data,
    "predict": predict,
    "generate": generate,
    "segment": segment,
    "propose": propose,
    "annotate": annotate,
    "evaluate": evaluate,
    "compare": compare,
    "import": import_weights,
    "export": export,
}


def main(arguments: list[str] | None = None) -> int:
    """Run a subcommand and return its exit code: 2, with one sentence and no traceback, for errors a user can act
    on."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("samjax").setLevel(logging.INFO)
    parser = Parser(prog="samjax", description="Pretrain Segment Anything models in JAX.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, module in _COMMANDS.items():
        module.add_parser(commands, name)
    raise_open_file_limit()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a file name may not fit the terminal's encoding
    try:
        known, rest = parser.parse_known_args(arguments)
        return known.run(known, rest)
    except (UserError, MachineError) as error:
        print(f"samjax: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
