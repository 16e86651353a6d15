"""The checker: what was lost, doubled, reordered, called too often or set aside, judged from outside.

It reads four witnesses and trusts none alone: the client's ledger (what was promised), the raw topics, the
ledger that the model keeps of its own calls, and the store. None of Prelabel's own code reads them.

    python -m tests.failure.checker --log sqlite:////tmp/x/log.db --store sqlite:////tmp/x/results.db \\
        [--prefix P.] [--client FILE] [--ledger MODEL=FILE ...] [--crashes N] [--out out/demo.json]

Exit code 0: nothing is wrong; 1: something is, and the report says what.

The rules:

- A task that was acknowledged has one accepted event (or one rejection), and each model of its project has
  exactly one outcome for it: in the log, and the same in the store. What was not acknowledged may be there or
  not, but not half.
- Delivered twice is no fault (the bus promises at-least-once): two records with one id and the same content are
  counted as repeated. Two ids, two contents or two documents for one thing are doubled.
- A request that is delivered again after another version began to serve is answered by that version, under the same
  id: no fault either, as long as the store keeps the first. Whoever reads the log knows an id that it has seen. Two
  contents of one version are doubled, and so are two versions of a model of which only one ever served.
- A promotion asks again about tasks that were accepted before: such a request names the change that it came of, which
  is in the log, and ends once like any other. It may be asked in rounds, no more of them than somebody said to have
  loaded a version of the model.
- A model may see a task once more per crash, not more often.
- A record set aside (dead letter) is neither lost nor done: it is listed with its reason.
"""

import argparse
import json
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.failure.log import LogRecord, read_log
from tests.failure.stored import StoreDump, read_store
from tests.rig.client import content_of

MAX_TOLD = 20
"""Findings of one kind that a report lists; the count is of all."""

_SUBMITTED = "prelabel.task.submitted.v1"
_ACCEPTED = "prelabel.task.accepted.v1"
_REJECTED = "prelabel.task.rejected.v1"
_DELETED = "prelabel.task.deleted.v1"
_REQUESTED = "prelabel.prediction.requested.v1"
_SERVING = ("prelabel.model.serving.v1", "prelabel.model.promoted.v1", "prelabel.model.rolled_back.v1")
"""What tells a change of what serves: the pointer's own topic is compacted, and forgets all but the last one."""
_LOADED = "prelabel.model.loaded.v1"
_OUTCOMES = ("prelabel.prediction.created.v1", "prelabel.prediction.failed.v1")
_CONFIG = "prelabel.config.published.v1"
_ANNOTATED = "prelabel.annotation.submitted.v1"
_RESOLVED = "prelabel.dead_letter.resolved.v1"
"""Said by a group among its dead letters: it has handled one after all."""
_WHY_ASIDE = "prelabel-dead-letter"
_TOLD = (
    *("rejected", "acknowledged", "unknown", "refused", "retries", "repeated_records", "repeated_calls"),
    *("most_calls", "asked_again", "answered_across", "annotations"),
)
"""Counts of a report, beside those that its file begins with."""
_UID = 36
"""Characters of a task's uid."""
_MOMENTS = {"accepted_ms", "correlation", "lane", "run"}
"""Fields of an outcome that belong to the delivery of its request, not to what the model said."""

Ref = tuple[str, str]
"""(project, the client's id of a task)"""


