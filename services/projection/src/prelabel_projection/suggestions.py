"""What became of suggestions: taken as they were, taken with changes, or refused.

An annotation that names the prediction it was made from says by its regions what became of that prediction. It comes
on one topic, the prediction on another, in any order: so whoever writes one of them looks for the other afterwards,
and of two that write at the same time at least one finds both. Both may tell it: under one id, which follows from the
annotation, the prediction and the verdict, so that it is one event however often it is told.

What is compared are the answers to the questions that the model answers: a person who answers others too has not
corrected it.

Said while events come in, never while a generation is rebuilt.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from prelabel_contract import names
from prelabel_contract.answers import answer
from prelabel_contract.blobs import BlobRef
from prelabel_contract.events import (
    AnnotationDeleted,
    AnnotationSubmitted,
    AnnotationUpdated,
    AnyEvent,
    Event,
    EventData,
    PredictionCreated,
    ProjectChanged,
    ProviderAnnounced,
    SuggestionAccepted,
    SuggestionCorrected,
    SuggestionRejected,
    event,
)
from prelabel_runtime.blobs import BlobError, Blobs
from prelabel_runtime.service import Handler
from prelabel_runtime.store.annotations import stored_annotation
from prelabel_runtime.store.base import State, Store, StoredAnnotation, StoredOutcome
from prelabel_runtime.tables import Table

from .telling import telling

SOURCE = "/projection/suggestions"
_ANNOTATED = (AnnotationSubmitted, AnnotationUpdated)


@dataclass(frozen=True, slots=True)
class Suggestions:
    """Says what became of suggestions, as annotations and predictions are stored."""

    store: Store
    blobs: Blobs
    projects: Table[ProjectChanged]
    providers: Table[ProviderAnnounced]

    def telling(self, on: Mapping[type[EventData], Handler]) -> dict[type[EventData], Handler]:
        """The same handlers, and what is to be told of what each has written."""
        told = dict(on)
        for kind in _ANNOTATED:
            told[kind] = telling(on[kind], self.of_annotations)
        told[PredictionCreated] = telling(on[PredictionCreated], self.of_predictions)
        return told

    async def of_annotations(self, batch: Sequence[Event[Any]]) -> Mapping[int, Sequence[AnyEvent]]:
        """By place in a batch of annotations, which are stored: what they say about predictions that are stored."""
        given = {
            place: stored_annotation(one)
            for place, one in enumerate(batch)
            if not isinstance(one.data, AnnotationDeleted) and one.data.parent_prediction and not one.data.skipped
        }
        if not given:
            return {}
        outcomes = await self.store.outcomes.of_tasks(list({one.task for one in given.values()}))
        found: dict[int, Sequence[AnyEvent]] = {}
        for place, annotation in given.items():
            shown = _named(batch[place].data.parent_prediction, annotation, outcomes.get(annotation.task, ()))
            if shown is not None:
                found[place] = [await self._verdict(annotation, shown)]
        return found

    async def of_predictions(self, batch: Sequence[Event[Any]]) -> Mapping[int, Sequence[AnyEvent]]:
        """By place in a batch of predictions, which are stored: what annotations that came before them say."""
        places = {one.data.request: place for place, one in enumerate(batch)}
        annotations = await self.store.annotations.of_tasks(list({one.data.task for one in batch}))
        made_from = [
            (annotation, parent)
            for some in annotations.values()
            for annotation in some
            if not annotation.skipped and (parent := orjson.loads(annotation.body).get("parent_prediction")) in places
        ]
        if not made_from:
            return {}
        outcomes = await self.store.outcomes.of_tasks(list({annotation.task for annotation, _ in made_from}))
        found: dict[int, list[AnyEvent]] = {}
        for annotation, parent in made_from:
            shown = _named(parent, annotation, outcomes.get(annotation.task, ()))
            if shown is not None:
                found.setdefault(places[parent], []).append(await self._verdict(annotation, shown))
        return found

    async def _verdict(self, annotation: StoredAnnotation, shown: StoredOutcome) -> AnyEvent:
        answered = await self._answered(shown)
        regions: Sequence[Mapping[str, Any]] = orjson.loads(annotation.body).get("regions", ())
        said = answer([one for one in regions if answered is None or one.get("question") in answered])
        suggested = await self._suggested(shown)
        # What is below the threshold is marked, and may not have been shown: both without it and with it is as it was.
        as_it_was = suggested is not None and said in (
            answer(suggested),
            answer([region for region in suggested if not region.get("below_threshold")]),
        )
        kind = SuggestionAccepted if as_it_was else SuggestionCorrected
        data = kind(
            project=annotation.project,
            task=annotation.task,
            request=shown.request,
            annotator=annotation.annotator,
            annotation=annotation.annotation,
            **_whose(shown),
        )
        name = names.derived(kind.TYPE, annotation.project, annotation.task, annotation.annotation, shown.request)
        return event(data, id=name, source=SOURCE, time_ms=annotation.at_ms)

    async def _answered(self, shown: StoredOutcome) -> frozenset[str] | None:
        """The questions that the model of a prediction answers, as its project is now; None: nobody knows."""
        row = await self.projects.find(shown.project, timeout=2.0)
        spec = None if row is None else row.project.model(shown.model)
        if row is None or spec is None:
            return None
        provider = self.providers.get(shown.provider)
        try:
            asked = row.project.questions_of(spec)
        except ValueError:
            return None
        return frozenset(one.name for one in asked if provider is None or set(provider.kinds) & set(one.kinds))

    async def _suggested(self, shown: StoredOutcome) -> Sequence[Mapping[str, Any]] | None:
        """The regions of a prediction; None if they are nowhere any more."""
        body = orjson.loads(shown.body)
        if (ref := body.get("regions_blob")) is None:
            regions: Sequence[Mapping[str, Any]] = body.get("regions", ())
            return regions
        try:
            fetched: Any = await self.blobs.value(shown.project, shown.task, BlobRef.model_validate(ref))
        except BlobError:
            return None
        return fetched if isinstance(fetched, list) else None


def rejected(shown: StoredOutcome, annotator: str, at_ms: int) -> AnyEvent:
    """A person refuses a prediction: the same event however often the same person says it."""
    data = SuggestionRejected(
        project=shown.project, task=shown.task, request=shown.request, annotator=annotator, **_whose(shown)
    )
    name = names.derived(SuggestionRejected.TYPE, shown.project, shown.task, annotator, shown.request)
    return event(data, id=name, source=SOURCE, time_ms=at_ms)


def created(request: str, outcomes: Iterable[StoredOutcome]) -> StoredOutcome | None:
    """The prediction of that request, if there is one."""
    return next((one for one in outcomes if one.request == request and one.state is State.CREATED), None)


def _named(request: str, annotation: StoredAnnotation, outcomes: Iterable[StoredOutcome]) -> StoredOutcome | None:
    found = created(request, outcomes)
    return found if found is not None and found.project == annotation.project else None


def _whose(shown: StoredOutcome) -> dict[str, Any]:
    return {"model": shown.model, "provider": shown.provider, "version": shown.version}
