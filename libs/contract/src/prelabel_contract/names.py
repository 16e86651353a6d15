"""Every id, topic, key and group name of Prelabel is built and parsed here, and nowhere else.

Derived ids are version 5 UUIDs over a JSON list, so that no two lists of parts can meet in one name. Topics
carry no prefix here: the bus adds a deployment's prefix where it touches the broker.
"""

import hashlib
import json
import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any

import orjson

_NAMESPACE = uuid.UUID("6f1e2f53-3a0c-5c39-9a10-0d7a3f3c6f77").bytes
_PARTS = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=str)
_CANONICAL = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False)
_ALIKE = frozenset((str, int, bool, type(None)))
"""What the standard library and orjson write as the same bytes. Floats are none of it: 1e16 is 1e+16 there."""
_TEXTS = frozenset((str,))
_VARIANT = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}
"""The digit of a UUID that holds its variant, by what would stand there."""


class Lane(StrEnum):
    """How urgent a request is; each lane is a topic of its own."""

    INTERACTIVE = "interactive"
    BULK = "bulk"
    BACKFILL = "backfill"


# -------------------------------------------------------------------------------------------------------- ids


def derived(*parts: object) -> str:
    """The same id for the same parts, for ever: what makes a redelivered event the same event."""
    digest = hashlib.sha1(_NAMESPACE + _listed(parts), usedforsecurity=False).hexdigest()
    return _uuid(digest, "5")


def _listed(parts: tuple[object, ...]) -> bytes:
    if _ALIKE.issuperset(map(type, parts)):
        try:
            return orjson.dumps(parts)
        except orjson.JSONEncodeError:
            pass  # a number over 64 bits, or no text: the slower one knows, or says what is wrong
    return _PARTS.encode(parts).encode()


def uuid7(now_ms: int, random_bytes: Callable[[int], bytes]) -> str:
    """A version 7 UUID (RFC 9562, 5.7): 48 bits of milliseconds since 1970, then 74 random bits."""
    return _uuid(f"{now_ms & ((1 << 48) - 1):012x}{random_bytes(10).hex()}", "7")


def _uuid(h: str, version: str) -> str:
    """128 bits, as hex digits, as a UUID of that version. An object of the standard library's costs ten times this."""
    return f"{h[:8]}-{h[8:12]}-{version}{h[13:16]}-{_VARIANT[h[16]]}{h[17:20]}-{h[20:32]}"


def task_uid(project: str, task_id: str) -> str:
    """The task that a caller named `task_id` in a project."""
    return derived("task", project, task_id)


def task_uid_of_line(project: str, idempotency_key: str, line: int) -> str:
    """The unnamed task on a line (from 1) of an upload that carries an idempotency key."""
    return derived("line", project, idempotency_key, line)


def task_uid_of_event(project: str, source: str, event_id: str) -> str:
    """The unnamed task of a CloudEvent: (source, id) is unique by that standard."""
    return derived("event", project, source, event_id)


def request_id(task: str, input_hash: str, model: str, config: str, generation: str = "") -> str:
    """The one request to a model for one input and configuration; on a re-label `generation` is its run."""
    return derived("request", task, input_hash, model, config, generation)


def run_id(project: str, idempotency_key: str) -> str:
    """The run of an upload that carries an idempotency key: sending it again joins it."""
    return derived("run", project, idempotency_key)


def run_of_source(source: str, run: str) -> str:
    """What an inbound source calls a run: a name of its own, which no upload's run has, whoever's that is."""
    return f"{source}:{run}"


def delivery_id(source: str, event_id: str, subscription: str) -> str:
    """The delivery of an event to a webhook subscription: its webhook-id, the same for every attempt."""
    return "msg_" + derived("delivery", source, event_id, subscription)


def annotation_uid(project: str, task: str, annotator: str, given: str) -> str:
    """The annotation that an annotator calls `given`, which is unique within the task and the annotator.

    It says whose it is (`annotated_by`): two annotators who use one id never meet in one uid, and no uid is another's.
    """
    name = derived("annotation", project, task, annotator, given)
    return f"{name}.{_signed(project, task, annotator, name)}"