@dataclass(frozen=True, slots=True)
class Promises:
    """The client's ledger, read: what it was told of each task, and of each annotation."""

    acknowledged: frozenset[Ref] = frozenset()
    unknown: frozenset[Ref] = frozenset()
    refused: frozenset[Ref] = frozenset()
    last_content: Mapping[Ref, str] = field(default_factory=dict)
    """Of tasks whose last send was acknowledged: what tells its content."""
    annotations: frozenset[str] = frozenset()

    @classmethod
    def read(cls, path: Path) -> "Promises":
        """From the file. A last line that was cut off by a kill is left out."""
        said: dict[Ref, set[str]] = defaultdict(set)
        last: dict[Ref, str] = {}
        annotations: set[str] = set()
        for line in path.read_text().splitlines():
            try:
                one = json.loads(line)
            except ValueError:
                continue
            if "annotation" in one:
                annotations.add(one["annotation"])
                continue
            ref = (one["project"], one["id"])
            said[ref].add(one["said"])
            if one["said"] == "acknowledged":
                last[ref] = one["content"]
            elif one["said"] != "refused":
                last.pop(ref, None)
        acknowledged = {ref for ref, words in said.items() if "acknowledged" in words}
        refused = {ref for ref, words in said.items() if words == {"sent", "refused"}}
        return cls(
            acknowledged=frozenset(acknowledged),
            unknown=frozenset(said.keys() - acknowledged - refused),
            refused=frozenset(refused),
            last_content=last,
            annotations=frozenset(annotations),
        )


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong."""

    what: str
    task: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A record set aside for good."""

    group: str
    reason: str
    task: str
    detail: str = ""


@dataclass(slots=True)
class Report:
    """The verdict. Counts are of tasks unless they say otherwise."""

    tasks: int = 0
    """Accepted, each counted once."""
    rejected: int = 0
    acknowledged: int = 0
    unknown: int = 0
    refused: int = 0
    outcomes: dict[str, dict[str, int]] = field(default_factory=dict)
    """Requests by model and state, as stored."""
    lost: list[Finding] = field(default_factory=list)
    doubled: list[Finding] = field(default_factory=list)
    reordered: list[Finding] = field(default_factory=list)
    called_too_often: list[Finding] = field(default_factory=list)
    dead_letters: list[DeadLetter] = field(default_factory=list)
    retries: int = 0
    """Records that were ever put into a retry topic."""
    repeated_records: int = 0
    """Deliveries of the same event beyond the first."""
    repeated_calls: int = 0
    """Calls of models beyond the first per task."""
    most_calls: int = 0
    """Calls of one model for one task, at most."""
    asked_again: int = 0
    """Requests that came of a promotion."""
    answered_across: int = 0
    """Requests that a second version answered too, when they were delivered again: the first one's answer counts."""
    annotations: int = 0
    seconds: float = 0.0
    """From the first task at the door to the last outcome in the log."""

    @property
    def clean(self) -> bool:
        """Nothing lost, doubled, reordered or called too often. Dead letters are for the caller to judge."""
        return not (self.lost or self.doubled or self.reordered or self.called_too_often)

    @property
    def wrong(self) -> Mapping[str, int]:
        """Findings by kind, for messages."""
        kinds = ("lost", "doubled", "reordered", "called_too_often", "dead_letters")
        return {kind: len(getattr(self, kind)) for kind in kinds if getattr(self, kind)}

    def json(self) -> dict[str, Any]:
        """For files: counts, and the first findings of each kind."""
        ended = sum(sum(states.values()) - states.get("pending", 0) for states in self.outcomes.values())
        report = {
            "tasks": self.tasks,
            "outcomes": self.outcomes,
            "lost": len(self.lost),
            "duplicates": len(self.doubled),
            "reordered": len(self.reordered),
            "called_too_often": len(self.called_too_often),
            "dead_letters": len(self.dead_letters),
            "seconds": round(self.seconds, 3),
            "tasks_per_second": round(self.tasks / self.seconds, 1) if self.seconds else None,
            "outcomes_per_second": round(ended / self.seconds, 1) if self.seconds else None,
        }
        report |= {name: getattr(self, name) for name in _TOLD}
        kinds = ("lost", "doubled", "reordered", "called_too_often", "dead_letters")
        report["findings"] = {
            kind: [asdict(one) for one in getattr(self, kind)[:MAX_TOLD]] for kind in kinds if getattr(self, kind)
        }
        return report


