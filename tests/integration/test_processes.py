"""Real processes: what makes no sense ends with one line and exit code 2, a stop with 0, neither with a traceback."""

import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from deploy.local.ports import free_port
from tests.rig.processes import PrelabelProcess

KEY = "pl_a-key-for-the-tests-of-processes"

Start = Callable[..., PrelabelProcess]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started: list[PrelabelProcess] = []

    def start_one(module: str, **variables: str) -> PrelabelProcess:
        base = {
            "PRELABEL_API_KEY": KEY,
            "PRELABEL_BUS": f"sqlite:///{tmp_path / 'log.db'}",
            "PRELABEL_STORE": f"sqlite:///{tmp_path / 'results.db'}",
        }
        chosen = {name: value for name, value in {**base, **variables}.items() if value}
        process = PrelabelProcess(f"p{len(started)}", module, chosen, tmp_path)
        started.append(process)
        process.start()
        return process

    yield start_one
    for process in started:
        process.signal(signal.SIGKILL)


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"PRELABEL_BUS": "amqp://host"}, "PRELABEL_BUS is 'amqp://host': use sqlite:///FILE or kafka://HOST:PORT"),
        (
            {"PRELABEL_STORE": "postgres://u:secret-password@host/d"},
            "use sqlite:///FILE or mongodb://HOST:PORT/DATABASE",
        ),
        ({"PRELABEL_PARTITIONS": "many"}, "PRELABEL_PARTITIONS: "),
        ({"PRELABEL_API_KEY": ""}, "no API key: set PRELABEL_API_KEY or PRELABEL_API_KEY_FILE"),
        ({"PRELABEL_API_KEY": "", "PRELABEL_BUS": "kafka://127.0.0.1:9"}, "no API key"),
        ({"PRELABEL_PROJECTION_RECORDS": "0"}, "PRELABEL_PROJECTION_RECORDS: "),
    ],
)
def test_settings_that_make_no_sense_end_it_with_one_line(start: Start, variables: dict[str, str], said: str) -> None:
    process = start("prelabel_projection", **variables)
    assert process.wait(60) == 2
    assert said in _only_line(process)
    assert "secret-password" not in _only_line(process)


@pytest.mark.parametrize("setting", ["PRELABEL_PORT", "PRELABEL_HEALTH_PORT"])
def test_a_port_in_use_is_named_with_its_setting(start: Start, tmp_path: Path, setting: str) -> None:
    process = PrelabelProcess("taken", "prelabel_training", _on_sqlite(tmp_path), tmp_path)
    port = process.port if setting == "PRELABEL_PORT" else process.health_port
    with socket.create_server(("127.0.0.1", port)):
        process.start()
        assert process.wait(60) == 2
    assert f"127.0.0.1:{port}" in _only_line(process)
    assert f"set {setting} to another port" in _only_line(process)


def test_a_provider_that_is_not_installed_is_refused_with_those_that_are(start: Start, tmp_path: Path) -> None:
    process = start(
        "prelabel_all_in_one", PRELABEL_DATA=str(tmp_path), PRELABEL_SAMPLE="false", PRELABEL_PROVIDERS='["no"]'
    )
    assert process.wait(60) == 2
    assert "no provider 'no'; providers are" in _only_line(process)
    assert "rules" in _only_line(process)


def test_a_file_that_another_process_owns_is_refused(start: Start) -> None:
    owner = start("prelabel_training")
    owner.ready()
    second = start("prelabel_projection")
    assert second.wait(60) == 2
    assert "is in use by" in _only_line(second)
    owner.signal(signal.SIGTERM)
    assert owner.wait(60) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_ends_it_with_exit_code_0_and_no_traceback(start: Start, number: signal.Signals) -> None:
    process = start("prelabel_projection")
    process.ready()
    process.signal(number)
    assert process.wait(60) == 0
    assert '"event": "stopped"' in process.log.read_text()
    assert "Traceback" not in process.log.read_text()


def test_a_stop_while_it_waits_for_its_bus_ends_it_at_once(start: Start) -> None:
    process = start(
        "prelabel_projection", PRELABEL_BUS=f"kafka://127.0.0.1:{free_port()}", PRELABEL_START_SECONDS="300"
    )
    _until_alive(process)
    process.signal(signal.SIGTERM)
    assert process.wait(60) == 0
    assert "Traceback" not in process.log.read_text()


def test_a_bus_that_never_answers_ends_it_with_exit_code_3(start: Start) -> None:
    process = start("prelabel_training", PRELABEL_BUS=f"kafka://127.0.0.1:{free_port()}", PRELABEL_START_SECONDS="1")
    assert process.wait(60) == 3
    assert "does not answer" in process.log.read_text().splitlines()[-1]
    assert "Traceback" not in process.log.read_text()


def _on_sqlite(folder: Path) -> dict[str, str]:
    return {
        "PRELABEL_API_KEY": KEY,
        "PRELABEL_BUS": f"sqlite:///{folder / 'log.db'}",
        "PRELABEL_STORE": f"sqlite:///{folder / 'results.db'}",
    }


def _only_line(process: PrelabelProcess) -> str:
    lines = process.log.read_text().splitlines()
    assert len(lines) == 1, lines
    return lines[0]


def _until_alive(process: PrelabelProcess) -> None:
    """Its probes answer: it has got as far as waiting for its bus."""
    while True:
        assert process.alive, process.last_words()
        try:
            with urlopen(f"http://127.0.0.1:{process.health_port}/readyz", timeout=2):
                return
        except HTTPError:
            return
        except OSError:
            time.sleep(0.02)
