"""Other programs that serve models, each as its documentation says: a folder each, and an environment of its own."""

from tests.benchmarks.peers.bentoml import BENTOML
from tests.benchmarks.peers.label_studio_ml import LABEL_STUDIO_ML, PIPED
from tests.benchmarks.peers.peer import Peer

PEERS: tuple[Peer, ...] = (LABEL_STUDIO_ML, PIPED, BENTOML)
