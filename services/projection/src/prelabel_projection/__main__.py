"""`python -m prelabel_projection`: the projection as a process of its own; with `rebuild`, that and nothing else."""

import sys

from prelabel_runtime.run import main

from . import command
from .service import build
from .settings import ProjectionSettings

if __name__ == "__main__":
    if sys.argv[1:]:
        sys.exit(command.main(sys.argv[1:]))
    main("projection", lambda runtime: [build(runtime, ProjectionSettings())])
