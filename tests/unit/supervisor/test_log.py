"""Records, lines and formats; where they are written is test_logsink's matter."""

from __future__ import annotations

import json
import os
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longline.supervisor.log import (
    MAX_LINE_BYTES,
    LineBuffer,
    LogWriter,
    Record,
    decode_line,
    encode_record,
    escape,
    level_name,
)

GOOD = {"time": 1.0, "level": 20, "name": "n", "message": "m", "traceback": ""}
EVIL = (
    *map(chr, (*range(0x20), *range(0x7F, 0xA0))), "\u2028", "\u2029", "\ud800", "\udfff",
)  # fmt: skip
MOMENT = 1_795_455_092.123


def record(message="hello", **fields):
    defaults = {"time": MOMENT, "level": 20, "name": "app", "pid": 4242}
    return Record(**(defaults | fields), message=message)


@pytest.fixture
def written(tmp_path):
    """Write records as text or JSON and return what the file holds."""

    def write(*records, as_json=False):
        path = tmp_path / "log"
        writer = LogWriter(str(path), console=None, json=as_json)
        for one in records:
            writer.write(one)
        writer.close()
        return path.read_bytes().decode()

    return write


class TestPipeLines:
    @given(
        message=st.text(),
        traceback=st.text(),
        name=st.text(max_size=200),
        level=st.integers(0, 1000),
        moment=st.floats(0, 1e11),
    )
    def test_what_was_encoded_is_decoded(self, message, traceback, name, level, moment):
        original = Record(moment, level, name, 7, message, traceback)
        line = encode_record(original)
        assert line.count(b"\n") == 1
        assert decode_line(line, 7) == original

    def test_the_pid_is_the_one_that_the_master_knows(self):
        assert decode_line(encode_record(record(pid=1)), 99).pid == 99

    @pytest.mark.parametrize("char", ["x", "\n", "\0", "é", "\U0001f600", "\ud800"])
    @pytest.mark.parametrize("where", ["message", "traceback"])
    def test_a_long_record_is_cut_with_a_mark(self, char, where):
        line = encode_record(record(**{"message": "m", where: char * 100_000}))
        assert MAX_LINE_BYTES * 0.9 < len(line) <= MAX_LINE_BYTES
        assert re.search(r"\[cut: \d+ characters\]", getattr(decode_line(line, 1), where))

    def test_the_last_lines_of_a_long_traceback_stay(self):
        trace = "frame\n" * 50_000 + "ValueError: the cause"
        cut = decode_line(encode_record(record("m" * 90_000, traceback=trace)), 1)
        assert cut.traceback.endswith("ValueError: the cause")
        assert cut.message.startswith("mmm")

    def test_the_mark_counts_what_is_missing(self):
        text = "abc" * 40_000
        cut = decode_line(encode_record(record(text)), 1).message
        kept, missing = re.fullmatch(r"([abc]+) \[cut: (\d+) characters\] ", cut).groups()
        assert len(kept) + int(missing) == len(text)

    def test_a_long_logger_name_is_cut(self):
        assert len(decode_line(encode_record(record(name="n" * 100_000)), 1).name) == 200

    @pytest.mark.parametrize(
        "line",
        [
            b"plain text",
            b"",
            b"{",
            b"{}",
            b"[1]",
            b"[" * 50_000,
            b"{" + b'"a":{' * 20_000,
            b'{"time":' + b"9" * 5000 + b"}",
            *(
                json.dumps(GOOD | change).encode()
                for change in (
                    {"time": True}, {"time": "1"}, {"time": -1}, {"time": 1e300},
                    {"time": float("nan")}, {"time": float("inf")}, {"time": 10**400},
                    {"level": 20.0}, {"level": True}, {"level": -1}, {"level": 10**9},
                    {"name": 1}, {"message": None}, {"traceback": []}, {"pid": 1},
                )
            ),
            json.dumps({k: v for k, v in GOOD.items() if k != "name"}).encode(),
        ],
    )  # fmt: skip
    def test_what_is_no_record_is_text(self, line):
        got = decode_line(line, 5)
        assert (got.name, got.level, got.pid) == ("output", 30, 5)
        assert got.message == line.decode()
        assert abs(got.time - time.time()) < 3600

    @given(st.binary(max_size=300))
    def test_any_bytes_are_taken_and_can_be_written(self, line):
        got = decode_line(line, 5)
        assert got.pid == 5
        escape(got.message).encode()


