"""The rules provider is a provider."""

from prelabel_inference_rules.provider import RulesProvider
from prelabel_provider.testing import ProviderTests


class TestConformance(ProviderTests):
    provider = RulesProvider
    settings = {
        "rules": [
            {"label": "PERSON", "words": ["Ada", "Ada Lovelace"]},
            {"label": "NUMBER", "pattern": r"\pN+", "score": 0.9},
            {"label": "CITY", "substring": "istanbul", "ignore_case": True},
            {"label": "greeting", "as": "choice", "pattern": "(?i)hello|hi"},
        ]
    }
    other_settings = {"rules": [{"label": "PERSON", "words": ["Ada"]}]}
    samples = (
        {"text": "Hello, Ada Lovelace was born in 1815"},
        {"text": "nothing here"},
        {"text": "😀 Istanbul ١٢"},
    )
