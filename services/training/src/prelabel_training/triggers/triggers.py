"""When to train: a pure decision over what is stored.

    state, decision = decide(state, facts, rules, now_ms)

`TriggerState` is all that is remembered of a (project, model), and is stored; `Facts` are derived from the stored
examples each time, never counted up, so neither redelivery nor a crash can change them. Nothing is done here: who asks

1. reads the state, then the facts (in this order: facts are never older than the state that they are judged by),
2. decides, and stores the new state in place of the one that was read (compare-and-set; if another was faster: from 1),
3. does what was decided (publishes the request, or that it is cancelled), then stores `announced`.

A crash between any two of these repeats, and a decision that was stored is given again until it is announced, under the
same number: publish it under an id derived from that. Ask when something arrived or was told, after doing what was
decided, and at the moment that `Wait` names.

What it promises, whatever comes in which order, how often, and wherever it crashes:

* Nothing is dropped. What differs from what the last training was given is new until a training is requested with it.
* One at a time: the next is requested when the last has ended, or when one that was cancelled has lost its lease.
  That holds if a training whose end was told is never taken up again: write the end into its record first, then tell.
* Nobody trains the same again by asking while it is trained: the wish is met by that training, if it goes well.
* Storms: of what arrives within d seconds come at most d / gap + 2 trainings, if none fails and nobody asks for more.
  What came last is in a training requested at the latest `quiet_seconds` after it, or when the one under way then ends.
* A training that failed is repeated on the same data a few times, ever more seldom; one that was cancelled, or whose
  data cannot be learned from, is not. Their examples are in the next one.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final


class Phase(StrEnum):
    """How far a training is. All but the first two are ends."""

    RUNNING = "running"
    """Requested; a trainer may be at work."""
    CANCELLING = "cancelling"
    """Cancelled, but a trainer may not have noticed yet."""
    TRAINED = "trained"
    CANCELLED = "cancelled"
    FAILED = "failed"
    """A crash, too much time or memory: may go well another time."""
    REFUSED = "refused"
    """The trainer cannot learn from this data: only other data helps."""


UNDER_WAY: Final = frozenset((Phase.RUNNING, Phase.CANCELLING))
_REVOKED: Final = frozenset((Phase.CANCELLING, Phase.CANCELLED))


class Reason(StrEnum):
    """Why a training starts, or why none does."""

    ENOUGH = "enough"
    """`every_n` new examples."""
    QUIET = "quiet"
    """New examples, and no more for `quiet_seconds`."""
    SCHEDULE = "schedule"
    ASKED = "asked"
    AGAIN = "again"
    """The last one failed; it is repeated."""

    RUNNING = "running"
    CANCELLING = "cancelling"
    TOO_FEW = "too_few"
    GATHERING = "gathering"
    """New examples, but fewer than `every_n`, and no other rule."""
    BY_HAND = "by_hand"
    """New examples, and no rule that starts a training."""
    ALREADY = "already"
    """Nothing is new since the training that was under way when it was asked for."""
    NOTHING_NEW = "nothing_new"
    GIVEN_UP = "given_up"
    """The last training failed, was refused or was cancelled, and nothing is new since."""


_SENTENCES: Final[Mapping[Reason, str]] = {
    Reason.ENOUGH: "{have} new examples ({need} start a training).",
    Reason.QUIET: "{have} new; a training starts when no more come for a while.",
    Reason.SCHEDULE: "{have} new; the next training is scheduled.",
    Reason.ASKED: "Asked for by hand.",
    Reason.AGAIN: "The last training failed; it is tried again ({have} of {need} attempts made).",
    Reason.RUNNING: "Training {have} is under way; what comes meanwhile starts the next.",
    Reason.CANCELLING: "Training {have} was cancelled; the next can start when its trainer has stopped.",
    Reason.TOO_FEW: "Too few examples: {have} of at least {need}; {missing} more needed (held-out tasks do not count).",
    Reason.GATHERING: "{have} new, {missing} more start a training.",
    Reason.BY_HAND: "{have} new; trainings of this model start by hand only.",
    Reason.ALREADY: "Training {have} has been given all there is; to train on the same again, ask when it has ended.",
    Reason.NOTHING_NEW: "Nothing new since the last training.",
    Reason.GIVEN_UP: "The last training: {phase}. Nothing is new since; new examples start the next, or ask by hand.",
}


@dataclass(frozen=True, slots=True)
class Why:
    """A reason: a word for machines, numbers, a sentence for people."""

    reason: Reason
    have: int = 0
    need: int = 0
    phase: Phase | None = None
    """How the last training ended, where that is the reason."""

    @property
    def sentence(self) -> str:
        """For people."""
        missing = max(0, self.need - self.have)
        return _SENTENCES[self.reason].format(have=self.have, need=self.need, missing=missing, phase=self.phase)


@dataclass(frozen=True, slots=True)
class TriggerRules:
    """What starts a training of a model, and what must be there. Raises ValueError for rules that make no sense."""

    every_n: int | None = 20
    """New examples, 1 or more."""
    quiet_seconds: float | None = 30.0
    """More than 0."""
    schedule_seconds: float | None = None
    """Between one training and the next, if anything is new; more than 0."""
    minimum: int = 10
    """Examples below which nobody trains, asked by hand or not; 1 or more."""
    gap_seconds: float | None = None
    """Least time from the request of a training to the next that nobody asked for. None: 10, or less if `quiet_seconds`
    is."""
    attempts: int = 3
    """On the same data, if they fail; 1 or more."""
    retry_seconds: float = 60.0
    """Before the second attempt; each further waits twice as long. More than 0."""
    grace_seconds: float = 60.0
    """After which the trainer of a cancelled training has surely stopped: no less than its lease lasts."""

    def __post_init__(self) -> None:
        for name in ("every_n", "minimum", "attempts"):
            count = getattr(self, name)
            if count is not None and count < 1:
                raise ValueError(f"{name} must be 1 or more, not {count}")
        for name in ("quiet_seconds", "schedule_seconds", "retry_seconds", "grace_seconds"):
            seconds = getattr(self, name)
            if seconds is not None and not 0 < seconds < math.inf:
                raise ValueError(f"{name} must be more than 0, not {seconds}")
        if self.gap_seconds is not None and not 0 <= self.gap_seconds < math.inf:
            raise ValueError(f"gap_seconds must be 0 or more, not {self.gap_seconds}")
        if self.gap_seconds is not None and self.quiet_seconds is not None and self.gap_seconds > self.quiet_seconds:
            raise ValueError("gap_seconds must not exceed quiet_seconds: what came last would wait longer than that")

    @property
    def gap_ms(self) -> int:
        """The gap that holds."""
        if self.gap_seconds is not None:
            return _ms(self.gap_seconds)
        return _ms(min(10.0, self.quiet_seconds or 10.0))


@dataclass(frozen=True, slots=True)
class Facts:
    """What is stored, at one moment: a training that is requested now is given exactly this."""

    examples: int
    """To learn from: one per task, held-out ones not included."""
    fingerprint: str
    """The name of their set."""
    cut: int
    """Offset of the last annotation that is stored; -1 for none."""
    new: int
    """Tasks whose example came, went or changed since the last training's set. An estimate will do (offsets after its
    cut): whether anything is new at all is told by the fingerprint, which also notices what came late."""
    config: str = ""
    """Hash of the project's configuration, which a training is made of too. It starts none: who changes it may ask."""


