"""One realistic event or more per type: golden files are written from them; tests and docs use them.

Ids are made by the same functions as in the services, from fixed parts: the same example for ever.
"""

from collections.abc import Iterator, Sequence

from . import names
from .annotations import Annotation
from .blobs import blob_of
from .errors import FieldError
from .events import (
    AnnotationDeleted,
    AnnotationSubmitted,
    AnnotationUpdated,
    AnyEvent,
    AuditRecorded,
    ConfigPublished,
    DeadLetterDiscarded,
    DeadLetterReplayed,
    DeadLetterResolved,
    EventData,
    Inbound,
    InboundAnnotation,
    InboundTask,
    KeyChanged,
    KeyUsed,
    LinkUsed,
    ModelLoaded,
    ModelPromoted,
    ModelRejected,
    ModelRolledBack,
    ModelServing,
    ModelTrained,
    PredictionCreated,
    PredictionDeleted,
    PredictionFailed,
    PredictionRequested,
    PredictionSuperseded,
    ProjectChanged,
    ProviderAnnounced,
    RequestRef,
    RunCancelled,
    RunCompleted,
    RunCreated,
    RunFailed,
    RunOpened,
    RunProgressed,
    RunSealed,
    SubscriptionChanged,
    SubscriptionDisabled,
    SuggestionAccepted,
    SuggestionCorrected,
    SuggestionRejected,
    TaskAccepted,
    TaskDeleted,
    TaskRejected,
    TaskSubmitted,
    TrainerAnnounced,
    TrainingCancelled,
    TrainingFailed,
    TrainingProgressed,
    TrainingRequested,
    event,
)
from .names import Lane
from .projects import Label, LabelSet, ModelSpec, Project, Question
from .regions import (
    Choice,
    DateTime,
    Ellipse,
    FrameRange,
    HtmlOffsets,
    HtmlSpan,
    Keyframe,
    KeyPoint,
    Mask,
    Message,
    Number,
    Pairwise,
    ParagraphSpan,
    Picture,
    Polygon,
    Ranking,
    Rating,
    Rectangle,
    Regions,
    Relation,
    SeriesSpan,
    Span,
    Taxonomy,
    Text,
    TimedSpan,
    Timeline,
    Track,
    UnknownRegion,
)

NOON_MS = 1_767_268_800_000
"""2026-01-01T12:00:00Z."""

TEXT = "Ada Lovelace wrote to Charles Babbage from London. 🎉"

PROJECT = Project(
    id="letters",
    title="Letters of engineers",
    label_set=LabelSet(
        questions=(
            Question(
                name="entities",
                kind="span",
                field="text",
                labels=(Label(value="PER", title="Person"), Label(value="LOC", title="Place")),
            ),
            Question(
                name="tone",
                kind="choice",
                field="text",
                labels=(Label(value="warm"), Label(value="formal")),
                multiple=False,
            ),
            Question(name="ties", kind="relation", field="text", labels=(Label(value="writes to"),)),
        )
    ),
    models=(
        ModelSpec(
            name="names",
            provider="spacy",
            settings={"pipeline": "en_letters", "batch_size": 128},
            questions=("entities",),
            labels={"PERSON": "PER", "GPE": "LOC", "ORG": None},
            threshold=0.5,
        ),
        ModelSpec(
            name="tone",
            provider="rules",
            settings={"rules": [{"label": "formal", "substring": "Sir"}]},
            questions=("tone",),
        ),
    ),
)

TASK = names.task_uid(PROJECT.id, "letter-17")
RUN = names.run_id(PROJECT.id, "upload-2026-01-01")
CONFIG = PROJECT.config_hash
INPUT = names.content_hash({"text": TEXT})
LARGE = blob_of(TEXT * 20_000).ref
REQUEST = names.request_id(TASK, INPUT, "names", CONFIG)
TONE_REQUEST = names.request_id(TASK, INPUT, "tone", CONFIG)
ANNOTATION = names.derived("annotation", TASK, "a-1")

SPANS: Regions = (
    Span(
        id="s1",
        field="text",
        question="entities",
        labels=("PER",),
        score=0.97,
        start=0,
        end=12,
        text="Ada Lovelace",
    ),
    Span(
        id="s2",
        field="text",
        question="entities",
        labels=("PER",),
        score=0.91,
        start=22,
        end=37,
        text="Charles Babbage",
    ),
    Span(
        id="s3",
        field="text",
        question="entities",
        labels=("LOC",),
        score=0.44,
        below_threshold=True,
        start=43,
        end=49,
        text="London",
    ),
)
CHOICES: Regions = (Choice(field="text", question="tone", labels=("warm",)),)
TIES: Regions = (Relation(field="text", question="ties", labels=("writes to",), from_id="s1", to_id="s2"),)

_PICTURE = Picture(width=640, height=480, rotation=0)