@dataclass(frozen=True, slots=True)
class _Topics:
    """The log's events by what they are about, in the order in which they lie."""

    submitted: Mapping[str, list[LogRecord]]
    accepted: Mapping[str, list[LogRecord]]
    rejected: Mapping[str, list[LogRecord]]
    deleted: frozenset[str]
    requested: Mapping[str, list[LogRecord]]
    """By request."""
    outcomes: Mapping[str, list[LogRecord]]
    """By request."""
    models: Mapping[str, frozenset[str]]
    """The models of a project's configuration, by its hash."""
    served: Mapping[tuple[str, str], Mapping[int, str]]
    """By project and model: the version of each change of what serves, by its epoch."""
    loads: Mapping[tuple[str, str], int]
    """By project and model: how often somebody said to have loaded a version of it."""
    annotated: Mapping[str, list[LogRecord]]
    dead: Sequence[LogRecord]
    retries: int

    @classmethod
    def of(cls, log: Iterable[LogRecord]) -> "_Topics":
        by_type: dict[str, list[LogRecord]] = defaultdict(list)
        dead: list[LogRecord] = []
        retries = 0
        for record in log:
            if record.topic.startswith("prelabel.deadletters."):
                if record.type != _RESOLVED or record.header(_WHY_ASIDE):
                    dead.append(record)
            elif record.topic.startswith("prelabel.retry."):
                retries += 1
            elif record.topic not in ("prelabel.replies",) and not record.topic.startswith("prelabel.inbound."):
                by_type[record.type].append(record)
        return cls(
            submitted=_by("task", by_type[_SUBMITTED]),
            accepted=_by("task", by_type[_ACCEPTED]),
            rejected=_by("task", by_type[_REJECTED]),
            deleted=frozenset(_by("task", by_type[_DELETED])),
            requested=_by("request", by_type[_REQUESTED]),
            outcomes=_by("request", [record for kind in _OUTCOMES for record in by_type[kind]]),
            models={
                str(c.data["hash"]): frozenset(model["name"] for model in c.data["project"].get("models", ()))
                for c in by_type[_CONFIG]
            },
            served=_served([record for kind in _SERVING for record in by_type[kind]]),
            loads=_loads(by_type[_LOADED]),
            annotated=_by("annotation", by_type[_ANNOTATED]),
            dead=dead,
            retries=retries,
        )


def _by(name: str, records: Iterable[LogRecord]) -> Mapping[str, list[LogRecord]]:
    found: dict[str, list[LogRecord]] = defaultdict(list)
    for record in records:
        found[str(record.data.get(name))].append(record)
    return dict(found)


def _served(records: Iterable[LogRecord]) -> Mapping[tuple[str, str], Mapping[int, str]]:
    found: dict[tuple[str, str], dict[int, str]] = defaultdict(dict)
    for record in records:
        found[record.data["project"], record.data["model"]][int(record.data["epoch"])] = str(record.data["version"])
    return dict(found)


def _loads(records: Sequence[LogRecord]) -> Mapping[tuple[str, str], int]:
    said = [record.data for record in _first_of_each_id(records) if record.data.get("state") == "serving"]
    return Counter((str(one.get("project")), str(one.get("model"))) for one in said)


def check(
    log: Sequence[LogRecord],
    store: StoreDump,
    *,
    promises: Promises | None = None,
    calls: Mapping[str, Sequence[str]] | None = None,
    crashes: int = 0,
) -> Report:
    """The verdict on a run that is over.

    promises: without them every task in `submitted` counts as acknowledged.
    calls: by model, the uid of every task the model saw, in order and with repetitions.
    crashes: how many processes were killed: so often may a task be seen again.
    """
    topics = _Topics.of(log)
    judge = _Judge(topics, store, promises or Promises(), calls or {}, crashes)
    return judge.report()


