"""What is refused by its bytes, whatever its name says; and what is not, since models look like that."""

import io
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from prelabel_provider.models.contents import MAX_MEMBERS, Unpacked, check_content
from prelabel_provider.models.manifest import ArtifactRefused

MIB = 1 << 20
PICKLES = {
    "protocol 0": b"cposix\nsystem\np0\n(Vtrue\np1\ntp2\nRp3\n.",
    "protocol 0, arguments first": b"(lp0\ncposix\nsystem\n(Vtrue\ntR.",
    "protocol 2": b"\x80\x02cposix\nsystem\nq\x00X\x04\x00\x00\x00trueq\x01\x85q\x02Rq\x03.",
    "protocol 4": b"\x80\x04\x95\x1d\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94\x8c\x06system\x94\x93.",
    "protocol 5": b"\x80\x05\x95\x1d\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94\x8c\x06system\x94\x93.",
}


def npy(header: str, version: bytes = b"\x01\x00") -> bytes:
    size = struct.pack("<H" if version == b"\x01\x00" else "<I", len(header))
    return b"\x93NUMPY" + version + size + header.encode()


def zipped(members: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return packed.getvalue()


GOOD_ARRAY = npy("{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }          \n") + bytes(48)
OBJECTS = npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }        \n") + PICKLES["protocol 4"]


def check(tmp_path: Path, name: str, content: bytes, unpacked: int = 100 * MIB) -> Unpacked:
    path = tmp_path / "content"
    path.write_bytes(content)
    left = Unpacked(unpacked)
    check_content(path, name, left)
    return left


def refused(tmp_path: Path, name: str, content: bytes, unpacked: int = 100 * MIB) -> str:
    with pytest.raises(ArtifactRefused) as told:
        check(tmp_path, name, content, unpacked)
    return told.value.reason


@pytest.mark.parametrize("content", PICKLES.values(), ids=list(PICKLES))
@pytest.mark.parametrize("name", ["meta.json", "model", "weights.bin", "vectors.npy"])
def test_a_pickle_is_told_by_its_bytes(tmp_path: Path, name: str, content: bytes) -> None:
    assert refused(tmp_path, name, content) == "pickle"


@pytest.mark.parametrize("name", ["a.pkl", "a.pickle", "a.joblib"])
def test_a_pickle_is_told_by_its_name(tmp_path: Path, name: str) -> None:
    assert refused(tmp_path, name, b"anything") == "pickle"


@pytest.mark.parametrize("content", PICKLES.values(), ids=list(PICKLES))
def test_a_pickle_in_an_archive_is_told(tmp_path: Path, content: bytes) -> None:
    archive = zipped({"schema.json": b"{}", "data": content})
    assert refused(tmp_path, "model.skops", archive) == "pickle"
    assert refused(tmp_path, "innocent.json", archive) == "pickle"
    assert refused(tmp_path, "model.skops", zipped({"inner.npz": archive})) == "pickle"


@pytest.mark.parametrize("content", PICKLES.values(), ids=list(PICKLES))
def test_a_pickle_is_no_safetensors_file(tmp_path: Path, content: bytes) -> None:
    assert refused(tmp_path, "model.safetensors", content) == "safetensors"


@pytest.mark.parametrize("length", [0x0480, 0x0280, 0x04034B50, 2])
def test_safetensors_whose_length_looks_like_something_else_pass(tmp_path: Path, length: int) -> None:
    check(tmp_path, "model.safetensors", struct.pack("<Q", length) + b"{" + b" " * 5000)


@pytest.mark.parametrize(
    "content", [b"", b"\x08", struct.pack("<Q", 2**40) + b"{}", struct.pack("<Q", 2) + b"\x80\x04"]
)
def test_what_is_no_safetensors_file_is_refused(tmp_path: Path, content: bytes) -> None:
    assert refused(tmp_path, "model.safetensors", content) == "safetensors"


@pytest.mark.parametrize(
    "content",
    [b"", b"\x80", b"\x82\xa1a\x01\xa1b\x02", b"cat\ndog\nbird\n", b"city\ncountry", b"{}", b".", b"[PAD]\n[CLS]\n"],
)
def test_what_models_are_made_of_passes(tmp_path: Path, content: bytes) -> None:
    check(tmp_path, "vocab.txt", content)


