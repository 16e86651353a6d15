"""Settings of a ledger model."""

import json
from pathlib import Path
from typing import Annotated, Self

from prelabel_provider.base import ProviderSettings
from pydantic import Field

Marker = Annotated[str, Field(min_length=1)] | None


class LedgerSettings(ProviderSettings):
    """Where the calls are written, and which texts do harm: those that contain a marker."""

    ledger: str | None = None
    """The file. Without: the environment's PRELABEL_LEDGER; without that: no ledger."""
    path: str | None = None
    """The folder of a trained version: the settings in its `ledger.json` go before those here."""
    load_seconds: Annotated[float, Field(ge=0)] = 0.0
    """That loading takes, of which the processor works as much as it gets."""
    load_after: str | None = None
    """A file: loading waits until it exists."""
    seconds_per_task: Annotated[float, Field(ge=0)] = 0.0
    label: str = "FIRST"
    """Of the span on the first word."""
    choice: str | None = "seen"
    """The label of the choice; null: none is given."""
    words: dict[str, str] = Field(default_factory=dict)
    """The choice's label by the text's first word, where it is another than `choice`."""
    uncertainty: float | None = None
    """What it says of every answer, a number or not (what is beyond 0 to 1 is no uncertainty)."""
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
    """The answer is Failed, with `fail_as` as its reason."""
    fail_as: Annotated[str, Field(min_length=1)] = "told"
    lose_on: Marker = None
    """One answer is missing."""
    garble_on: Marker = None
    """The answer is written as JSON does not have it: its score is NaN."""
    print_bytes: Annotated[int, Field(ge=0)] = 0
    """Written to standard output and to standard error before every batch."""
    die_on_load: bool = False
    """The process aborts while it loads."""

    def whole(self) -> Self:
        """With what the folder says. Raises ValueError and OSError where there is none, or no settings in it."""
        if self.path is None:
            return self
        said = json.loads((Path(self.path) / "ledger.json").read_bytes())
        return type(self).model_validate({**self.model_dump(exclude={"path"}), **said})
