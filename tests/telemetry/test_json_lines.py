"""JSON lines, read from the end."""

import io

import pytest

from xinet_jax.telemetry.json_lines import lines_from_end, parse_json_lines


@pytest.mark.parametrize("block", [1, 3, 5, 1000])
@pytest.mark.parametrize("text", [b"", b"half", b"\n", b"one\n", b"one\n\ntwo\nthree\n", b"one\nlonger line\nha"])
def test_lines_come_from_the_end_and_half_a_line_does_not(text, block, tmp_path):
    (tmp_path / "file").write_bytes(text)
    assert list(lines_from_end(tmp_path / "file", block)) == text.split(b"\n")[:-1][::-1]


def test_only_the_end_of_a_large_file_is_read(tmp_path, monkeypatch):
    (tmp_path / "file").write_bytes(b"x" * 99 + b"\n" + b"last\n")
    read = []

    class Counted(io.FileIO):
        def read(self, size=-1):
            read.append(size)
            return super().read(size)

    monkeypatch.setattr("pathlib.Path.open", lambda path, mode: Counted(path))
    assert next(lines_from_end(tmp_path / "file", 10)) == b"last"
    assert read == [10]


def test_half_a_record_is_left_out():
    assert list(parse_json_lines([b'{"a": 1}\n', b'{"a": 2}\n', b'{"a'])) == [{"a": 1}, {"a": 2}]