@dataclass(frozen=True, slots=True)
class Training:
    """A training that was requested."""

    number: int
    """From 1, per project and model: with these it is its name."""
    reason: Reason
    cut: int
    fingerprint: str
    examples: int
    requested_ms: int
    attempt: int = 1
    """On this data."""
    phase: Phase = Phase.RUNNING
    phase_ms: int = 0
    """Since when."""
    announced: bool = False
    """That it is requested, or cancelled, has been published."""
    config: str = ""
    """Hash of the project's configuration that it was given."""


@dataclass(frozen=True, slots=True)
class TriggerState:
    """All that is remembered of one model of a project."""

    since_ms: int
    """When the last training was requested; before the first: when this was made."""
    seen: str = ""
    """The newest set of examples that was noticed."""
    seen_ms: int = 0
    asked: int = 0
    """The last wish for a training by hand. Wishes are numbered by whoever hands them in: a later one is greater."""
    served: int = 0
    """The last wish that led to a training, was met by one, or was refused."""
    amid: int = 0
    """The last wish that came while a training was running."""
    last: Training | None = None

    @property
    def under_way(self) -> Training | None:
        """The training that has not ended."""
        return self.last if self.last is not None and self.last.phase in UNDER_WAY else None


@dataclass(frozen=True, slots=True)
class Start:
    """Publish that this training is requested, then store `announced`."""

    training: Training


@dataclass(frozen=True, slots=True)
class Stop:
    """Publish that this training is cancelled, then store `announced`."""

    training: Training