@pytest.mark.parametrize(
    "magic",
    [b"\x1f\x8b\x08", b"BZh9", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd", b"\x04\x22\x4d\x18", b"7z\xbc\xaf\x27\x1c"],
)
def test_what_is_compressed_is_refused(tmp_path: Path, magic: bytes) -> None:
    assert refused(tmp_path, "model", magic + bytes(100)) == "compressed"
    assert refused(tmp_path, "m.skops", zipped({"x": magic + bytes(100)})) == "compressed"


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }     \n",
        "{'descr': '|b1', 'fortran_order': True, 'shape': (), }\n",
        "{'descr': '<U12', 'fortran_order': False, 'shape': (7,), }\n",
        "{'descr': '<M8[ns]', 'fortran_order': False, 'shape': (7,), }\n",
        "{'descr': [('left', '<i8'), ('v', '<f8', (2, 3)), ('', '|V7')], 'fortran_order': False, 'shape': (7,), }\n",
    ],
)
@pytest.mark.parametrize("version", [b"\x01\x00", b"\x02\x00", b"\x03\x00"])
def test_arrays_of_numbers_and_texts_pass(tmp_path: Path, header: str, version: bytes) -> None:
    check(tmp_path, "vectors.npy", npy(header, version) + bytes(100))


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '|O', 'fortran_order': False, 'shape': (1,), }\n",
        "{'descr': 'ob' 'ject', 'fortran_order': False, 'shape': (1,), }\n",
        "{'descr': '\\x4f', 'fortran_order': False, 'shape': (1,), }\n",
        "{'descr': [('a', '<i8'), ('b', '|O')], 'fortran_order': False, 'shape': (1,), }\n",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), 'descr': '|O', }\n",
        "{'fortran_order': False, " + " " * 600 + "'descr': '|O', 'shape': (1,), }\n",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }" + " " * 20_000 + "\n",
        "",
    ],
)
def test_arrays_of_objects_and_of_strange_forms_are_refused(tmp_path: Path, header: str) -> None:
    assert refused(tmp_path, "vectors.npy", npy(header)) == "array"
    assert refused(tmp_path, "m.skops", zipped({"a.npy": npy(header)})) == "array"


def test_an_archive_of_arrays_passes_and_is_counted_unpacked(tmp_path: Path) -> None:
    inner = zipped({"data.npy": GOOD_ARRAY, "indices.npy": GOOD_ARRAY})
    members = {"schema.json": b"{}", "sparse.npz": inner, "coef.npy": GOOD_ARRAY}
    left = check(tmp_path, "model.skops", zipped(members), MIB)
    assert MIB - left.left == 2 + len(inner) + 3 * len(GOOD_ARRAY)


def test_an_array_of_objects_deep_in_an_archive_is_refused(tmp_path: Path) -> None:
    assert refused(tmp_path, "model.skops", zipped({"x.npz": zipped({"data.npy": OBJECTS})})) == "array"


def test_an_archive_that_unpacks_to_too_much_is_refused(tmp_path: Path) -> None:
    bomb = zipped({f"{n}.bin": bytes(MIB) for n in range(12)})
    assert len(bomb) < MIB // 10
    assert refused(tmp_path, "model.skops", bomb, 11 * MIB) == "unpacked"
    assert refused(tmp_path, "innocent.json", bomb, 11 * MIB) == "unpacked"
    assert refused(tmp_path, "model.skops", zipped({"x.npz": bomb}), 11 * MIB) == "unpacked"
    check(tmp_path, "model.skops", bomb, 12 * MIB)


def test_several_archives_share_what_may_be_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "content"
    path.write_bytes(zipped({"x": bytes(6 * MIB)}))
    left = Unpacked(11 * MIB)
    check_content(path, "a.skops", left)
    with pytest.raises(ArtifactRefused, match=r"b\.skops unpacks to more"):
        check_content(path, "b.skops", left)


def test_archives_within_archives_within_archives_are_refused(tmp_path: Path) -> None:
    nested = zipped({"d": b"{}"})
    for _ in range(2):
        nested = zipped({"n.zip": nested})
    assert refused(tmp_path, "model.skops", nested) == "archive"


def test_an_archive_of_countless_members_is_refused(tmp_path: Path) -> None:
    assert refused(tmp_path, "m.skops", zipped({f"{n}": b"" for n in range(MAX_MEMBERS + 1)})) == "archive"


def test_an_archive_with_a_table_of_contents_too_large_to_be_read_is_refused(tmp_path: Path) -> None:
    packed = bytearray(zipped({"a": b""}))
    end = packed.rfind(b"PK\x05\x06")
    packed[end + 12 : end + 16] = struct.pack("<I", 2**31)
    assert refused(tmp_path, "m.skops", bytes(packed)) == "archive"
    assert (
        refused(tmp_path, "m.skops", bytes(packed[:end]) + b"PK\x06\x07" + bytes(16) + bytes(packed[end:])) == "archive"
    )


@pytest.mark.parametrize(
    "content",
    [b"", b"PK\x03\x04", b"no archive", zipped({"a": b"x" * 100})[:-30]],
    ids=["empty", "a beginning", "a text", "cut off"],  # a moment is written into an archive
)
def test_what_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    assert refused(tmp_path, "m.skops", content) == "archive"


def test_a_member_whose_content_is_not_what_its_archive_says_is_refused(tmp_path: Path) -> None:
    packed = bytearray(zipped({"a": b"x" * 100}, zipfile.ZIP_STORED))
    packed[packed.index(b"xxx")] ^= 1
    assert refused(tmp_path, "m.skops", bytes(packed)) == "archive"


def test_an_encrypted_member_is_refused(tmp_path: Path) -> None:
    packed = bytearray(zipped({"a": b"x" * 100}))
    packed[packed.index(b"PK\x01\x02") + 8] |= 1
    packed[6] |= 1
    assert refused(tmp_path, "m.skops", bytes(packed)) == "archive"


def test_a_long_text_pickle_in_an_archive_is_told_by_its_beginning(tmp_path: Path) -> None:
    pickled = PICKLES["protocol 0"][:-1] + b"(Vaaaaaaaa\ntp4\n" * 2000 + b"."
    assert refused(tmp_path, "weights.bin", pickled) == "pickle"
    assert refused(tmp_path, "m.skops", zipped({"weights": pickled})) == "pickle"
