"""`python -m prelabel_training`: training as a process of its own."""

from prelabel_provider.models.settings import ModelsSettings
from prelabel_runtime.run import main

from .service import build
from .settings import TrainingSettings

if __name__ == "__main__":
    main("training", lambda runtime: [build(runtime, TrainingSettings(), ModelsSettings())])