@dataclass(frozen=True, slots=True)
class Wait:
    """Ask again at that moment, if nothing comes before."""

    until_ms: int
    why: Why


@dataclass(frozen=True, slots=True)
class Nothing:
    """Ask again when something comes."""

    why: Why


@dataclass(frozen=True, slots=True)
class Refused:
    """No training for this wish. Ask again at once: there may be more to say."""

    wish: int
    why: Why


@dataclass(frozen=True, slots=True)
class Met:
    """The training that was under way when this wish came is the answer to it. Ask again at once, too."""

    wish: int
    number: int
    """Of the training."""
    why: Why


Decision = Start | Stop | Wait | Nothing | Refused | Met
Decided = tuple[TriggerState, Decision]


# --------------------------------------------------------------------------------------------------- what is told


def asked(state: TriggerState, wish: int) -> TriggerState:
    """Somebody wants a training: told again it is one wish, and several that wait are one training.

    One that comes while another runs is met by that one if nothing is new since and it goes well; else it waits for it.
    """
    if wish <= state.asked:
        return state
    running = state.last is not None and state.last.phase is Phase.RUNNING
    return replace(state, asked=wish, amid=wish if running else state.amid)


def announced(state: TriggerState, training: Training) -> TriggerState:
    """What was decided about a training has been published. Says nothing of what has been decided since."""
    last = state.last
    if last is None or last.number != training.number or (last.phase in _REVOKED) != (training.phase in _REVOKED):
        return state
    return replace(state, last=replace(last, announced=True))


def given(state: TriggerState, number: int, facts: Facts) -> TriggerState:
    """A training was given these examples: what was stored after it had been decided is in it, and is not new."""
    last = state.last
    if last is None or last.number != number:
        return state
    last = replace(last, cut=facts.cut, fingerprint=facts.fingerprint, examples=facts.examples, config=facts.config)
    return replace(state, last=last)


def cancelled(state: TriggerState, number: int, now_ms: int) -> TriggerState:
    """Somebody wants no more of a training. One that has ended, or is not the last, stays what it is."""
    last = state.last
    if last is None or last.number != number or last.phase is not Phase.RUNNING:
        return state
    return replace(state, last=replace(last, phase=Phase.CANCELLING, phase_ms=now_ms, announced=False))


def ended(state: TriggerState, number: int, end: Phase, now_ms: int) -> TriggerState:
    """A training has ended, told any number of times, however late. Cancelled is cancelled, whatever came of it.

    Raises ValueError for a phase that is no end.
    """
    if end in UNDER_WAY:
        raise ValueError(f"{end} is no end of a training")
    last = state.under_way
    if last is None or last.number != number:
        return state
    end = Phase.CANCELLED if last.phase is Phase.CANCELLING else end
    return replace(state, last=replace(last, phase=end, phase_ms=now_ms))


# ------------------------------------------------------------------------------------------------------- deciding


def decide(state: TriggerState, facts: Facts, rules: TriggerRules, now_ms: int) -> Decided:
    """What to do now, and what to remember of it."""
    state = _noticed(_not_after(state, now_ms), facts, now_ms)
    if (met := _met(state, facts)) is not None:
        return replace(state, served=met.wish), met
    busy = _busy(state.last, rules, now_ms) if state.last else None
    if busy is not None:
        return state, busy
    if state.under_way is not None:
        state = ended(state, state.under_way.number, Phase.CANCELLED, now_ms)
    if state.asked > state.served:
        return _by_hand(state, facts, rules, now_ms)
    return _by_itself(state, facts, rules, now_ms)


def _met(state: TriggerState, facts: Facts) -> Met | None:
    """That the open wish is met: who asked while a training ran gets that one, not the same trained once more.

    No other training can have started since the wish came: it would have been by that wish. One that was cancelled, or
    went wrong, meets none.
    """
    last = state.last
    if last is None or last.phase not in (Phase.RUNNING, Phase.TRAINED) or not state.served < state.asked <= state.amid:
        return None
    if (last.fingerprint, last.config) != (facts.fingerprint, facts.config):
        return None
    return Met(state.asked, last.number, Why(Reason.ALREADY, last.number))


def _busy(last: Training, rules: TriggerRules, now_ms: int) -> Decision | None:
    """What the last training leaves to do, or why no other can start; None if it is in nobody's way."""
    stopped_ms = last.phase_ms + _ms(rules.grace_seconds)
    if last.phase in _REVOKED and not last.announced:
        return Stop(last)
    if last.phase is Phase.CANCELLING and now_ms < stopped_ms:
        return Wait(stopped_ms, Why(Reason.CANCELLING, last.number))
    if last.phase is Phase.RUNNING:
        return Nothing(Why(Reason.RUNNING, last.number)) if last.announced else Start(last)
    return None