EVERY_KIND: Regions = (
    *SPANS,
    *CHOICES,
    *TIES,
    HtmlSpan(
        id="h1",
        field="page",
        question="marks",
        labels=("PER",),
        start="/p[1]/text()[1]",
        end="/p[2]/text()[1]",
        start_offset=4,
        end_offset=7,
        global_offsets=HtmlOffsets(start=10, end=33),
        text="Ada",
    ),
    ParagraphSpan(field="dialogue", question="turns", labels=("ASK",), start=0, end=1, start_offset=0, end_offset=5),
    Taxonomy(field="text", question="subject", paths=(("science", "mathematics"), ("people",))),
    Text(field="text", question="summary", text=("A letter.",), score=0.3),
    Number(field="text", question="pages", number=2.5),
    DateTime(field="text", question="written", datetime="1843-07-10"),
    Rating(field="text", question="legible", rating=4),
    Pairwise(field="left", question="better", selected="left"),
    Ranking(field="drafts", question="order", lists={"best": ("b", "a")}),
    Rectangle(
        id="b1",
        field="scan",
        question="boxes",
        labels=("seal",),
        score=0.8,
        picture=_PICTURE,
        x=10,
        y=20.5,
        width=30,
        height=40,
        rotation=12.5,
    ),
    Text(id="b1", field="scan", question="transcript", text=("L. S.",), of="b1", picture=_PICTURE),
    Polygon(
        field="scan",
        question="outlines",
        labels=("seal",),
        picture=_PICTURE,
        points=((10, 10), (50, 10), (50, 60)),
        closed=True,
    ),
    Ellipse(field="scan", question="stains", labels=("ink",), x=50, y=50, radius_x=10, radius_y=5, rotation=0),
    KeyPoint(field="scan", question="points", labels=("corner",), x=99.5, y=0, width=0.5),
    Mask(field="scan", question="masks", labels=("ink",), rle=(0, 0, 0, 96, 57, 27)),
    Mask(field="scan", question="masks", labels=("ink",), png="data:image/png;base64,iVBORw0KGgo="),
    Track(
        field="film",
        question="moves",
        labels=("hand",),
        frames=100,
        duration=4.0,
        sequence=(Keyframe(frame=1, time=0.04, x=10, y=10, width=20, height=20, rotation=0),),
    ),
    Timeline(field="film", question="scenes", labels=("writing",), ranges=(FrameRange(start=3, end=5),)),
    TimedSpan(field="audio", question="voices", labels=("speech",), start=0.5, end=2.25, channel=0, length=12.5),
    SeriesSpan(field="series", question="phases", labels=("rest",), start=10, end=20, instant=False),
    Message(field="chat", question="answers", role="assistant", content="Dear Mr. Babbage"),
    UnknownRegion.model_validate(
        {"kind": "cuboid", "field": "scan", "question": "boxes", "labels": ["chest"], "depth": 3, "lid": None}
    ),
)
"""Every kind of region, and one of a later version."""


def _inbound() -> Iterator[Inbound]:
    yield InboundTask(
        project=PROJECT.id, id="letter-17", data={"text": TEXT}, meta={"archive": "box 4"}, lane=Lane.BULK
    )
    yield InboundTask(project=PROJECT.id, data={"text": "Unnamed."})
    yield InboundAnnotation(
        project=PROJECT.id,
        annotation=Annotation(
            id="a-1",
            task="letter-17",
            annotator="mary@example.org",
            regions=(*SPANS, *CHOICES),
            lead_time=42.5,
        ),
    )


def _tasks() -> Iterator[EventData]:
    meta = {"archive": "box 4"}
    yield TaskSubmitted(project=PROJECT.id, task=TASK, id="letter-17", data={"text": TEXT}, meta=meta, run=RUN, line=17)
    yield TaskSubmitted(
        project=PROJECT.id,
        task=names.task_uid_of_event(PROJECT.id, "archive", "e-1"),
        data={"text": "Bonjour", "note": None, "pages": [1, 2.5]},
        lane=Lane.INTERACTIVE,
        correlation="c-9",
        deadline_ms=NOON_MS + 5000,
        door=names.inbound("archive"),
    )
    yield TaskSubmitted(
        project=PROJECT.id,
        task=names.task_uid(PROJECT.id, "novel"),
        id="novel",
        data={"text": None, "author": "Ada"},
        blobs={"text": LARGE},
    )
    yield RunOpened(project=PROJECT.id, run=RUN)
    yield RunSealed(project=PROJECT.id, run=RUN, total=3000)
    yield TaskAccepted(
        project=PROJECT.id,
        task=TASK,
        id="letter-17",
        revision=16,
        data={"text": TEXT},
        meta=meta,
        config=CONFIG,
        requests=(
            RequestRef(request=REQUEST, model="names", provider="spacy"),
            RequestRef(request=TONE_REQUEST, model="tone", provider="rules"),
        ),
        run=RUN,
        line=17,
        accepted_ms=NOON_MS,
    )
    yield TaskRejected(
        project=PROJECT.id,
        task=names.task_uid(PROJECT.id, "letter-18"),
        id="letter-18",
        reason="invalid",
        errors=(FieldError(pointer="/data/text", detail="the project asks about this field: it must be a text"),),
        run=RUN,
        line=18,
    )
    yield TaskDeleted(project=PROJECT.id, task=TASK)


