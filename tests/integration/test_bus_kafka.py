"""The bus on a real Apache Kafka: the promises of every bus, and those that only a group of several can break."""

import pytest

from prelabel_runtime.bus.kafka import KafkaBus, KafkaSettings
from prelabel_runtime.testing.bus import BusFactory, BusTests, fresh
from tests.rig.servers import ServerHandle

pytestmark = pytest.mark.kafka


class TestKafkaBus(BusTests):
    @pytest.fixture
    def bus_factory(self, kafka_server: ServerHandle) -> BusFactory:
        prefix = fresh("prefix") + "."
        return lambda: KafkaBus(kafka_server.address, prefix=prefix, settings=KafkaSettings(probe_timeout=1.0))
