"""`python -m prelabel_inference_<provider>`: one provider's inference as a process of its own."""

from prelabel_runtime import run
from prelabel_runtime.errors import Refused

from .catalog import UnknownProvider
from .service import build
from .settings import InferenceSettings


def main(provider: str) -> None:
    """Serve a provider until told to stop."""

    def services(runtime: run.Runtime) -> list[run.Service]:
        try:
            return [build(runtime, provider, InferenceSettings())]
        except UnknownProvider as error:
            raise Refused(str(error)) from error

    run.main(f"inference {provider}", services)
