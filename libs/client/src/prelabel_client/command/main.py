"""`prelabel`: the command."""

import sys
from collections.abc import Callable

import typer

from .annotate import annotate
from .curve import curve
from .dead_letters import audit, deadletters, replay
from .doctor import doctor
from .emit import emit
from .exits import MEANINGS, ending
from .key import key
from .models import models
from .open_page import open_page
from .predict import predict
from .profile import profile
from .project import project
from .provider import provider
from .quality import quality
from .rebuild import rebuild
from .status import runs, status
from .submit import submit
from .tasks import export, predictions, tasks
from .topics import topics
from .trace import trace
from .train import train, trainings
from .up import down, up
from .webhook import webhook


def application() -> typer.Typer:
    """All commands."""
    codes = "; ".join(f"{code} {meaning}" for code, meaning in MEANINGS.items())
    app = typer.Typer(
        name="prelabel",
        help="Prelabel from the command line: run it, hand tasks in, look at what the models say.",
        epilog=f"Exit codes: {codes}.",
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    )
    alone: tuple[Callable[..., None], ...] = (
        *(up, down, status, doctor),
        *(submit, predict, tasks, predictions, export, runs, annotate, emit),
        *(train, trainings, curve, quality),
        *(trace, deadletters, replay, rebuild, audit),
    )
    for command in alone:
        app.command()(command)
    app.command("open")(open_page)
    for name, group in (
        *(("models", models), ("project", project), ("webhook", webhook)),
        *(("provider", provider), ("topics", topics)),
        *(("key", key), ("profile", profile)),
    ):
        app.add_typer(group, name=name)
    return app


def main() -> None:
    """Run the command, and exit as `exits` says."""
    sys.exit(ending(lambda: application()(standalone_mode=False, prog_name="prelabel")))