def annotated_by(uid: str, project: str, task: str, annotator: str) -> bool:
    """Whether an annotation of that uid, whether or not there is one, is that annotator's."""
    name, dot, signed = uid.rpartition(".")
    return bool(dot) and signed == _signed(project, task, annotator, name)


def _signed(project: str, task: str, annotator: str, name: str) -> str:
    """48 bits that follow from the annotator: nobody can choose a name of theirs that has another's."""
    return derived("annotator", project, task, annotator, name).rpartition("-")[2]


def letter_id(group: str, partition: int, offset: int) -> str:
    """The dead letter at a place in a group's dead letters."""
    return derived("letter", group, partition, offset)


def content_hash(value: Any) -> str:
    """SHA-256 (first 32 hex digits) of a JSON value in canonical form: sorted keys, no spaces, UTF-8."""
    return hash_of(canonical(value))


def hash_of(canonical_form: bytes) -> str:
    """The content hash of a value whose canonical form is known."""
    return hashlib.sha256(canonical_form).hexdigest()[:32]


def canonical(value: Any) -> bytes:
    """A JSON value in canonical form: the standard library's bytes for ever, whoever writes them."""
    if _alike(value):
        try:
            return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
        except orjson.JSONEncodeError:
            pass  # as in _listed; or nested deeper than it goes
    return _CANONICAL.encode(value).encode()


def _alike(value: Any) -> bool:
    """Whether both encoders write it as the same bytes. Not recursive: a value may be nested as deep as it likes."""
    rest = [value]
    for item in rest:
        inside = item
        if type(item) is dict:
            if not _TEXTS.issuperset(map(type, item)):
                return False
            inside = item.values()
        elif type(item) is not list:
            if type(item) not in _ALIKE:
                return False
            continue
        if not _ALIKE.issuperset(map(type, inside)):
            rest.extend(inside)
    return True


# ----------------------------------------------------------------------------------------------------- topics

SUBMITTED = "prelabel.submitted"
TASKS = "prelabel.tasks"
PREDICTIONS = "prelabel.predictions"
REPLIES = "prelabel.replies"
ANNOTATIONS = "prelabel.annotations"
RUNS = "prelabel.runs"
CONFIGS = "prelabel.configs"
PROJECTS = "prelabel.projects"
MODELS = "prelabel.models"
LEARNING = "prelabel.learning"
PROVIDERS = "prelabel.providers"
ACCESS = "prelabel.access"
AUDIT = "prelabel.audit"


class Kept(StrEnum):
    """How long a topic keeps its records."""

    LONG = "long"
    DAYS = "days"
    MINUTES = "minutes"
    COMPACTED = "compacted"


_DAY_MS = 86_400_000
_RETRY = "prelabel.retry."
_DEAD_LETTERS = "prelabel.deadletters."
_SLUG = r"[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?"
_PATTERNS: Mapping[str, tuple[re.Pattern[str], Kept]] = {
    kind: (re.compile(pattern), kept)
    for kind, pattern, kept in (
        ("inbound", rf"prelabel\.inbound\.(?P<source>{_SLUG})", Kept.DAYS),
        ("submitted", r"prelabel\.submitted", Kept.LONG),
        ("tasks", r"prelabel\.tasks", Kept.LONG),
        (
            "requests",
            rf"prelabel\.requests\.(?P<provider>{_SLUG})\.(?P<lane>interactive|bulk|backfill)",
            Kept.DAYS,
        ),
        ("predictions", r"prelabel\.predictions", Kept.LONG),
        ("replies", r"prelabel\.replies", Kept.MINUTES),
        ("annotations", r"prelabel\.annotations", Kept.LONG),
        ("runs", r"prelabel\.runs", Kept.LONG),
        ("configs", r"prelabel\.configs", Kept.COMPACTED),
        ("projects", r"prelabel\.projects", Kept.COMPACTED),
        ("models", r"prelabel\.models", Kept.COMPACTED),
        ("training", rf"prelabel\.training\.(?P<provider>{_SLUG})", Kept.LONG),
        ("learning", r"prelabel\.learning", Kept.LONG),
        ("providers", r"prelabel\.providers", Kept.COMPACTED),
        ("access", r"prelabel\.access", Kept.COMPACTED),
        ("audit", r"prelabel\.audit", Kept.LONG),
        ("retry", r"prelabel\.retry\.(?P<group>[a-z0-9.-]{1,120})", Kept.DAYS),
        ("deadletters", r"prelabel\.deadletters\.(?P<group>[a-z0-9.-]{1,120})", Kept.LONG),
    )
}


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic's name, read: its kind and the parts that vary."""

    kind: str
    kept: Kept
    parts: Mapping[str, str]

    @property
    def single(self) -> bool:
        """State and what comes at a human rate lie in one partition: one order."""
        return self.kept is Kept.COMPACTED or self.kind in ("retry", "deadletters", "replies")

    @property
    def retention_ms(self) -> int | None:
        """How long it keeps a record unless a deployment says otherwise; None: for ever, or the newest of its key."""
        return {Kept.DAYS: 14 * _DAY_MS, Kept.MINUTES: 3_600_000}.get(self.kept)


