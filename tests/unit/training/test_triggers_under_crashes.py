"""Whatever comes in which order, how often, and wherever a decider dies: nothing is dropped, and one trains at a time.

The machine below is everything around the pure core, taken apart into its steps: a log, a store that is written in any
order, two processes that decide (each can die between any two steps; what is stored is all that stays), trainers that
hold a lease, and messages about ends and wishes that come late and twice.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from prelabel_runtime.store.base import StoredAnnotation
from prelabel_training.examples.fingerprint import content, fingerprint
from prelabel_training.examples.holdout import in_holdout
from prelabel_training.examples.policy import Policy, derive
from prelabel_training.triggers.triggers import (
    UNDER_WAY,
    Decision,
    Facts,
    Nothing,
    Phase,
    Reason,
    Start,
    Stop,
    Training,
    TriggerRules,
    TriggerState,
    Wait,
    announced,
    asked,
    cancelled,
    decide,
    ended,
)

from .annotated import annotated

RULES = TriggerRules(every_n=3, quiet_seconds=5, minimum=2, attempts=2, retry_seconds=7, grace_seconds=10)
GRACE_MS = 10_000
TASKS = [f"task-{number}" for number in range(8)]
Set = dict[str, str]
GOES_ON = st.sampled_from([True, True, True, False])
"""Trainings take many steps of others."""


def plain(training: Training) -> Training:
    """What of a training never changes."""
    return replace(training, phase=Phase.RUNNING, phase_ms=0, announced=False)


class Loop(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.now_ms = 1_000_000
        self.log: list[StoredAnnotation] = []
        self.kept: dict[str, list[StoredAnnotation]] = {}
        self.state = TriggerState(since_ms=self.now_ms)
        self.askers: list[Iterator[None] | None] = [None, None]
        self.sets: dict[str, Set] = {}
        """What was in the sets that were ever named."""
        self.given: dict[int, Training] = {}
        """By number: what was stored as requested."""
        self.requests: list[Training] = []
        self.stops: set[int] = set()
        self.cancelled: set[int] = set()
        self.at_work: set[int] = set()
        self.ends: list[tuple[int, Phase]] = []
        self.wishes = 0
        self.amid: dict[int, int] = {}
        """By wish: the training that was running when it came."""
        self.decision: Decision | None = None
        """The last that was made."""

    @initialize(labels=st.lists(st.sampled_from("xyz"), max_size=len(TASKS)))
    def some_are_there(self, labels: list[str]) -> None:
        for task, label in zip(TASKS, labels, strict=False):
            self.annotate(task, "a", label, "", delivered=True)

    # ------------------------------------------------------------------------------------------------ what is stored

    def examples(self) -> Set:
        found: Set = {}
        for task, versions in self.kept.items():
            derived = None if in_holdout("p", task, 0.2) else derive(versions, Policy.MAJORITY)
            if derived is not None:
                found[task] = content({"text": task}, [{"said": derived.annotation.body}])
        return found

    def facts(self, state: TriggerState) -> Facts:
        examples = self.examples()
        name = fingerprint(examples.items())
        self.sets[name] = examples
        cut = state.last.cut if state.last else -1
        stored = [one for versions in self.kept.values() for one in versions]
        after = {one.task for one in stored if one.offset > cut}  # an estimate: it misses what comes late
        return Facts(len(examples), name, max((one.offset for one in stored), default=-1), len(after))

    def keep(self, state: TriggerState) -> None:
        last = state.last
        if last is not None and last.number not in self.given:
            assert last.number == len(self.given) + 1
            self.check_not_in_vain(last)
            self.given[last.number] = last
        self.state = state

    def check_not_in_vain(self, new: Training) -> None:
        """Who asked while a training ran that went well is not given the same once more."""
        before = self.state.last
        if new.reason is Reason.ASKED and before is not None and before.phase is Phase.TRAINED:
            assert self.amid.get(self.wishes) != before.number or new.fingerprint != before.fingerprint

    # ------------------------------------------------------------------------------------------- those who decide

    def asking(self) -> Iterator[None]:
        """One look, a step at a time."""
        state = self.state
        yield
        facts = self.facts(state)
        yield
        new, decision = decide(state, facts, RULES, self.now_ms)
        if self.state is not state:
            return  # another was faster
        self.keep(new)
        self.decision = decision
        yield
        if isinstance(decision, Start | Stop):
            self.publish(decision)
            yield
            self.state = announced(self.state, decision.training)

    def publish(self, decision: Start | Stop) -> None:
        if isinstance(decision, Start):
            self.requests.append(decision.training)
        else:
            self.stops.add(decision.training.number)

    @rule(who=st.integers(0, 1), steps=st.integers(1, 5))
    def somebody_takes_steps(self, who: int, steps: int) -> None:
        for _ in range(steps):
            asker = self.askers[who]
            if asker is None:
                asker = self.askers[who] = self.asking()
            if next(asker, self) is self:
                self.askers[who] = None

    @rule()
    def somebody_looks(self) -> None:
        for _ in self.asking():
            pass

    @rule(who=st.integers(0, 1))
    def somebody_dies(self, who: int) -> None:
        self.askers[who] = None

    # ----------------------------------------------------------------------------------------------- what arrives

    @rule(
        task=st.sampled_from(TASKS),
        by=st.sampled_from("ab"),
        label=st.sampled_from("xyz"),
        kind=st.sampled_from(["", "", "", "deleted", "skipped", "ground_truth"]),
        delivered=st.booleans(),
    )
    def annotate(self, task: str, by: str, label: str, kind: str, delivered: bool) -> None:
        self.log.append(annotated(len(self.log), label, by=by, task=task, marked=[kind]))
        if delivered:
            self.store(self.log[-1])

    @precondition(lambda self: self.log)
    @rule(data=st.data())
    def deliver(self, data: st.DataObject) -> None:
        """Anything of the log, again or for the first time, in any order."""
        self.store(data.draw(st.sampled_from(self.log)))

    def store(self, one: StoredAnnotation) -> None:
        versions = self.kept.setdefault(one.task, [])
        if one not in versions:
            versions.append(one)

    @rule(ms=st.sampled_from([1, 1000, 5000, 12_000, 40_000]))
    def time_passes(self, ms: int) -> None:
        self.now_ms += ms
        self.leases_run_out()

    @rule(wished=st.sampled_from([True, True, False]))
    def ask_by_hand(self, wished: bool) -> None:
        running = self.state.last
        if wished:
            self.wishes += 1
            if running is not None and running.phase is Phase.RUNNING:
                self.amid[self.wishes] = running.number
        self.state = asked(self.state, self.wishes)  # not wished: the last one is told again

    # ------------------------------------------------------------------------------------------------ who trains

    def leases_run_out(self) -> None:
        """Who trains something that was cancelled cannot renew, and stops before its lease is over."""
        for number in list(self.at_work):
            last = self.state.last
            if last is None or last.number != number or last.phase is Phase.RUNNING:
                continue
            if last.phase is not Phase.CANCELLING or last.phase_ms + GRACE_MS <= self.now_ms:
                self.at_work.discard(number)

    def may_train(self, number: int) -> bool:
        last = self.state.last
        if number in self.at_work or number in {ended_one for ended_one, _ in self.ends}:
            return False  # its record says that it has ended, before anybody is told
        return last is not None and (last.number, last.phase) == (number, Phase.RUNNING)

    @precondition(lambda self: self.requests)
    @rule(data=st.data())
    def take(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(self.requests[-2:])).number
        if self.may_train(number):
            self.at_work.add(number)

    @precondition(lambda self: self.at_work)
    @rule(end=st.sampled_from([Phase.TRAINED, Phase.FAILED, Phase.REFUSED, None]), told=st.booleans(), much=GOES_ON)
    def a_trainer_ends_or_dies(self, end: Phase | None, told: bool, much: bool) -> None:
        if much:
            return
        number = self.at_work.pop()
        if end is not None:
            self.ends.append((number, end))
        if end is not None and told:
            self.tell(len(self.ends) - 1)

    @precondition(lambda self: self.ends)
    @rule(data=st.data())
    def somebody_tells_an_end(self, data: st.DataObject) -> None:
        self.tell(data.draw(st.integers(0, len(self.ends) - 1)))

    def tell(self, index: int) -> None:
        number, end = self.ends[index]
        self.state = ended(self.state, number, end, self.now_ms)

    @precondition(lambda self: self.given)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(sorted(self.given)[-2:]))
        before, self.state = self.state, cancelled(self.state, number, self.now_ms)
        if self.state is not before:
            self.cancelled.add(number)

    # -------------------------------------------------------------------------------------------------- promises

    @invariant()
    def one_trains_at_a_time(self) -> None:
        assert len(self.at_work) <= 1

    @invariant()
    def a_number_means_one_training(self) -> None:
        assert all(plain(one) == plain(self.given[one.number]) for one in self.requests)

    @invariant()
    def no_more_by_hand_than_wished(self) -> None:
        assert Counter(one.reason for one in self.given.values())[Reason.ASKED] <= self.wishes

    @invariant()
    def nobody_trains_with_too_few(self) -> None:
        assert all(len(self.sets[one.fingerprint]) >= RULES.minimum for one in self.given.values())

    @invariant()
    def the_same_data_are_tried_no_more_often_than_allowed(self) -> None:
        assert all(one.attempt <= RULES.attempts or one.reason is Reason.ASKED for one in self.given.values())

    def teardown(self) -> None:
        """From wherever it was left: with nobody dying any more, all that ever came is in the last training."""
        for one in self.log:
            self.store(one)
        self.askers = [None, None]
        self.decision = None
        for _ in range(100):
            self.settle_once()
            if isinstance(self.decision, Nothing) and self.state.under_way is None:
                break
        else:
            raise AssertionError(f"no end: {self.state} {self.decision}")
        self.check_nothing_dropped()

    def settle_once(self) -> None:
        self.somebody_looks()
        last = self.state.last
        if last is not None and last.phase is Phase.RUNNING and last.announced:
            assert last.number in {one.number for one in self.requests}
            self.at_work.clear()
            self.state = ended(self.state, last.number, Phase.TRAINED, self.now_ms)
            self.decision = None
        elif isinstance(self.decision, Wait):
            self.now_ms = self.decision.until_ms
            self.leases_run_out()

    def check_nothing_dropped(self) -> None:
        assert isinstance(self.decision, Nothing)
        last, examples, reason = self.state.last, self.examples(), self.decision.why.reason
        assert self.state.asked == self.state.served
        assert {number for number in self.given if number not in self.cancelled} <= {r.number for r in self.requests}
        assert self.cancelled <= self.stops
        if len(examples) < RULES.minimum:
            assert reason is Reason.TOO_FEW
            return
        assert last is not None
        assert last.phase not in UNDER_WAY
        assert self.sets[last.fingerprint] == examples, "something was dropped"
        given_up = last.phase is not Phase.TRAINED
        assert reason is (Reason.GIVEN_UP if given_up else Reason.NOTHING_NEW)
        assert last.phase is not Phase.FAILED or last.attempt >= RULES.attempts


TestLoop = Loop.TestCase
TestLoop.settings = settings(max_examples=120, stateful_step_count=80, deadline=None)
