"""`python -m prelabel_inference_<provider> [trainer]`: one provider's inference, or its trainer, as a process."""

import argparse
from collections.abc import Callable, Mapping, Sequence

from prelabel_runtime import run
from prelabel_runtime.errors import Refused

from . import service
from .catalog import Catalog, UnknownProvider
from .models.settings import ModelsSettings
from .settings import InferenceSettings
from .training import service as training
from .training.settings import TrainerRoleSettings


def main(provider: str, argv: Sequence[str] | None = None) -> None:
    """Do a provider's part until told to stop."""
    parser = argparse.ArgumentParser(
        prog=f"python -m prelabel_inference_{provider.replace('-', '_')}",
        description="Predict, or train models. Settings are environment variables: see docs/settings.md.",
    )
    parser.add_argument("role", nargs="?", choices=tuple(_ROLES), default="inference")
    role: str = parser.parse_args(argv).role

    def services(runtime: run.Runtime) -> list[run.Service]:
        try:
            return [_ROLES[role](runtime, provider)]
        except UnknownProvider as error:
            raise Refused(str(error)) from error

    run.main(f"{role} {provider}", services)


def _inference(runtime: run.Runtime, provider: str) -> run.Service:
    return service.build(runtime, provider, InferenceSettings(), ModelsSettings())


def _trainer(runtime: run.Runtime, provider: str) -> run.Service:
    inference = InferenceSettings()
    if not Catalog(inference.environments).trains(provider):
        raise Refused(f"{provider} has no trainer in its interpreter: nothing can be trained for it")
    return training.build(runtime, provider, TrainerRoleSettings(), inference, ModelsSettings())


_ROLES: Mapping[str, Callable[[run.Runtime, str], run.Service]] = {"inference": _inference, "trainer": _trainer}
