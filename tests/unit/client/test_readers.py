"""Files as tasks."""

import csv
import io
import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prelabel_client.errors import Refused
from prelabel_client.readers import Reading, Source, source

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
CELL = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"), max_size=20)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=8,
)
TASKS = st.lists(st.fixed_dictionaries({"data": st.dictionaries(TEXT, VALUES, max_size=4)}), max_size=12)


def lines(of: Source) -> list[Any]:
    """What is handed in, without the lines that stand for nothing."""
    return [json.loads(line) for line in of if line.strip()]


def standard(content: bytes, **reading: Any) -> Source:
    return source("-", Reading(**reading), stdin=io.BytesIO(content))


def read(folder: Path, name: str, content: bytes, **reading: Any) -> Source:
    path = folder / name
    path.write_bytes(content)
    return source(str(path), Reading(**reading))


@given(TASKS)
def test_jsonl_comes_out_as_it_went_in(tasks: list[Any]) -> None:
    content = "".join(json.dumps(task) + "\n" for task in tasks).encode()
    assert lines(standard(content, format="jsonl")) == tasks


@given(TASKS, st.sampled_from([None, 1]), st.booleans())
@settings(max_examples=150)
def test_a_json_array_comes_out_as_it_went_in(tasks: list[Any], indent: int | None, ascii_: bool) -> None:
    content = json.dumps(tasks, indent=indent, ensure_ascii=ascii_).encode()
    assert lines(standard(content, format="json")) == tasks


@given(
    st.lists(CELL.filter(str.strip), min_size=1, max_size=4, unique=True),
    st.data(),
    st.sampled_from([",", ";", "\t"]),
    st.sampled_from(["\n", "\r\n"]),
)
def test_csv_comes_out_as_it_went_in(names: list[str], data: st.DataObject, delimiter: str, end: str) -> None:
    rows = data.draw(st.lists(st.lists(CELL, min_size=len(names), max_size=len(names)), max_size=8))
    written = io.StringIO(newline="")
    writer = csv.writer(written, delimiter=delimiter, lineterminator=end, quoting=csv.QUOTE_ALL)
    writer.writerow(names)
    writer.writerows(rows)
    of = standard(written.getvalue().encode(), format="csv", delimiter=delimiter)
    assert lines(of) == [{"data": dict(zip(names, row, strict=True))} for row in rows]
    assert of.columns() == names


@given(st.lists(TEXT))
def test_a_json_array_of_texts_becomes_tasks(texts: list[str]) -> None:
    assert lines(standard(json.dumps(texts).encode(), format="json")) == [{"data": {"text": t}} for t in texts]


def test_numbers_keep_their_digits() -> None:
    (line,) = standard(b'[{"data": {"n": 1234567890123456789012345678901234567890.5000}}]', format="json")
    assert b"1234567890123456789012345678901234567890.5000" in line


@pytest.mark.parametrize("separator", [",", ", ", ",\n"])
def test_nothing_is_cut_where_a_piece_of_the_file_ends(separator: str) -> None:
    numbers = [10**6 + n for n in range(100_000)]
    of = standard(f"[{separator.join(map(str, numbers))}]".encode(), format="json")
    assert [int(line) for line in of] == numbers


def test_long_arrays_take_constant_memory(tmp_path: Path) -> None:
    item = json.dumps({"data": {"text": "x" * 2000}})
    of = read(tmp_path, "a.json", f"[{', '.join([item] * 10_000)}]".encode())
    tracemalloc.start()
    assert sum(1 for _ in of) == 10_000
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 8 * 1024 * 1024  # of 20 MB


def test_refused_lines_keep_the_numbers_of_the_file(tmp_path: Path) -> None:
    of = read(tmp_path, "a.jsonl", b'\xef\xbb\xbf{"data":{"a":1}}\n\nno json\n{"data":{"a":2}}')
    assert list(of) == [b'{"data":{"a":1}}\n', b"\n", b"no json\n", b'{"data":{"a":2}}\n']


def test_a_row_that_does_not_fit_its_header_is_left_out_and_told(tmp_path: Path) -> None:
    of = read(tmp_path, "a.csv", b"id,text\n1,a\n2,b,c\n3,d\n", id_column="id")
    assert lines(of) == [{"id": "1", "data": {"text": "a"}}, {"id": "3", "data": {"text": "d"}}]
    assert of.refused == [(2, "it has 3 columns, the header has 2")]


def test_the_delimiter_of_csv_is_found(tmp_path: Path) -> None:
    assert lines(read(tmp_path, "a.csv", b"a;b\n1,5;2\n")) == [{"data": {"a": "1,5", "b": "2"}}]
    assert lines(read(tmp_path, "a.tsv", b"a\tb\n1\t2\n")) == [{"data": {"a": "1", "b": "2"}}]


def test_a_column_becomes_the_text(tmp_path: Path) -> None:
    of = read(tmp_path, "a.csv", b"nr,body\n7,hello\n", text_column="body", id_column="nr")
    assert lines(of) == [{"id": "7", "data": {"text": "hello"}}]