class _Judge:
    def __init__(
        self,
        topics: _Topics,
        store: StoreDump,
        promises: Promises,
        calls: Mapping[str, Sequence[str]],
        crashes: int,
    ) -> None:
        self._topics = topics
        self._store = store
        self._promises = promises
        self._calls = calls
        self._crashes = crashes
        self._report = Report()
        self._aside: set[str] = set()
        """Keys (task uids) of records that some group set aside."""

    def report(self) -> Report:
        report = self._report
        report.dead_letters = [_dead_letter(record) for record in self._topics.dead]
        self._aside = {letter.task for letter in report.dead_letters}
        report.retries = self._topics.retries
        report.tasks = len(self._topics.accepted)
        report.rejected = len(self._topics.rejected)
        report.acknowledged = len(self._promises.acknowledged)
        report.unknown = len(self._promises.unknown)
        report.refused = len(self._promises.refused)
        report.seconds = self._seconds()
        states: dict[str, Counter[str]] = defaultdict(Counter)
        for outcome in self._store.outcomes:
            states[outcome.model][outcome.state] += 1
        report.outcomes = {model: dict(counts) for model, counts in sorted(states.items())}
        self._check_promises()
        self._check_dispatch()
        self._check_asked_again()
        self._check_outcomes()
        self._check_stored_tasks()
        self._check_stored_outcomes()
        self._check_calls()
        self._check_annotations()
        return report

    # ------------------------------------------------------------------------------------------------- verdicts

    def _lost(self, what: str, task: str, detail: str = "") -> None:
        if task not in self._aside and task not in self._topics.deleted:
            self._report.lost.append(Finding(what, task, detail))

    def _doubled(self, what: str, task: str, detail: str = "") -> None:
        self._report.doubled.append(Finding(what, task, detail))

    def _reordered(self, what: str, task: str, detail: str = "") -> None:
        self._report.reordered.append(Finding(what, task, detail))

    # --------------------------------------------------------------------------------------------------- checks

    def _check_promises(self) -> None:
        """What was acknowledged is in the log; what was refused is not."""
        uids: dict[Ref, set[str]] = defaultdict(set)
        for uid, records in self._topics.submitted.items():
            for record in records:
                uids[str(record.data.get("project")), str(record.data.get("id"))].add(uid)
        for ref in self._promises.acknowledged:
            if not uids[ref]:
                self._lost("acknowledged, and not in the log", "/".join(ref))
            if len(uids[ref]) > 1:
                self._doubled("one task under several uids", "/".join(ref))
            for uid in uids[ref] if ref in self._promises.last_content else ():
                if uid in self._topics.accepted:
                    records = self._topics.accepted[uid]
                    newest = max(records, key=lambda record: int(record.data["revision"]))
                    if content_of(newest.data["data"]) != self._promises.last_content[ref]:
                        self._reordered("the content sent last is not the newest", uid)
        for ref in self._promises.refused:
            if uids[ref]:
                self._doubled("refused, and taken all the same", "/".join(ref))

    def _check_dispatch(self) -> None:
        """Every submitted task was accepted once, with one request per model, or rejected."""
        for uid in self._topics.submitted:
            if uid not in self._topics.accepted and uid not in self._topics.rejected:
                self._lost("submitted, and neither accepted nor rejected", uid)
        for uid, records in self._topics.accepted.items():
            if uid not in self._topics.submitted:
                self._doubled("accepted, and never submitted", uid)
            self._note_repeats(records)
            first = _first_of_each_id(records)
            new = [record for record in first if not record.data.get("unchanged", False)]
            if not new:
                self._lost("said to be unchanged, and never accepted before", uid)
            revisions = [int(record.data["revision"]) for record in new]
            if len(set(revisions)) < len(new):
                self._doubled("accepted under several ids", uid, f"{len(new)} events")
            if revisions != sorted(revisions):
                self._reordered("accepted in another order than submitted", uid, str(revisions))
            for record in new:
                self._check_requests(uid, record)

    def _check_requests(self, uid: str, accepted: LogRecord) -> None:
        asked = Counter(ref["model"] for ref in accepted.data.get("requests", ()))
        wanted = self._topics.models.get(str(accepted.data.get("config")))
        if wanted is None:
            self._lost("accepted under a configuration that is not in the log", uid)
        for model in (wanted or set()) - asked.keys():
            self._lost("a model of the project was not asked", uid, model)
        for model, times in asked.items():
            if times > 1:
                self._doubled("a model was asked several times", uid, model)
        for ref in accepted.data.get("requests", ()):
            if ref["request"] not in self._topics.requested:
                self._lost("accepted, and the request is not in the log", uid, ref["model"])

    def _check_outcomes(self) -> None:
        """Every request ends once, and nothing ends that nobody asked for."""
        asked = self._asked()
        for request, (uid, model) in asked.items():
            records = self._topics.outcomes.get(request, [])
            if not records:
                self._lost("no outcome in the log", uid, model)
            self._note_repeats(records)
            if len({record.id for record in records}) > 1:
                self._doubled("outcomes under several ids", uid, model)
            if len({_said(record) for record in records}) > 1:
                self._check_versions(uid, model, records)
        for topic, what in (
            (self._topics.requested, "requested, and by no accepted task"),
            (self._topics.outcomes, "an outcome that nobody asked for"),
        ):
            for request in topic.keys() - asked.keys():
                data = topic[request][0].data
                self._doubled(what, str(data.get("task")), str(data.get("model")))
        for records in self._topics.requested.values():
            self._note_repeats(records)
            if len({record.id for record in records}) > 1:
                self._doubled("a request under several ids", str(records[0].data.get("task")))

    def _check_versions(self, uid: str, model: str, records: Sequence[LogRecord]) -> None:
        """Outcomes of one request that differ come of different versions, all but one of which were told to serve."""
        by_version: dict[str, set[str]] = defaultdict(set)
        for record in records:
            by_version[str(record.data.get("version"))].add(_said(record))
        told = set(self._topics.served.get((str(records[0].data.get("project")), model), {}).values())
        # A model as its settings say goes by a name of its own, which nobody tells.
        if len(by_version.keys() - told) > 1 or any(len(said) > 1 for said in by_version.values()):
            self._doubled("outcomes that differ", uid, model)
        else:
            self._report.answered_across += 1

    def _check_asked_again(self) -> None:
        """What a promotion asked again came of a change that was told, and once for each content of a task."""
        again = self._again()
        self._report.asked_again = len(again)
        asked: Counter[tuple[str, ...]] = Counter()
        rounds: dict[tuple[str, str, str], set[str]] = defaultdict(set)
        for request, (uid, model) in again.items():
            data = self._topics.requested[request][0].data
            project, generation = str(data.get("project")), str(data["generation"])
            named, _, rest = generation.partition("/")
            epoch, *behind = rest.split("/")  # behind it, in which round: once more for who loaded the version later
            changes = self._topics.served.get((project, model), {})
            if named != model or not epoch.isdecimal() or int(epoch) not in changes:
                self._doubled("asked again, and nothing had changed", uid, f"{model}: {generation}")
            if behind and not _is_round(behind):
                self._doubled("asked again in a round that is none", uid, f"{model}: {generation}")
            rounds[project, model, epoch].update(behind)
            asked[uid, model, generation, str(data.get("input_hash")), str(data.get("config"))] += 1
        for (uid, model, *_), times in asked.items():
            if times > 1:
                self._doubled("asked again several times", uid, model)
        self._check_rounds(rounds)

    def _check_rounds(self, rounds: Mapping[tuple[str, str, str], Set[str]]) -> None:
        """Rounds of each change; each comes of somebody who said to have loaded a version."""
        for (project, model, epoch), seen in rounds.items():
            loads = self._topics.loads.get((project, model), 0)
            if len(seen) > loads:
                detail = f"of change {epoch}: {len(seen)}, and {loads} loads"
                self._doubled("asked again in more rounds than it was loaded", f"{project}/{model}", detail)

    def _again(self) -> Mapping[str, tuple[str, str]]:
        """Requests about accepted tasks that name what made somebody ask again: request -> (task, model)."""
        found = {}
        for request, records in self._topics.requested.items():
            data = records[0].data
            if data.get("generation") and str(data.get("task")) in self._topics.accepted:
                found[request] = (str(data["task"]), str(data["model"]))
        return found

    def _asked(self) -> Mapping[str, tuple[str, str]]:
        """Requests that accepted tasks name, and those that came of a promotion: request -> (task, model)."""
        return {
            ref["request"]: (uid, ref["model"])
            for uid, records in self._topics.accepted.items()
            for record in records
            for ref in record.data.get("requests", ())
        } | dict(self._again())

    def _check_stored_tasks(self) -> None:
        stored = {task.uid: task for task in self._store.tasks}
        by_ref = Counter((task.project, task.id) for task in self._store.tasks if task.id is not None)
        for ref, times in by_ref.items():
            if times > 1:
                self._doubled("stored under several uids", "/".join(map(str, ref)))
        for uid in stored.keys() - self._topics.accepted.keys():
            self._doubled("stored, and never accepted", uid)
        for uid, records in self._topics.accepted.items():
            newest = max(int(record.data["revision"]) for record in records)
            if uid not in stored:
                self._lost("accepted, and not stored", uid)
            elif stored[uid].revision != newest:
                self._reordered("not stored as it is now", uid, f"{stored[uid].revision}, not {newest}")

    def _check_stored_outcomes(self) -> None:
        stored = {outcome.request: outcome for outcome in self._store.outcomes}
        asked = self._asked()
        for request in stored.keys() - asked.keys():
            self._doubled("stored, and asked for by nobody", stored[request].task, stored[request].model)
        for request, (uid, model) in asked.items():
            found = stored.get(request)
            if found is None:
                self._lost("no outcome in the store", uid, model)
            elif found.state == "pending":
                self._lost("still pending in the store", uid, model)
            elif records := self._topics.outcomes.get(request, []):
                # A prediction outranks every other end; of equals the first in the log counts.
                counts = next((one for one in records if _state(one) == "created"), records[0])
                wanted = (_state(counts), counts.data.get("version"))
                if (found.state, found.version) != wanted:
                    detail = f"{model}: {found.state} by {found.version}, not {wanted[0]} by {wanted[1]}"
                    self._doubled("the store says other than the log", uid, detail)

    def _check_calls(self) -> None:
        """A model saw a task once per request, and once more per crash at most."""
        requests = Counter((uid, model) for uid, model in self._asked().values())
        for model, seen in self._calls.items():
            counts = Counter(seen)
            for uid, times in counts.items():
                allowed = requests[uid, model] * (1 + self._crashes)
                self._report.repeated_calls += max(0, times - requests[uid, model])
                self._report.most_calls = max(self._report.most_calls, times)
                if times > allowed:
                    finding = Finding("called too often", uid, f"{model}: {times} calls, {allowed} allowed")
                    self._report.called_too_often.append(finding)
            for uid, asked_model in requests:
                created = asked_model == model and uid not in counts
                if created and any(o.state == "created" for o in self._stored_of(uid, model)):
                    self._lost("a prediction of a model that never saw the task", uid, model)

    def _stored_of(self, uid: str, model: str) -> Iterator[Any]:
        return (o for o in self._store.outcomes if o.task == uid and o.model == model)

    def _check_annotations(self) -> None:
        """An acknowledged annotation is in the log, with the projection and with training, once."""
        self._report.annotations = len(self._promises.annotations)
        for annotation in self._promises.annotations:
            records = self._topics.annotated.get(annotation, [])
            if not records:
                self._lost("an acknowledged annotation is not in the log", annotation)
            self._note_repeats(records)
            for kept, who in ((self._store.annotations, "projection"), (self._store.examples, "training")):
                times = kept.count(annotation)
                if times == 0:
                    self._lost("an annotation is not stored", annotation, who)
                elif times > 1:
                    self._doubled("an annotation is stored twice", annotation, who)

    def _note_repeats(self, records: Sequence[LogRecord]) -> None:
        self._report.repeated_records += len(records) - len({record.id for record in records})

    def _seconds(self) -> float:
        began = [_moment(r) for records in self._topics.submitted.values() for r in records]
        ended = [_moment(r) for records in self._topics.outcomes.values() for r in records]
        return max(0.0, max(ended) - min(began)) if began and ended else 0.0


