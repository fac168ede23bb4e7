"""A child's records on their way into its pipe."""

from __future__ import annotations

import io
import logging
import os
import sys

import pytest

from longline.supervisor import childlog
from longline.supervisor.childlog import LogStream, PipeHandler, configure_child_logging
from longline.supervisor.log import LineBuffer, Record, decode_line


class Pipe:
    """A pipe and the records that came through it."""

    def __init__(self) -> None:
        self.read_end, self.write_end = os.pipe()
        os.set_blocking(self.read_end, False)
        self._lines = LineBuffer()

    def records(self) -> list[Record]:
        lines = []
        while True:
            try:
                data = os.read(self.read_end, 65536)
            except BlockingIOError:
                break
            if not data:
                break
            lines += self._lines.feed(data)
        return [decode_line(line, 7) for line in lines]

    def texts(self) -> list[str]:
        return [record.message for record in self.records()]

    def close(self) -> None:
        for descriptor in (self.read_end, self.write_end):
            try:
                os.close(descriptor)
            except OSError:
                continue


@pytest.fixture
def pipe():
    pipe = Pipe()
    yield pipe
    pipe.close()


@pytest.fixture
def handler(pipe):
    return PipeHandler(pipe.write_end)


@pytest.fixture
def logger(handler):
    logger = logging.Logger("app.part", logging.DEBUG)
    logger.addHandler(handler)
    return logger


class TestPipeHandler:
    def test_a_record_arrives_as_it_was_logged(self, logger, pipe):
        logger.warning("hello %s", "you")
        (got,) = pipe.records()
        assert (got.level, got.name, got.message) == (30, "app.part", "hello you")
        assert got.traceback == ""

    def test_a_traceback_arrives(self, logger, pipe):
        try:
            raise ValueError("the cause")
        except ValueError:
            logger.exception("failed", stack_info=True)
        (got,) = pipe.records()
        assert got.traceback.startswith("Traceback")
        assert "ValueError: the cause" in got.traceback
        assert "Stack (most recent call last)" in got.traceback

    def test_a_wrong_argument_is_a_line_not_an_exception(self, logger, pipe):
        logger.info("%d things", "many")
        (got,) = pipe.records()
        assert got.message.startswith("%d things (cannot be formatted: TypeError")

    def test_q6_a_full_pipe_is_not_waited_for_and_its_losses_are_told(self, logger, handler, pipe):
        for number in range(3000):
            logger.info("number %d %s", number, "x" * 100)
        assert handler.lost > 0
        arrived = pipe.texts()
        assert [text.split()[1] for text in arrived] == [str(n) for n in range(len(arrived))]
        assert len(arrived) + handler.lost >= 3000 - 1
        logger.info("again")
        texts = pipe.texts()
        assert texts[-2:] == [
            f"{handler.lost} log records of this process were lost: the pipe was full",
            "again",
        ]

    def test_lines_above_the_atomic_size_are_never_torn(self, logger, handler, pipe):
        """pipe(7): a write above PIPE_BUF may be taken in part."""
        sent = 0
        records = []
        for round_number in range(40):
            for size in (30_000, 10, 9_000):
                logger.info("%d %s", sent, "x" * size)
                sent += 1
            if round_number % 3 == 0:
                records += pipe.records()
        for _ in range(3):
            records += pipe.records()
            logger.info("end")
        records += pipe.records()
        assert "output" not in {record.name for record in records}
        arrived = [r for r in records if r.name == "app.part" and r.message != "end"]
        assert len(arrived) + handler.lost == sent

    def test_a_reader_that_is_gone_harms_nobody(self, logger, handler, pipe):
        os.close(pipe.read_end)
        logger.info("x")
        assert handler.lost == 1

    def test_a_closed_pipe_harms_nobody(self, logger, handler, pipe):
        os.close(pipe.write_end)
        logger.info("x")
        assert handler.lost == 1

    def test_a_forked_worker_changes_to_its_own_pipe(self, logger, handler, pipe):
        while not handler.lost:
            logger.info("x" * 30_000)
        other = Pipe()
        handler.retarget(other.write_end)
        logger.info("mine")
        assert other.texts() == ["mine"]
        other.close()


