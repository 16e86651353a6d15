"""Settings of a ledger model."""

from typing import Annotated

from prelabel_provider.base import ProviderSettings
from pydantic import Field

Marker = Annotated[str, Field(min_length=1)] | None


class LedgerSettings(ProviderSettings):
    """Where the calls are written, and which texts do harm: those that contain a marker."""

    ledger: str | None = None
    """The file. Without: the environment's PRELABEL_LEDGER; without that: no ledger."""
    seconds_per_task: Annotated[float, Field(ge=0)] = 0.0
    label: str = "FIRST"
    """Of the span on the first word."""
    choice: str | None = "seen"
    """The label of the choice; null: none is given."""
    abort_on: Marker = None
    """The process aborts, natively (SIGABRT)."""
    crash_on: Marker = None
    """The process reads address 0, natively (SIGSEGV)."""
    hang_on: Marker = None
    """A native call never returns, and holds the interpreter's lock."""
    eat_on: Marker = None
    """Memory is taken until there is none. Without a memory limit, nothing is."""
    raise_on: Marker = None
    """RuntimeError, with the text in its message."""
    fail_on: Marker = None
    """The answer is Failed("told")."""
    lose_on: Marker = None
    """One answer is missing."""
    print_bytes: Annotated[int, Field(ge=0)] = 0
    """Written to standard output and to standard error before every batch."""
    die_on_load: bool = False
    """The process aborts while it loads."""
