"""Which providers there are, without importing any."""

import subprocess
import sys

import pytest
from prelabel_provider.catalog import Catalog, UnknownProvider, installed


def test_a_provider_of_this_environment_runs_here() -> None:
    assert Catalog({}, here=frozenset({"echo"})).python("echo") == sys.executable


def test_an_environment_of_its_own_comes_first() -> None:
    catalog = Catalog({"echo": "/there/python", "heavy": "/heavy/python"}, here=frozenset({"echo"}))
    assert catalog.python("echo") == "/there/python"
    assert catalog.python("heavy") == "/heavy/python"
    assert catalog.names == ("echo", "heavy")


def test_an_unknown_provider_is_told_with_those_there_are() -> None:
    with pytest.raises(UnknownProvider, match="no provider 'spcy'; providers are echo, spacy"):
        Catalog({}, here=frozenset({"echo", "spacy"})).python("spcy")


def test_listing_imports_no_provider() -> None:
    code = (
        "import sys; from prelabel_provider.catalog import installed; assert 'spacy' in installed();"
        "assert not any(name.startswith(('spacy', 'prelabel_inference')) for name in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=180)
    assert {"echo", "rules", "spacy"} <= installed()
