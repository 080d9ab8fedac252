"""The command line: `python -m bench COMMAND ...`. Every module in `bench/commands` is one command."""

import argparse
import errno
import importlib
import os
import pkgutil
import sys
from collections.abc import Sequence
from typing import NoReturn

from bench import commands
from bench.errors import UserError
from tables import RecordError

# An OSError with one of these says something about the user's disk or path, not about the program.
_USER_ERRNOS = {
    errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS,
    errno.EACCES, errno.EPERM, errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST,
    errno.ENAMETOOLONG, errno.ELOOP,
}  # fmt: skip


class Parser(argparse.ArgumentParser):
    """Tells a mistake in one line, as every other mistake is told, without the usage before it."""

    def error(self, message: str) -> NoReturn:
        """Ends the program with status 2."""
        self.exit(2, f"maskbench: {message}; see {self.prog} --help\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command. Returns 0 (done), 1 (a checked cell failed) or 2 (the input is at fault)."""
    parser, argv = build_parser(), sys.argv[1:] if argv is None else argv
    if not argv:
        parser.print_help(sys.stderr)
        return 2
    args = parser.parse_args(argv)
    try:
        return args.run(args) or 0
    except BrokenPipeError:  # the reader of our output went away, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        status, line = 130, "interrupted; finished work is kept, run the same command again to go on"
    except Exception as error:
        status, line = 2, user_fault(error)
        if line is None:
            raise
    # Only here are the frames of the command gone, and the progress bars in them have left the line.
    print(f"maskbench: {line}", file=sys.stderr)
    return status


def build_parser() -> argparse.ArgumentParser:
    """The parser with every command in it. Command modules keep heavy imports inside `run`."""
    parser = Parser(prog="python -m bench", description="Do the published numbers hold?")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for module in sorted(pkgutil.iter_modules(commands.__path__), key=lambda found: found.name):
        importlib.import_module(f"{commands.__name__}.{module.name}").register(subparsers)
    return parser


def user_fault(error: Exception) -> str | None:
    """The one line that tells the user what was wrong with the input, or None where the fault is ours."""
    if isinstance(error, (UserError, RecordError, *_errors_below())):
        return " ".join(str(error).split())
    if isinstance(error, OSError) and error.errno in _USER_ERRNOS:
        where = f": {error.filename}" if error.filename else ""
        return f"{os.strerror(error.errno)}{where}"
    return None


def _errors_below() -> tuple[type[Exception], ...]:
    """Errors of `models` and `ops` that blame the input; imports no torch that the command did not need."""
    found = []
    for module, name in (
        ("models.spec", "SpecError"),
        ("models.official", "CheckpointError"),
        ("ops.backend", "BackendError"),
    ):
        if module in sys.modules:
            found.append(getattr(sys.modules[module], name))
    return tuple(found)