class TestLineBuffer:
    @given(st.lists(st.binary(min_size=1, max_size=20)), st.data())
    def test_any_split_gives_the_same_lines(self, lines, data):
        lines = [line.replace(b"\n", b".") for line in lines]
        stream = b"".join(line + b"\n" for line in lines) + b"rest"
        buffer, got = LineBuffer(), []
        while stream:
            size = data.draw(st.integers(1, len(stream)))
            got += buffer.feed(stream[:size])
            stream = stream[size:]
        assert got == lines
        assert buffer.flush() == b"rest"
        assert buffer.flush() == b""

    @pytest.mark.parametrize("size", [1000, 65_536, 200_000])
    def test_an_endless_line_is_cut_and_the_next_one_is_whole(self, size):
        buffer, got = LineBuffer(), []
        stream = b"x" * 200_000 + b"\nnext\n"
        for place in range(0, len(stream), size):
            got += buffer.feed(stream[place : place + size])
        assert len(got) == 2
        assert len(got[0]) == MAX_LINE_BYTES
        assert got[0].endswith(b" [cut]")
        assert got[1] == b"next"

    def test_the_longest_record_passes_uncut(self):
        line = encode_record(record("x" * 100_000))
        assert len(line) == MAX_LINE_BYTES or len(line) > MAX_LINE_BYTES - 100
        assert LineBuffer().feed(line) == [line[:-1]]

    def test_empty_lines_are_left_out(self):
        assert LineBuffer().feed(b"\n\na\n\n") == [b"a"]


class TestText:
    def test_a_record_is_one_line(self, written, monkeypatch):
        monkeypatch.setenv("TZ", "UTC")
        time.tzset()
        try:
            assert written(record()) == "2026-11-23 17:31:32.123 INFO pid:4242 app: hello\n"
        finally:
            monkeypatch.undo()
            time.tzset()

    def test_a_traceback_follows_indented(self, written):
        text = written(record(traceback="Traceback:\n  File x\nValueError: no\n"))
        assert text.split("\n")[1:] == ["  Traceback:", "    File x", "  ValueError: no", ""]

    @pytest.mark.parametrize("evil", EVIL, ids=[f"U+{ord(c):04X}" for c in EVIL])
    @pytest.mark.parametrize("where", ["message", "name", "traceback"])
    def test_q5_no_control_character_comes_through(self, written, evil, where):
        fields = {"message": "m", where: f"a{evil}b"}
        text = written(record(**fields))
        lines = text.removesuffix("\n").split("\n")
        assert len(lines) == (1 if where != "traceback" else 2 + (evil == "\n"))
        assert all(line.isprintable() for line in lines)

    def test_q5_a_forged_line_stays_in_its_own(self, written):
        text = written(record("x\n2026-11-23 17:31:32.123 INFO pid:1 app: forged"))
        assert text.count("\n") == 1
        assert "x\\n2026" in text

    def test_other_letters_stay_readable(self, written):
        assert "grüße, 你好 😀" in written(record("grüße, 你好 😀"))

    @pytest.mark.parametrize(
        ("level", "name"),
        [(0, "DEBUG"), (10, "DEBUG"), (20, "INFO"), (25, "INFO"), (30, "WARNING"),
         (40, "ERROR"), (50, "CRITICAL"), (1000, "CRITICAL")],
    )  # fmt: skip
    def test_levels_have_names(self, level, name):
        assert level_name(level) == name


class TestJson:
    def test_the_keys_are_stable(self, written):
        assert json.loads(written(record(traceback="t"), as_json=True)) == {
            "time": "2026-11-23T17:31:32.123Z",
            "level": "INFO",
            "pid": 4242,
            "logger": "app",
            "message": "hello",
            "traceback": "t",
        }

    @given(message=st.text(), traceback=st.text())
    def test_q5_every_record_is_one_line_of_valid_json(self, tmp_path_factory, message, traceback):
        path = tmp_path_factory.mktemp("log") / "log"
        writer = LogWriter(str(path), console=None, json=True)
        writer.write(record(message, traceback=traceback))
        writer.close()
        lines = path.read_bytes().splitlines()
        assert len(lines) == 1
        assert json.loads(lines[0])["message"] == message
        assert json.loads(lines[0])["traceback"] == traceback


def test_records_go_to_file_and_console_alike(tmp_path):
    read, write = os.pipe()
    writer = LogWriter(str(tmp_path / "log"), console=write)
    writer.write(record())
    writer.close()
    os.close(write)
    with os.fdopen(read, "rb") as file:
        assert file.read() == (tmp_path / "log").read_bytes()
    assert writer.lost == 0


def test_a_writer_without_any_place_loses_nothing():
    writer = LogWriter(None, console=None)
    writer.write(record())
    writer.reopen()
    writer.close()
    assert writer.lost == 0
