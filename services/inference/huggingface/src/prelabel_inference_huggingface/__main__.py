"""`python -m prelabel_inference_huggingface`: this provider as a service of its own; `… export` makes an ONNX graph."""

import sys

from prelabel_provider.run import main

from .export import main as export

if __name__ == "__main__":
    if sys.argv[1:2] == ["export"]:
        sys.exit(export(sys.argv[2:]))
    main("huggingface")
