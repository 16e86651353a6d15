"""docs/settings.md: every setting of every service, from the classes that read them."""

from collections.abc import Iterator

from prelabel_all_in_one.settings import AllInOneSettings
from prelabel_contract.sentences import sentences
from prelabel_gateway.settings import GatewaySettings
from prelabel_inference_huggingface.settings import HuggingFaceLimits
from prelabel_inference_sklearn.settings import SklearnLimits
from prelabel_inference_spacy.settings import SpacyLimits
from prelabel_ingestion.settings import IngestionSettings
from prelabel_projection.settings import ProjectionSettings
from prelabel_provider.models.settings import ModelsSettings
from prelabel_provider.remote.settings import RemoteSettings
from prelabel_provider.settings import InferenceSettings
from prelabel_provider.training.settings import TrainerRoleSettings
from prelabel_runtime.credentials import KafkaCredentials, MongoCredentials
from prelabel_runtime.egress_policy import EgressSettings
from prelabel_runtime.http.limits import LimitsSettings
from prelabel_runtime.http.oidc_settings import OidcSettings
from prelabel_runtime.settings import Frozen, RuntimeSettings
from prelabel_training.settings import TrainingSettings
from prelabel_webhooks.settings import WebhooksSettings
from pydantic_core import PydanticUndefined

CLASSES: tuple[tuple[str, type[Frozen]], ...] = (
    ("Every process", RuntimeSettings),
    ("An existing Kafka, see [how to use one](existing-kafka-and-mongodb.md)", KafkaCredentials),
    ("An existing MongoDB", MongoCredentials),
    ("Calls to the outside, of every process that makes some", EgressSettings),
    ("Bearer tokens, of every process that answers", OidcSettings),
    ("All in one", AllInOneSettings),
    ("The API's limits", LimitsSettings),
    ("Ingestion", IngestionSettings),
    ("Projection", ProjectionSettings),
    ("Models, of every process that trains, judges or serves them", ModelsSettings),
    ("Inference, of any provider", InferenceSettings),
    ("Trainers, of any provider", TrainerRoleSettings),
    ("Inference, of providers whose models are called", RemoteSettings),
    ("The provider huggingface", HuggingFaceLimits),
    ("The provider sklearn", SklearnLimits),
    ("The provider spacy", SpacyLimits),
    ("Training", TrainingSettings),
    ("Webhooks", WebhooksSettings),
    ("Gateway, which reads of the first table only where it listens, how it stops and what it logs", GatewaySettings),
)


def page() -> str:
    """The page, from the classes."""
    return "\n".join(_lines())


def _lines() -> Iterator[str]:
    yield "# Settings"
    yield ""
    yield "Environment variables, read once at start. Made by `make golden` from the settings classes."
    for title, cls in CLASSES:
        yield from ("", f"## {title}", "", "| variable | default | meaning |", "| --- | --- | --- |")
        shared = {} if cls is RuntimeSettings else RuntimeSettings.model_fields
        prefix = str(cls.model_config.get("env_prefix"))
        said = sentences(cls)
        for name, info in cls.model_fields.items():
            if name in shared and cls.__annotations__.get(name) is None:
                continue
            default = info.get_default(call_default_factory=True) if info.default_factory is None else {}
            shown = "" if default in (None, PydanticUndefined, "") else f"`{_short(default)}`"
            meaning = " ".join(said.get(name, "").split()).replace("|", "\\|")
            yield f"| `{prefix}{name.upper()}` | {shown} | {meaning} |"
    yield ""


def _short(value: object) -> str:
    if isinstance(value, tuple):
        return "[" + ", ".join(f'"{item}"' for item in value) + "]"
    return str(value).lower() if isinstance(value, bool) else str(value)