def _first_of_each_id(records: Sequence[LogRecord]) -> Sequence[LogRecord]:
    first: dict[str, LogRecord] = {}
    for record in records:
        first.setdefault(record.id, record)
    return list(first.values())


def _is_round(behind: Sequence[str]) -> bool:
    """Whether what is behind a change's epoch says one round; the first has no number."""
    return len(behind) == 1 and behind[0].isdecimal() and int(behind[0]) >= 1


def _said(record: LogRecord) -> str:
    kept = {name: value for name, value in record.data.items() if name not in _MOMENTS}
    return json.dumps([record.type, kept], sort_keys=True)


def _state(record: LogRecord) -> str:
    return "created" if record.type == _OUTCOMES[0] else str(record.data.get("outcome", "failed"))


def _moment(record: LogRecord) -> float:
    return datetime.fromisoformat(record.header("ce_time")).timestamp()


def _dead_letter(record: LogRecord) -> DeadLetter:
    try:
        why = json.loads(record.header(_WHY_ASIDE))
    except ValueError:
        why = {"reason": "a dead letter without its header"}
    group = record.topic.removeprefix("prelabel.deadletters.")
    task = str(record.data.get("task") or (record.key or b"").decode(errors="replace"))
    return DeadLetter(group, str(why.get("reason")), task, str(why.get("detail", "")))


