"""Why a call did not do, by what the engine does next.

Throttled       the target asks for fewer calls       -> wait as long as it says, fewer at once, then again
TargetFailed    it failed, hung or made no sense      -> fewer at once, again within the budget, the breaker counts
TargetRefuses   it will refuse every call like this   -> the breaker opens at once: nobody's input is at fault
InputRefused    it does not take these inputs         -> one by one; the one that is refused alone fails
NotAllowed      this installation does not call it    -> fails, and is never sent

Details are for people who look at a failed prediction: never an answer's text, which may quote an input or a secret.
"""


class CallFailed(Exception):
    """Base: a word for machines, and a sentence."""

    reason = "failed"

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class Throttled(CallFailed):
    """Too many calls."""

    reason = "rate_limited"

    def __init__(self, detail: str, *, after: float | None = None) -> None:
        """`after`: seconds that the target asked to wait."""
        super().__init__(detail)
        self.after = after


class TargetFailed(CallFailed):
    """The target's fault; the same call may do better later."""

    reason = "unavailable"

    def __init__(self, detail: str, *, after: float | None = None, late: bool = False) -> None:
        """`after`: seconds that the target asked to wait; `late`: there was no whole answer in time."""
        super().__init__(detail)
        self.after = after
        self.late = late


class TargetRefuses(CallFailed):
    """Wrong address, credential or form: the settings or the target must change."""

    reason = "refused"


class InputRefused(CallFailed):
    """These inputs are not taken."""

    reason = "input"


class NotAllowed(CallFailed):
    """The installation's policy, or a secret that is not to be had, forbids the call."""

    reason = "not_allowed"
