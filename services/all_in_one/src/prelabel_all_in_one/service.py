"""All services, as one list."""

from collections.abc import Sequence

import prelabel_ingestion.service
import prelabel_ingestion.settings
import prelabel_projection.service
import prelabel_projection.settings
import prelabel_provider.service
import prelabel_provider.settings
import prelabel_provider.training.service
import prelabel_provider.training.settings
import prelabel_training.service
import prelabel_training.settings
import prelabel_webhooks.service
from prelabel_provider.catalog import Catalog, UnknownProvider
from prelabel_runtime.errors import Refused
from prelabel_runtime.run import Runtime
from prelabel_runtime.service import Service
from prelabel_webhooks.settings import WebhooksSettings

from .settings import WEBHOOK_KEYS, AllInOneSettings


def build(runtime: Runtime, settings: AllInOneSettings) -> Sequence[Service]:
    """Every service with its own settings, and every provider that is asked for, with its trainer where it has one.

    Raises `Refused`.
    """
    inference = prelabel_provider.settings.InferenceSettings()
    catalog = Catalog(inference.environments)
    providers = settings.providers or catalog.names
    trainer = prelabel_provider.training.settings.TrainerRoleSettings()
    webhooks = WebhooksSettings()
    if not webhooks.keys and webhooks.keys_file is None:
        webhooks = WebhooksSettings(keys_file=settings.data / WEBHOOK_KEYS)
    try:
        return [
            prelabel_ingestion.service.build(runtime, prelabel_ingestion.settings.IngestionSettings()),
            prelabel_projection.service.build(runtime, prelabel_projection.settings.ProjectionSettings()),
            prelabel_training.service.build(
                runtime, prelabel_training.settings.TrainingSettings(), settings.models_kept()
            ),
            prelabel_webhooks.service.build(runtime, webhooks),
            *(
                prelabel_provider.service.build(runtime, provider, inference, settings.models_kept())
                for provider in providers
            ),
            *(
                prelabel_provider.training.service.build(runtime, provider, trainer, inference, settings.models_kept())
                for provider in providers
                if catalog.trains(provider)
            ),
        ]
    except UnknownProvider as error:
        raise Refused(f"PRELABEL_PROVIDERS: {error}") from error
