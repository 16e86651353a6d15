"""The NER model as a Label Studio ML backend: run by gunicorn in an environment of its own, as its Dockerfile does.

It asks the model about one text after the other, as the spaCy example that comes with the program does; with
BENCH_PIPED about all that came in one request in one pass, as somebody might write it who knows spaCy.
"""

import os
import tempfile
from typing import Any

import spacy
from label_studio_ml.api import init_app
from label_studio_ml.model import LabelStudioMLBase

_NLP = spacy.load(os.environ["BENCH_MODEL"])


class Names(LabelStudioMLBase):  # type: ignore[misc]
    """Names in texts."""

    def predict(self, tasks: list[dict[str, Any]], **_: Any) -> list[dict[str, Any]]:
        """A result per task."""
        texts = [task["data"]["text"] for task in tasks]
        docs = _NLP.pipe(texts) if os.environ.get("BENCH_PIPED") else map(_NLP, texts)
        return [{"result": [_region(entity) for entity in doc.ents], "score": 1.0} for doc in docs]


def _region(entity: Any) -> dict[str, Any]:
    value = {"start": entity.start_char, "end": entity.end_char, "text": entity.text, "labels": [entity.label_]}
    return {"from_name": "label", "to_name": "text", "type": "labels", "value": value}


app = init_app(model_class=Names, model_dir=tempfile.mkdtemp())
