"""The NER model as a BentoML service with adaptive batching: run by `bentoml serve` in an environment of its own."""

import os
from typing import Any

import bentoml


@bentoml.service(workers=1)
class Names:
    """Names in texts."""

    def __init__(self) -> None:
        import spacy

        self._nlp = spacy.load(os.environ["BENCH_MODEL"])

    @bentoml.api(batchable=True, max_batch_size=256, max_latency_ms=10_000)  # type: ignore[untyped-decorator]
    def predict(self, texts: list[str]) -> list[list[dict[str, Any]]]:
        """What several requests bring comes as one list."""
        return [[_region(entity) for entity in doc.ents] for doc in self._nlp.pipe(texts)]


def _region(entity: Any) -> dict[str, Any]:
    return {"start": entity.start_char, "end": entity.end_char, "text": entity.text, "label": entity.label_}
