"""How `prelabel up` finds what it has started."""

from pathlib import Path

from prelabel_client.command.up import written


def test_an_address_counts_as_written_when_it_can_be_read(tmp_path: Path) -> None:
    file = tmp_path / "address"
    assert written(file) is None
    with file.open("w") as opened:  # the other process writes it between these two looks
        assert written(file) is None
        opened.write("http://127.0.0.1:8080")
    first = written(file)
    assert first is not None
    assert file.read_text()
