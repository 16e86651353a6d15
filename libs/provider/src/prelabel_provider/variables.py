"""The environment of a process that runs a provider's code."""

import os
import sys
from collections.abc import Mapping

from .remote.secrets import PREFIX as SECRETS

_THREADS = (
    *("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS", "NUMEXPR_NUM_THREADS"),
    *("VECLIB_MAXIMUM_THREADS", "RAYON_NUM_THREADS"),
)
_OF_OUR_INTERPRETER = ("PYTHONHOME", "PYTHONPATH", "VIRTUAL_ENV", "__PYVENV_LAUNCHER__")
_NOT_FOR_MODELS = ("PRELABEL_API_KEY", "PRELABEL_API_KEY_FILE", "PRELABEL_BUS", "PRELABEL_STORE")
"""Variables that hold secrets of ours: a model's code has no business with them."""


def variables(python: str, threads: int, more: Mapping[str, str]) -> dict[str, str]:
    """This process's, without what is of our interpreter if `python` is another, and without secrets."""
    kept = dict(os.environ)
    if python != sys.executable:
        for name in _OF_OUR_INTERPRETER:
            kept.pop(name, None)
    for name in [name for name in kept if name in _NOT_FOR_MODELS or name.startswith(SECRETS)]:
        del kept[name]
    kept.update(dict.fromkeys(_THREADS, str(threads)))
    kept["TOKENIZERS_PARALLELISM"] = "true" if threads > 1 else "false"
    return {**kept, **more}