def _predictions() -> Iterator[EventData]:
    names_ = {
        "project": PROJECT.id,
        "task": TASK,
        "id": "letter-17",
        "revision": 16,
        "run": RUN,
        "meta": {"archive": "box 4"},
        "accepted_ms": NOON_MS,
        "config": CONFIG,
        "input_hash": INPUT,
    }
    spacy = {**names_, "request": REQUEST, "model": "names", "provider": "spacy"}
    rules = {**names_, "request": TONE_REQUEST, "model": "tone", "provider": "rules"}
    yield PredictionRequested.model_validate({**spacy, "data": {"text": TEXT}})
    created = {"label_set": PROJECT.label_set_hash, "version": "en_letters-1.2.0+9f86d081884c7d65"}
    yield PredictionCreated.model_validate(
        {**spacy, **created, "regions": SPANS, "score": 0.44, "threshold": 0.5, "dropped": {"offsets": 1}}
    )
    yield PredictionCreated.model_validate(
        {**spacy, **created, "regions": SPANS, "uncertainty": 0.56, "generation": "names/7"}
    )
    yield PredictionCreated.model_validate({**rules, **created, "version": "1.0.0", "regions": CHOICES})
    yield PredictionCreated.model_validate({**spacy, **created, "regions": EVERY_KIND})
    yield PredictionCreated.model_validate({**spacy, **created, "regions_blob": LARGE})
    yield PredictionFailed.model_validate(
        {**spacy, "reason": "worker_crashed", "detail": "the model's process ended with signal 11"}
    )
    yield PredictionFailed.model_validate({**rules, "outcome": "expired", "reason": "deadline", "version": "1.0.0"})
    yield PredictionSuperseded(project=PROJECT.id, task=TASK, request=REQUEST, model="names", by="31")
    yield PredictionDeleted(project=PROJECT.id, task=TASK, request=REQUEST)


def _annotations() -> Iterator[EventData]:
    person = "mary@example.org"
    yield AnnotationSubmitted(
        project=PROJECT.id,
        task=TASK,
        annotation=ANNOTATION,
        annotator=person,
        regions=(*SPANS[:2], *CHOICES, *TIES),
        lead_time=42.5,
        parent_prediction=REQUEST,
    )
    yield AnnotationSubmitted(project=PROJECT.id, task=TASK, annotation=ANNOTATION, annotator=person, skipped=True)
    yield AnnotationUpdated(
        project=PROJECT.id,
        task=TASK,
        annotation=ANNOTATION,
        annotator=person,
        regions=CHOICES,
        ground_truth=True,
    )
    yield AnnotationDeleted(project=PROJECT.id, task=TASK, annotation=ANNOTATION, annotator=person)
    shown = {"task": TASK, "request": REQUEST, "annotator": person}
    whose = {"model": "names", "provider": "spacy", "version": "2-9f86d081884c"}
    yield SuggestionAccepted(project=PROJECT.id, **shown, **whose, annotation=ANNOTATION)
    yield SuggestionCorrected(project=PROJECT.id, **shown, **whose, annotation=ANNOTATION)
    yield SuggestionRejected(project=PROJECT.id, **shown, **whose)


def _runs() -> Iterator[EventData]:
    yield RunCreated(project=PROJECT.id, run=RUN)
    yield RunProgressed(project=PROJECT.id, run=RUN, accepted=2, outcomes={"pending": 3, "created": 1})
    yield RunCompleted(
        project=PROJECT.id,
        run=RUN,
        total=3000,
        accepted=2999,
        rejected=1,
        outcomes={"created": 5990, "failed": 8},
    )
    yield RunFailed(project=PROJECT.id, run=RUN, reason="never_sealed")
    yield RunCancelled(project=PROJECT.id, run=RUN)


def _states() -> Iterator[EventData]:
    yield ConfigPublished(hash=CONFIG, project=PROJECT)
    yield ProjectChanged(project=PROJECT, config=CONFIG, version=3)
    yield ModelServing(
        project=PROJECT.id,
        model="names",
        version="2-9f86d081884c",
        epoch=7,
        provider="spacy",
        artifact=ARTIFACT,
        previous_version="1-2c26b46b68ff",
        previous="2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae",
    )
    yield ProviderAnnounced(
        provider="rules",
        package="0.1.0",
        kinds=("span", "choice"),
        settings_schema={"type": "object", "properties": {"rules": {"type": "array"}}},
    )
    yield TrainerAnnounced(
        provider="spacy",
        package="0.1.0",
        kinds=("span", "choice"),
        settings_schema={"type": "object", "properties": {"epochs": {"type": "integer"}}},
    )
    yield from _access()
    yield from _audit()


