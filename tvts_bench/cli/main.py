"""The command line: one line per command, and how a command ends.

Commands import what they need when they run, so `--help` is instant. A user's error is one sentence and exit code 2, a
signal says how to resume, a bug shows itself.
"""

import errno
import functools
import inspect
import io
import logging
import os
import signal
import sys
import traceback
from collections.abc import Callable
from types import TracebackType
from typing import Any, ParamSpec, TypeVar

import typer

from tvts_bench.cli import (
    ablate,
    backbones,
    classify,
    compare,
    datasets,
    export,
    leaderboard,
    report,
    retrieval,
    tables,
    videos,
)
from tvts_bench.cli.console import say, stderr
from tvts_bench.cli.options import spread
from tvts_bench.errors import UserError
from tvts_bench.printable import printable
from tvts_bench.signals import StoppedError, StopSignal, stopped_by_signals
from tvts_bench.version import VERSION

P = ParamSpec("P")
R = TypeVar("R")

USER_ERROR = 2
SYSTEM_SAYS = {
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.ESTALE, errno.EMFILE, errno.ENFILE),
    *(errno.EACCES, errno.EPERM, errno.EROFS),
    *(errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR, errno.EISDIR, errno.EEXIST),  # names that cannot be a file's
}
"""What the operating system refuses because of the user's files and disks, and not because of a bug."""


class PrintableFormatter(logging.Formatter):
    """A record a line: what it quotes brings neither lines of its own nor escape sequences."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - of the standard library
        """The line."""
        return printable(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:  # noqa: N802 - of the standard library
        """The lines of a traceback."""
        return printable(super().formatException(ei), keep_lines=True)


def guarded(command: Callable[P, R]) -> Callable[P, R]:
    """`command` with its errors shown as people expect; its signature stays what typer reads."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        debug = "--debug" in sys.argv
        handler = logging.StreamHandler()
        handler.setFormatter(PrintableFormatter("%(levelname)s %(name)s: %(message)s"))
        logging.basicConfig(level=logging.DEBUG if debug else logging.WARNING, handlers=[handler], force=True)
        sys.excepthook = _show_bug
        for chatty in ("filelock", "asyncio", "matplotlib", "urllib3", "fsspec", "numcodecs"):
            logging.getLogger(chatty).setLevel(logging.WARNING)
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="backslashreplace")  # a name that the terminal cannot show must not end a run
        try:
            with stopped_by_signals():
                return command(*args, **kwargs)
        except UserError as error:
            return _end(error, str(error), debug)
        except OSError as error:
            if error.errno not in SYSTEM_SAYS:
                raise
            return _end(error, f"{error.filename or 'a file'}: {error.strerror}", debug)
        except StoppedError as stop:
            name = signal.Signals(stop.signal).name
            say(f"stopped by {name}; the same command with --resume resumes it")
            raise typer.Exit(128 + stop.signal) from None
        except KeyboardInterrupt as stop:
            number = stop.signal if isinstance(stop, StopSignal) else signal.SIGINT
            by = "" if number == signal.SIGINT else f" by {signal.Signals(number).name}"
            say(f"stopped{by}; what was computed is kept, the same command resumes it")
            raise typer.Exit(128 + number) from None

    return run


def _show_bug(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """The traceback of a bug, as Python shows it; what it quotes steers no terminal."""
    sys.stderr.write(printable("".join(traceback.format_exception(kind, error, trace)), keep_lines=True))


def _end(error: BaseException, message: str, debug: bool) -> R:  # type: ignore[type-var]
    if debug:
        stderr.print_exception()
    stderr.print("error: ", end="", style="bold red")
    stderr.print(message, soft_wrap=True)
    raise typer.Exit(USER_ERROR) from error


def application(name: str, help: str) -> typer.Typer:
    """A program of commands; bugs show themselves by `guarded`, not by typer."""
    return typer.Typer(
        name=name,
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode="rich",
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        help=help,
    )


app = application(
    "tvts-bench",
    "Measure video backbones honestly: every number carries the checkpoint, the data, the frames and the clips"
    " that made it.\n\n"
    "Start with [bold]tvts-bench demo[/]: it runs on a small built-in synthetic set, without downloads.",
)

MEASURE, VERDICT, PAPER, BACKBONES, DATA = "Measure", "What came out", "The paper", "Backbones", "Data"
COMMANDS: tuple[tuple[str, Callable[..., None], str], ...] = (
    ("demo", retrieval.demo, MEASURE),
    ("retrieval", retrieval.retrieval, MEASURE),
    ("probe", classify.probe, MEASURE),
    ("finetune", classify.finetune, MEASURE),
    ("embed", videos.embed, MEASURE),
    ("search", videos.search, MEASURE),
    ("compare", compare.compare, VERDICT),
    ("leaderboard", leaderboard.leaderboard, VERDICT),
    ("export", export.export, VERDICT),
    *((name, command, PAPER) for name, command in tables.commands()),
    ("ablate", ablate.ablate, PAPER),
    ("status", report.status, PAPER),
    ("report", report.report, PAPER),
    ("backbones", backbones.backbones, BACKBONES),
    ("inspect", backbones.inspect, BACKBONES),
    ("datasets", datasets.datasets, DATA),
    ("check", datasets.check, DATA),
    ("make-data", datasets.make_data, DATA),
)


def register(app: typer.Typer, name: str, command: Callable[..., None], panel: str | None = None) -> None:
    """Add a command whose help is its docstring, each paragraph set as one.

    Args:
        app: gets the command.
        name: of the command.
        command: its parameters are as `spread` takes them.
        panel: its heading in the list of commands.
    """
    paragraphs = inspect.cleandoc(command.__doc__ or "").split("\n\n")
    text = "\n\n".join(paragraph.replace("\n", " ") for paragraph in paragraphs)
    app.command(name, rich_help_panel=panel, help=text)(guarded(spread(command)))


for _name, _command, _panel in COMMANDS:
    register(app, _name, _command, _panel)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"tvts-bench {VERSION}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(
        False, "--version", help="Show the version and exit.", callback=_show_version, is_eager=True
    ),
) -> None:
    pass


def main() -> None:
    """Entry point of the `tvts-bench` script."""
    # Read when torch is loaded. Threads that wait for each other sleep, so that decoders have their cores.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    app()