def test_each_line_of_a_text_is_a_task_or_the_whole(tmp_path: Path) -> None:
    content = "one\r\n\r\nzwö".encode()
    assert lines(read(tmp_path, "a.txt", content)) == [{"data": {"text": "one"}}, {"data": {"text": "zwö"}}]
    assert lines(read(tmp_path, "a.txt", content, whole=True)) == [{"data": {"text": "one\r\n\r\nzwö"}}]
    assert lines(read(tmp_path, "a.txt", b"x", field="body")) == [{"data": {"body": "x"}}]


def test_bare_objects_become_data(tmp_path: Path) -> None:
    assert lines(read(tmp_path, "a.jsonl", b'{"text": "x"}\n', bare=True)) == [{"data": {"text": "x"}}]
    assert lines(read(tmp_path, "a.json", b'[{"text": "x"}]', bare=True)) == [{"data": {"text": "x"}}]


def test_each_file_of_a_folder_is_a_task_named_by_its_path(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "b.txt").write_text("two")
    (tmp_path / "in" / "a.md").write_text("three")
    (tmp_path / ".hidden").write_text("no")
    (tmp_path / "c.bin").write_bytes(b"\xff\xfe\x00")
    of = source(str(tmp_path), Reading())
    assert [(task["id"], task["data"]["text"]) for task in lines(of)] == [("b.txt", "two"), ("in/a.md", "three")]
    assert [why for _, why in of.refused] == ["c.bin is no text in utf-8"]


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.csv", "a.txt"])
def test_the_key_is_that_of_the_content(tmp_path: Path, name: str) -> None:
    content = b'[{"data": {"text": "x"}}]'
    first = read(tmp_path, name, content)
    assert first.key() == read(tmp_path, name, content).key()
    assert first.key() != read(tmp_path, name, content + b"\n ").key()
    assert first.key() != read(tmp_path, name, content, field="other").key()


def test_a_file_can_be_read_again_after_it_was_read_in_part(tmp_path: Path) -> None:
    of = read(tmp_path, "a.csv", b"text\n" + b"x\n" * 1000)
    next(iter(of))
    assert len(list(of)) == 1000
    assert len(list(of)) == 1000
    assert of.position == of.size
    piped = standard(b"a\nb\n", format="txt")
    next(iter(piped))
    assert len(list(piped)) == 2


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.json", b'[{"data": 1} {"data": 2}]', "neither a comma nor the end"),
        ("a.json", b'[{"data": 1}, ', "item 2 is no JSON"),
        ("a.json", b'[{"data": 1}', "neither a comma nor the end"),
        ("a.json", b"7", "neither an array nor an object"),
        ("a.json", b'{"data": 1}\n{"data": 2}', "--format jsonl"),
        ("a.json", b"", "neither an array nor an object"),
        ("a.json", b"[" * 100_000, "is no JSON"),
        ("a.csv", b"", "must name the columns"),
        ("a.csv", b"a,a\n1,2\n", "the same name"),
        ("a.csv", b'a,b\n1,"2', "after row 0"),
        ("a.csv", b"a\n\xff\n", "--encoding"),
        ("a.txt", b"\xff\n", "--encoding"),
    ],
)
def test_what_cannot_be_read_is_refused_with_what_to_do(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    with pytest.raises(Refused, match=said):
        list(read(tmp_path, name, content))


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.jsonl", b"", "holds no tasks"),
        ("a.jsonl", b"\n \n", "holds no tasks"),
        ("a.json", b"[]", "holds no tasks"),
        ("a.json", b'["a", "b", ', "item 3"),
        ("a.csv", b"text\n", "holds no tasks"),
        ("a.csv", b"text\na,b\n", "holds no tasks: line 1: it has 2 columns"),
        ("a.csv", b'text\na\n"b', "after row"),
        ("a.txt", b"\n", "holds no tasks"),
        ("a.txt", b"a\n" * 100_000 + b"\xff", "--encoding"),
    ],
)
def test_what_is_empty_or_breaks_off_is_refused_before_a_line_of_it_is_sent(
    tmp_path: Path, name: str, content: bytes, said: str
) -> None:
    with pytest.raises(Refused, match=said):
        read(tmp_path, name, content).check()


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.csv", "a.txt"])
def test_what_was_checked_is_read_from_its_start(tmp_path: Path, name: str) -> None:
    content = {"a.jsonl": b'{"data": {"text": "a"}}\n{"data"', "a.json": b'["a"]', "a.csv": b"text\na\nb,c\n"}
    found = read(tmp_path, name, content.get(name, b"a\n"))
    found.check()
    assert json.loads(next(iter(found))) == {"data": {"text": "a"}}


def test_an_empty_folder_holds_no_tasks(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="holds no tasks"):
        source(str(tmp_path), Reading()).check()


def test_an_unknown_kind_of_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="--format"):
        read(tmp_path, "a.docx", b"")
    with pytest.raises(Refused, match="cannot be read"):
        source(str(tmp_path / "nothing.csv"), Reading())
    with pytest.raises(Refused, match="no column 'body'; columns are a"):
        list(read(tmp_path, "a.csv", b"a\n1\n", text_column="body"))


@pytest.mark.parametrize(
    ("content", "kind"), [(b' {"data": 1}', "jsonl"), (b'[{"data": 1}]', "json"), (b"hello", "txt"), (b"", "txt")]
)
def test_the_kind_of_standard_input_is_guessed(content: bytes, kind: str) -> None:
    assert standard(content).format == kind