def _access() -> Iterator[EventData]:
    yield KeyChanged(
        id="h7Gk2mQx9TbZ",
        name="nightly import",
        hash="5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8",
        role="service",
        projects=(PROJECT.id,),
        created_ms=NOON_MS,
        created_by="bootstrap",
        expires_ms=NOON_MS + 90 * 86_400_000,
    )
    yield KeyUsed(id="h7Gk2mQx9TbZ", at_ms=NOON_MS + 60_000)
    yield LinkUsed(id="Zb2mQx9Th7Gk", session="9TbZh7Gk2mQx")
    sealed = {"sealed": "gAAAAABl…", "sealed_with": "k1"}
    yield SubscriptionChanged.model_validate(
        {
            "id": names.derived("subscription", 1),
            "url": "https://example.com/hooks/prelabel",
            "types": ["prediction.created", "run.completed"],
            "projects": [PROJECT.id],
            "headers": {"X-Tenant": sealed},
            "secrets": [sealed, {**sealed, "expires_ms": NOON_MS + 86_400_000}],
            "rate": 50.0,
            "created_ms": NOON_MS,
            "created_by": "h7Gk2mQx9TbZ",
        }
    )


def _audit() -> Iterator[EventData]:
    yield AuditRecorded(
        actor="h7Gk2mQx9TbZ",
        actor_name="nightly import",
        role="admin",
        action="project.put",
        subject=f"/v1/projects/{PROJECT.id}",
        project=PROJECT.id,
        status=200,
    )
    yield SubscriptionDisabled(
        subscription=names.derived("subscription", 1),
        url="https://example.com/hooks/prelabel",
        reason="gone",
        since_ms=NOON_MS,
        projects=(PROJECT.id,),
    )
    letter = names.derived("letter", "projection", 0, 17)
    decided = {"letter": letter, "group": "projection", "actor": "bootstrap", "offset": 17}
    yield DeadLetterReplayed.model_validate({**decided, "replay": names.derived("replay", letter)})
    yield DeadLetterDiscarded.model_validate({**decided, "reason": "a test of ours"})
    yield DeadLetterResolved(letter=letter, group="projection")


ARTIFACT = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"


def _training() -> Iterator[EventData]:
    training = f"{PROJECT.id}/names/2"
    named = {"project": PROJECT.id, "model": "names", "provider": "spacy", "training": training}
    version = {**named, "version": "2-9f86d081884c"}
    yield TrainingRequested.model_validate({**named, "cut": 1200, "config": CONFIG})
    yield TrainingCancelled.model_validate(named)
    progress = {"step": 400, "steps": 2000, "loss": 3.4, "score": 0.81, "seconds_left": 41.5}
    yield TrainingProgressed.model_validate({**named, **progress})
    yield TrainingFailed.model_validate({**named, "reason": "single_class", "detail": "all 40 examples say PER"})
    yield ModelTrained.model_validate({**version, "artifact": ARTIFACT, "metrics": {"f1": 0.87}})
    yield ModelRejected.model_validate(
        {**version, "reason": "worse", "detail": "F1 on the hold-out fell from 0.89 to 0.87"}
    )
    yield ModelPromoted.model_validate({**version, "epoch": 7})
    yield ModelRolledBack.model_validate({**version, "epoch": 8, "reason": "recall on LOC"})
    loaded = {"project": PROJECT.id, "model": "names", "provider": "spacy", "version": "2-9f86d081884c", "epoch": 7}
    yield ModelLoaded.model_validate(
        {**loaded, "host": "inference-spacy-0", "state": "serving", "memory_mib": 412.5, "seconds": 1.8}
    )


def examples() -> Sequence[AnyEvent]:
    """Examples of every type of events that travel between the services, wrapped as those publish them."""
    made = (*_tasks(), *_predictions(), *_annotations(), *_runs(), *_states(), *_training())
    return [
        event(data, id=names.derived("example", data.TYPE, n), source="/prelabel/example", time_ms=NOON_MS + n)
        for n, data in enumerate(made)
    ]


def public_examples() -> Sequence[AnyEvent]:
    """Examples of what upstream systems write to inbound.<source>."""
    return [
        event(
            data,
            id=f"e-{n}",
            source="https://archive.example.org",
            time_ms=NOON_MS + n,
            topic=names.inbound("archive"),
            key=str(n),
        )
        for n, data in enumerate(_inbound(), start=1)
    ]
