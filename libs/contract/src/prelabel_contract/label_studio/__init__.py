"""Label Studio's labelling configuration and results, to and from ours. Pure: no I/O, no network.

    config = parse_config(xml)            # refuses what it cannot carry without loss
    config.label_set                      # one question per control
    regions = regions_from_results(annotation["result"], config)
    results_from_regions(regions, config) == annotation["result"]

Carried: everything a result says about the data, its score, and the picture or recording it lies on. Not
carried: the editor's own state beside it (`readonly`, `hidden`, `origin`, `meta`, `parentID`). Written as the
editor writes it: an answer about one region repeats that region's geometry. A value key that is not known
here is refused, never dropped.

Source: the tags and result formats of Label Studio 1.23.
"""

from .config import Control, DataObject, LabelingConfig, Option, parse_config
from .results import regions_from_results, results_from_regions

__all__ = [
    "Control",
    "DataObject",
    "LabelingConfig",
    "Option",
    "parse_config",
    "regions_from_results",
    "results_from_regions",
]