def parse_topic(name: str) -> Topic:
    """The parts of a topic name. Raises ValueError for a name that is not of Prelabel's."""
    for kind, (pattern, kept) in _PATTERNS.items():
        if found := pattern.fullmatch(name):
            return Topic(kind, kept, found.groupdict())
    raise ValueError(f"{name!r} is not a topic of Prelabel")


def single(kind: str) -> str:
    """The topic of a kind of which there is one. Raises ValueError for other kinds."""
    name = f"prelabel.{kind}"
    if parse_topic(name).kind != kind:
        raise ValueError(f"there are several topics of the kind {kind}, or none")
    return name


def inbound(source: str) -> str:
    """Where an upstream system named `source` writes."""
    return _checked(f"prelabel.inbound.{source}")


@lru_cache(maxsize=1024)  # as _checked
def requests(provider: str, lane: Lane | str) -> str:
    """What a provider has to predict, by urgency."""
    return _checked(f"prelabel.requests.{provider}.{Lane(lane)}")


def training(provider: str) -> str:
    """What a provider's trainer has to do. What comes of it is told on `LEARNING`, whoever the provider is."""
    return _checked(f"prelabel.training.{provider}")


def retry(group: str) -> str:
    """Records that a consumer group asked to see again later."""
    return _checked(_RETRY + group)


def dead_letters(group: str) -> str:
    """Records that a consumer group could not handle, with the reason."""
    return _checked(_DEAD_LETTERS + group)


def holds_set_aside(topic: str) -> bool:
    """Whether only we write to the topic, and what we set aside."""
    return topic.startswith((_RETRY, _DEAD_LETTERS))


@lru_cache(maxsize=1024)  # asked for each event, and there are few
def _checked(name: str) -> str:
    parse_topic(name)
    return name


# ----------------------------------------------------------------------------------------------------- groups


LANE_HEADERS: Mapping[str, tuple[str, bytes]] = {
    lane: ("ce_lane", lane.encode()) for lane in (Lane.INTERACTIVE, Lane.BACKFILL)
}
"""The header that tells the lane of a submitted task; one without is bulk."""


def dispatcher_group(lane: Lane | str) -> str:
    """The consumer group that dispatches what was submitted in a lane. It reads what is of no lane along with bulk."""
    return "dispatcher" if Lane(lane) is Lane.BULK else f"dispatcher-{Lane(lane)}"


def inference_group(provider: str, lane: Lane | str) -> str:
    """The consumer group of a provider's lane."""
    return f"inference-{provider}-{Lane(lane)}"


def trainer_group(provider: str) -> str:
    """The consumer group of a provider's trainers."""
    return f"trainer-{provider}"


def trainer_key(provider: str) -> str:
    """The key under which a provider's trainer is announced, beside the provider itself."""
    return f"{provider}/trainer"


def model_key(project: str, model: str) -> str:
    """The key of a model's serving pointer."""
    return f"{project}/{model}"


def parse_model_key(key: str) -> tuple[str, str]:
    """(project, model). Raises ValueError for anything else."""
    project, slash, model = key.partition("/")
    if not (slash and re.fullmatch(_SLUG, project) and re.fullmatch(_SLUG, model)):
        raise ValueError(f"{key!r} is not project/model")
    return project, model
