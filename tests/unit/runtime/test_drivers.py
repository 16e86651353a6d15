"""A driver that is not there."""

import pytest
from prelabel_runtime.drivers import need
from prelabel_runtime.errors import Refused


def test_a_driver_that_is_not_installed_is_refused_with_what_to_install() -> None:
    need("PRELABEL_BUS", "kafka", "json")
    with pytest.raises(Refused, match=r'PRELABEL_BUS .*pip install -e "libs/runtime\[kafka\]"'):
        need("PRELABEL_BUS", "kafka", "json", "no_such_driver_of_kafka")
