"""Errors, named by what the caller does next.

InvalidEvent   (contract) this record can never be handled   -> this group's dead letters, the batch goes on
TryAgain       this record cannot be handled now             -> retry.<group> after a delay, a bounded number of times
Unavailable    something everybody depends on is down        -> pause and repeat in place; nothing is counted
Fatal          this process cannot be trusted any more       -> exit; a new process does better
  TooManyDeadLetters   a bad deploy must not drain a topic   -> exit, and a person looks
Refused        what was asked for makes no sense             -> one line to whoever asked; exit code 2
anything else  a defect                                      -> stop the loop and start it anew; the third time the
                                                                records run one by one, and the culprit is dead-lettered
"""

from prelabel_contract.errors import InvalidEvent

__all__ = ["Fatal", "InvalidEvent", "Refused", "TooManyDeadLetters", "TryAgain", "Unavailable"]


class TryAgain(Exception):
    """This record only, not before `after` seconds have passed."""

    def __init__(self, reason: str, *, after: float = 1.0) -> None:
        super().__init__(reason)
        self.reason = reason
        self.after = after


class Unavailable(Exception):
    """A dependency (bus, store, a whole provider) does not answer: wait for it, lose nothing."""

    def __init__(self, what: str, *, after: float = 1.0) -> None:
        super().__init__(what)
        self.what = what
        self.after = after


class Fatal(Exception):
    """This process is in a state that only its end can mend."""


class TooManyDeadLetters(Fatal):
    """So many records in a row were invalid that the consumer, not the records, is likely wrong."""


class Refused(Exception):
    """A setting or a command that makes no sense, said in one line that tells what would."""
