"""`python -m prelabel_ingestion`: ingestion as a process of its own."""

from prelabel_runtime.run import main

from .service import build
from .settings import IngestionSettings

if __name__ == "__main__":
    main("ingestion", lambda runtime: [build(runtime, IngestionSettings())])
