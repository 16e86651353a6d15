"""Settings of an echo model."""

from prelabel_contract.regions import Regions
from prelabel_provider.base import ProviderSettings


class EchoSettings(ProviderSettings):
    """What to answer with."""

    regions: Regions = ()
    """Given for every input."""
    key: str = "_regions"
    """The field of the data that holds regions as JSON; they are given too."""