class TestLogStream:
    @pytest.fixture
    def stream(self, handler):
        stream = LogStream(handler, "stdout", logging.INFO, 1)
        yield stream
        # The collector closes streams, and closing sends: not into a pipe that is gone.
        stream.discard()

    def test_printed_lines_become_records(self, stream, pipe):
        print("one", "two", file=stream)
        print("three\nfour\r\n", file=stream)
        records = pipe.records()
        assert [record.message for record in records] == ["one two", "three", "four"]
        assert {(record.name, record.level) for record in records} == {("stdout", 20)}

    def test_a_line_waits_for_its_end(self, stream, pipe):
        stream.write("be")
        stream.flush()
        assert pipe.texts() == []
        stream.write("gin\n")
        assert pipe.texts() == ["begin"]

    def test_a_line_without_end_is_bounded(self, stream, pipe):
        for _ in range(50):
            stream.write("x" * 1000)
        assert [len(text) for text in pipe.texts()] == [17_000, 17_000]

    def test_close_sends_what_is_left(self, stream, pipe):
        stream.write("last")
        stream.close()
        stream.close()
        assert pipe.texts() == ["last"]

    def test_it_looks_like_a_text_stream(self, handler, stream):
        assert stream.writable()
        assert not stream.readable()
        assert not stream.isatty()
        assert stream.encoding == "utf-8"
        assert stream.fileno() == 1
        with pytest.raises(io.UnsupportedOperation):
            LogStream(handler, "x", 20).fileno()
        with pytest.raises(TypeError, match="takes a str"):
            stream.write(b"x")

    def test_bytes_written_to_its_buffer_are_text(self, stream, pipe):
        assert stream.buffer.write(b"caf\xc3\xa9 \xff\n") == 8
        assert pipe.texts() == ["café \\xff"]

    def test_a_handler_that_writes_to_the_stream_does_not_call_itself(self, stream, pipe):
        logger = logging.Logger("app")
        logger.addHandler(logging.StreamHandler(stream))
        logger.warning("once")
        assert pipe.texts() == ["once"]


class TestConfigure:
    @pytest.fixture(autouse=True)
    def restored(self, monkeypatch):
        root = logging.getLogger()
        handlers, level = root.handlers[:], root.level
        monkeypatch.setattr(childlog, "_handler", None)
        monkeypatch.setattr(sys, "stdout", sys.stdout)
        monkeypatch.setattr(sys, "stderr", sys.stderr)
        yield
        root.handlers[:] = handlers
        root.setLevel(level)

    def test_every_logger_reaches_the_pipe(self, pipe):
        configure_child_logging(pipe.write_end, "INFO")
        logging.getLogger("a.b").info("seen")
        logging.getLogger("a.b").debug("not seen")
        assert pipe.texts() == ["seen"]

    def test_output_is_redirected_when_asked_for(self, pipe):
        before = sys.stdout
        configure_child_logging(pipe.write_end, logging.INFO)
        assert sys.stdout is before
        configure_child_logging(pipe.write_end, logging.INFO, redirect=True)
        print("out")
        print("err", file=sys.stderr)
        got = [(record.name, record.level, record.message) for record in pipe.records()]
        assert got == [("stdout", 20, "out"), ("stderr", 30, "err")]

    def test_a_forked_worker_keeps_what_the_application_configured(self, pipe):
        first = configure_child_logging(pipe.write_end, "INFO", redirect=True)
        root = logging.getLogger()
        root.setLevel(logging.ERROR)
        print("half a line of the template", end="")
        stream = sys.stdout
        other = Pipe()
        assert configure_child_logging(other.write_end, "INFO", redirect=True) is first
        assert root.level == logging.ERROR
        assert root.handlers.count(first) == 1
        assert sys.stdout is stream
        print("worker")
        logging.error("from the worker")
        assert other.texts() == ["worker", "from the worker"]
        assert pipe.texts() == []
        other.close()
