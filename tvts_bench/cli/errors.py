"""How a command ends: a user's error is one sentence and exit code 2, Ctrl-C says how to go on, a bug shows itself."""

import errno
import functools
import io
import logging
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any, ParamSpec, TypeVar

import typer

from tvts_bench.cli.console import say, stderr
from tvts_bench.errors import UserError
from tvts_bench.printable import printable
from tvts_bench.signals import StoppedError

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


class StopSignal(KeyboardInterrupt):
    """A signal that ends a command as Ctrl-C does: whatever is finished is kept, workers end."""

    def __init__(self, number: int) -> None:
        """The signal of that number."""
        super().__init__(number)
        self.signal = number


@contextmanager
def stopping() -> Iterator[None]:
    """A scheduler's SIGTERM and a lost terminal's SIGHUP raise `StopSignal`; one that is ignored (nohup) stays so."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise StopSignal(number)

    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    if threading.current_thread() is not threading.main_thread():
        numbers = []
    ours = [number for number in numbers if signal.getsignal(number) == signal.SIG_DFL]
    for number in ours:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)


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
            with stopping():
                return command(*args, **kwargs)
        except UserError as error:
            return _end(error, str(error), debug)
        except OSError as error:
            if error.errno not in SYSTEM_SAYS:
                raise
            return _end(error, f"{error.filename or 'a file'}: {error.strerror}", debug)
        except StoppedError as stop:
            name = signal.Signals(stop.signal).name
            say(f"stopped by {name}; the same command with --resume goes on")
            raise typer.Exit(128 + stop.signal) from None
        except KeyboardInterrupt as stop:
            number = stop.signal if isinstance(stop, StopSignal) else signal.SIGINT
            by = "" if number == signal.SIGINT else f" by {signal.Signals(number).name}"
            say(f"stopped{by}; what was computed is kept, the same command takes it up again")
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
