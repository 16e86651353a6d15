"""Exit codes, and how an error ends the command: one line that says what to do, never a traceback."""

import os
import sys
import traceback
from collections.abc import Callable

from ..errors import Defect, NoAccess, NotFound, PrelabelError, Refused, TryLater, Unreachable
from .output import clean

DONE, DATA, USAGE, UNAVAILABLE, NO_ACCESS, NOT_FOUND, DEFECT, INTERRUPTED = 0, 1, 2, 3, 4, 5, 70, 130
MEANINGS = {
    DONE: "done",
    DATA: "done, but something in the data failed: lines were refused, a run failed, the doctor found something",
    USAGE: "refused: the command or what it was given makes no sense as it is",
    UNAVAILABLE: "nothing answers at the address, or not now",
    NO_ACCESS: "the key is missing, unknown, or may not do this",
    NOT_FOUND: "there is no such thing, or not for this key",
    DEFECT: "a defect of Prelabel's",
    INTERRUPTED: "interrupted (Ctrl-C)",
}
DEBUG = "PRELABEL_DEBUG"
_BY_ERROR: tuple[tuple[type[PrelabelError], int], ...] = (
    (Refused, USAGE),
    (NoAccess, NO_ACCESS),
    (NotFound, NOT_FOUND),
    (TryLater, UNAVAILABLE),
    (Unreachable, UNAVAILABLE),
    (Defect, DEFECT),
)


class Ended(Exception):
    """The command ends here, with this exit code."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def ending(command: Callable[[], object]) -> int:
    """Run a command; its exit code."""
    try:
        code = command()
        sys.stdout.flush()
    except Ended as ended:
        return ended.code
    except KeyboardInterrupt:
        return INTERRUPTED
    except SystemExit as ended:
        # typer's way to end where whoever read our output has seen enough
        if isinstance(ended.__context__, BrokenPipeError):
            return _code_of(ended.__context__)
        raise
    except Exception as error:
        return _code_of(error)
    return code if isinstance(code, int) else DONE  # typer takes Ctrl-C itself, and returns its exit code


def _code_of(error: Exception) -> int:
    if isinstance(error, PrelabelError):
        return _told(error)
    if isinstance(error, BrokenPipeError):
        # Whoever read our output has seen enough; Python would complain once more when it closes it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    if isinstance(error, OSError):
        say(f"{error.filename}: {error.strerror}" if error.filename else str(error))
        return USAGE
    if isinstance(error, UnicodeEncodeError):  # bytes of a command line, or of a file's name, that are no characters
        say("something that was given is no text in UTF-8")
        return USAGE
    return _defect(error)


def say(line: str) -> None:
    """One line to standard error."""
    sys.stderr.write(f"prelabel: {clean(line)}\n")


def _told(error: PrelabelError) -> int:
    detail = error.detail
    if isinstance(error, Refused):
        others = [f"{one.pointer or '(whole)'}: {one.detail}" for one in error.fields if one.detail not in detail]
        detail = "; ".join((detail, *others[:5]))
    if isinstance(error, NoAccess):
        detail += "; `prelabel profile show` tells which key is used"
    if isinstance(error, TryLater) and error.after is not None:
        detail += f" (in {error.after:.0f} s)"
    say(detail)
    return next((code for kind, code in _BY_ERROR if isinstance(error, kind)), DEFECT)


def _defect(error: Exception) -> int:
    usage = getattr(error, "format_message", None)
    if type(error).__name__ == "NoArgsIsHelpError" and usage is not None:
        sys.stderr.write(f"{usage()}\n")  # a group of commands, called alone: its help, as it is
        return USAGE
    if usage is not None:  # typer's own: a misspelt option, a missing argument
        say(f"{str(usage()).rstrip('.')}. Try `{_asked(error)} --help`")
        return USAGE
    if type(error).__name__ == "Abort":
        return INTERRUPTED
    if os.environ.get(DEBUG):
        traceback.print_exception(error)
    say(f"this is a defect ({type(error).__name__}: {error}); {DEBUG}=1 shows where")
    return DEFECT


def _asked(error: Exception) -> str:
    context = getattr(error, "ctx", None)
    return str(getattr(context, "command_path", "prelabel"))
