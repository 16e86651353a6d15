"""What a created outcome says beside its regions."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prelabel_contract.events import PredictionCreated, PredictionFailed, PredictionRequested, event
from prelabel_contract.examples import examples
from prelabel_contract.limits import MAX_EVENT_BYTES
from prelabel_contract.regions import Choice, Mask, Region, Span, Text
from prelabel_provider.align import Aligned
from prelabel_provider.outcomes import Outcomes, created
from prelabel_provider.uncertainty import uncertainty
from prelabel_runtime.blobs import NoBlobs
from prelabel_runtime.clock import SystemClock
from prelabel_runtime.metrics import Metrics

REQUEST = next(one.data for one in examples() if isinstance(one.data, PredictionRequested))


def predicted(*scores: float | None, **request: Any) -> PredictionCreated:
    """A prediction of spans with these scores."""
    regions = tuple(
        Span(question="names", field="text", start=n, end=n + 1, labels=("PER",), score=score)
        for n, score in enumerate(scores)
    )
    least = min((score for score in scores if score is not None), default=None)
    asked = REQUEST.model_copy(update=request)
    return created(asked, Aligned(regions, {}, least), version="1", label_set="l", threshold=None)


@given(st.lists(st.one_of(st.none(), st.floats(0, 1)), max_size=5))
def test_the_uncertainty_that_is_told_is_that_of_the_regions(scores: list[float | None]) -> None:
    made = predicted(*scores)
    assert made.uncertainty == uncertainty(made.regions)
    assert PredictionCreated.model_validate_json(made.model_dump_json()) == made


def test_a_model_without_scores_is_not_called_sure() -> None:
    assert predicted(None, None).uncertainty is None
    assert predicted().uncertainty is None
    assert predicted(1.0).uncertainty == 0.0


@pytest.mark.parametrize("generation", ["", "names/7"])
def test_a_prediction_says_why_the_same_was_asked_again(generation: str) -> None:
    assert predicted(0.5, generation=generation).generation == generation


@pytest.mark.parametrize("given", [0.0, 0.25, 1.0])
def test_a_providers_own_figure_counts_and_not_the_scores(given: float) -> None:
    aligned = Aligned((), {}, 0.9)
    made = created(REQUEST, aligned, version="1", label_set="l", threshold=None, uncertainty=given)
    assert made.uncertainty == given
    assert created(REQUEST, aligned, version="1", label_set="l", threshold=None).uncertainty == pytest.approx(0.1)


LONG = "x" * (MAX_EVENT_BYTES // 2)


@pytest.mark.parametrize(
    "regions",
    [
        (Mask(question="area", field="image", labels=("car",), rle=(200,) * 100_000),),
        (Text(question="note", field="text", text=(LONG, LONG)),),
        (Span(question="names", field="text", start=0, end=len(LONG), labels=("PER",), text=LONG),) * 3,
        (Choice(question="topic", field="text", labels=tuple(f"label {n:0190}" for n in range(1500))),),
    ],
    ids=lambda regions: regions[0].kind,
)
async def test_a_few_regions_that_no_event_holds_are_told_and_stop_no_run(regions: tuple[Region, ...]) -> None:
    outcomes = Outcomes("any", NoBlobs(), SystemClock(), Metrics())
    made = created(REQUEST, Aligned(regions, {}, None), version="1", label_set="l", threshold=None)
    [[told, *_]] = await outcomes.tell([(event(REQUEST, id="1", source="/t", time_ms=1), made)])
    assert isinstance(told.data, PredictionFailed)
    assert told.data.reason == "output_too_large"
