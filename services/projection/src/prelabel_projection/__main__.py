"""`python -m prelabel_projection`: the projection as a process of its own."""

from prelabel_runtime.run import main

from .service import build
from .settings import ProjectionSettings

if __name__ == "__main__":
    main("projection", lambda runtime: [build(runtime, ProjectionSettings())])
