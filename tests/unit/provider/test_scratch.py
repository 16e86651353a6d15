"""What a killed attempt leaves for the next one, and what not."""

from pathlib import Path

from prelabel_provider.scratch import emptied


def test_an_attempt_finds_the_checkpoints_of_the_one_before_and_nothing_else_of_it(tmp_path: Path) -> None:
    folder = tmp_path / "artifact"
    emptied(folder, "checkpoints")
    assert not list(folder.iterdir())
    (folder / "checkpoints" / "000002").mkdir(parents=True)
    (folder / "ner").mkdir()
    (folder / "ner" / "model").write_text("half of it")
    (folder / "config.cfg").write_text("half of it")
    (folder / "link").symlink_to(tmp_path)
    emptied(folder, "checkpoints")
    assert [path.relative_to(folder).as_posix() for path in folder.rglob("*")] == ["checkpoints", "checkpoints/000002"]


def test_checkpoints_that_are_a_link_or_a_file_are_gone(tmp_path: Path) -> None:
    folder = tmp_path / "artifact"
    folder.mkdir()
    (tmp_path / "elsewhere").mkdir()
    (folder / "checkpoints").symlink_to(tmp_path / "elsewhere")
    emptied(folder, "checkpoints")
    assert not list(folder.iterdir())
    assert (tmp_path / "elsewhere").is_dir()
    (folder / "checkpoints").write_text("")
    emptied(folder, "checkpoints")
    assert not list(folder.iterdir())