def _by_hand(state: TriggerState, facts: Facts, rules: TriggerRules, now_ms: int) -> Decided:
    wish = state.asked
    state = replace(state, served=wish)
    if facts.examples < rules.minimum:
        return state, Refused(wish, Why(Reason.TOO_FEW, facts.examples, rules.minimum))
    return _start(state, facts, Reason.ASKED, now_ms)


def _by_itself(state: TriggerState, facts: Facts, rules: TriggerRules, now_ms: int) -> Decided:
    if facts.examples < rules.minimum:
        return state, Nothing(Why(Reason.TOO_FEW, facts.examples, rules.minimum))
    new = _new(state, facts)
    due = _due(state, new, rules)
    if not due:
        return state, Nothing(_idle(state, new, rules))
    rested_ms = state.since_ms + rules.gap_ms if state.last else 0
    why = min(due, key=lambda one: max(due[one], rested_ms))
    until_ms = max(due[why], rested_ms)
    return _start(state, facts, why.reason, now_ms) if until_ms <= now_ms else (state, Wait(until_ms, why))


def _due(state: TriggerState, new: int, rules: TriggerRules) -> Mapping[Why, int]:
    """From when on each rule that will start a training, as things stand, starts it; the strongest first."""
    due: dict[Why, int] = {}
    if new and rules.every_n is not None and new >= rules.every_n:
        due[Why(Reason.ENOUGH, new, rules.every_n)] = 0
    if new and rules.quiet_seconds is not None:
        due[Why(Reason.QUIET, new)] = state.seen_ms + _ms(rules.quiet_seconds)
    if new and rules.schedule_seconds is not None:
        due[Why(Reason.SCHEDULE, new)] = state.since_ms + _ms(rules.schedule_seconds)
    last = state.last
    if last is not None and last.phase is Phase.FAILED and last.attempt < rules.attempts:
        again_ms = last.phase_ms + _ms(rules.retry_seconds) * 2 ** (last.attempt - 1)
        due[Why(Reason.AGAIN, last.attempt, rules.attempts)] = again_ms
    return due


def _idle(state: TriggerState, new: int, rules: TriggerRules) -> Why:
    if new:
        return Why(Reason.BY_HAND, new) if rules.every_n is None else Why(Reason.GATHERING, new, rules.every_n)
    phase = state.last.phase if state.last else Phase.TRAINED
    return Why(Reason.NOTHING_NEW) if phase is Phase.TRAINED else Why(Reason.GIVEN_UP, phase=phase)


def _new(state: TriggerState, facts: Facts) -> int:
    """How much a training now would be given that the last one was not: at least 1 exactly if the sets differ."""
    if state.last is not None and state.last.fingerprint == facts.fingerprint:
        return 0
    return max(1, facts.new)


def _start(state: TriggerState, facts: Facts, reason: Reason, now_ms: int) -> Decided:
    last = state.last
    repeats = last is not None and last.phase is Phase.FAILED and last.fingerprint == facts.fingerprint
    training = Training(
        number=last.number + 1 if last else 1,
        reason=reason,
        cut=facts.cut,
        fingerprint=facts.fingerprint,
        examples=facts.examples,
        requested_ms=now_ms,
        attempt=last.attempt + 1 if last and repeats else 1,
        phase_ms=now_ms,
        config=facts.config,
    )
    return replace(state, since_ms=now_ms, last=training), Start(training)


def _noticed(state: TriggerState, facts: Facts, now_ms: int) -> TriggerState:
    """When the examples last changed, by our own clock: those of other machines say what they like."""
    return state if facts.fingerprint == state.seen else replace(state, seen=facts.fingerprint, seen_ms=now_ms)


def _not_after(state: TriggerState, now_ms: int) -> TriggerState:
    """A clock that was put back makes nobody wait longer than a period."""
    last = state.last
    if last is not None and last.phase_ms > now_ms:
        last = replace(last, phase_ms=now_ms)
    if max(state.since_ms, state.seen_ms) <= now_ms and last is state.last:
        return state
    return replace(state, since_ms=min(state.since_ms, now_ms), seen_ms=min(state.seen_ms, now_ms), last=last)


def _ms(seconds: float) -> int:
    return math.ceil(seconds * 1000)