def read_calls(path: Path) -> Sequence[str]:
    """A model's own ledger: a task's uid per line. A line cut off by a kill is no call that was answered."""
    lines = path.read_text().splitlines() if path.exists() else []
    return [line[-_UID:] for line in lines if len(line) >= _UID]  # the next process goes on behind what was cut off


# ------------------------------------------------------------------------------------------------- command line


def main(argv: Sequence[str] | None = None) -> int:
    """Check a run that is over."""
    parser = argparse.ArgumentParser(prog="python -m tests.failure.checker", description="Check a run.")
    parser.add_argument("--log", required=True, help="the bus, as in PRELABEL_BUS")
    parser.add_argument("--store", required=True, help="the store, as in PRELABEL_STORE")
    parser.add_argument("--prefix", default="", help="the prefix of topics, as in PRELABEL_PREFIX")
    parser.add_argument("--client", type=Path, help="the client's ledger")
    parser.add_argument("--ledger", action="append", default=[], metavar="MODEL=FILE", help="a model's own ledger")
    parser.add_argument("--crashes", type=int, default=0, help="processes that were killed")
    parser.add_argument("--out", type=Path, help="a file for the report")
    arguments = parser.parse_args(argv)
    report = check(
        read_log(arguments.log, arguments.prefix),
        read_store(arguments.store),
        promises=Promises.read(arguments.client) if arguments.client else None,
        calls={model: read_calls(Path(file)) for model, _, file in (one.partition("=") for one in arguments.ledger)},
        crashes=arguments.crashes,
    )
    text = json.dumps(report.json(), indent=2)
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(text + "\n")
    print(text)
    return 0 if report.clean else 1


if __name__ == "__main__":
    sys.exit(main())
