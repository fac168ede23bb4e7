"""What the system knows of processes."""

from __future__ import annotations

import os
import resource
import signal
import socket
import subprocess
import sys

import pytest

from longline import osproc

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="needs prctl and /proc")

REPORT = "import sys; from longline import osproc; "


def run_python(code: str) -> str:
    """Run code in a process whose state may be spoilt; return what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", REPORT + code], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.fixture
def sleeper():
    """A child that waits until it is killed."""
    pid = os.fork()
    if pid == 0:
        signal.pause()
        os._exit(0)
    yield pid
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


@on_linux
class TestPrctl:
    def test_a_subreaper_gets_the_orphans_below_it(self):
        code = (
            "import os\n"
            "assert osproc.set_child_subreaper()\n"
            "r, w = os.pipe()\n"
            "if os.fork() == 0:\n"
            "    if os.fork() == 0:\n"
            "        os.read(r, 1); os._exit(7)\n"
            "    os._exit(0)\n"
            "os.wait(); os.write(w, b'x'); print(os.waitstatus_to_exitcode(os.wait()[1]))"
        )
        assert run_python("\n" + code) == "7"

    def test_p5_the_signal_comes_when_the_parent_ends(self):
        code = (
            "import os, signal\n"
            "end_r, end_w = os.pipe(); armed_r, armed_w = os.pipe()\n"
            "if os.fork() == 0:\n"
            "    os.close(end_r)\n"
            "    if os.fork() == 0:\n"
            "        assert osproc.set_parent_death_signal(signal.SIGKILL)\n"
            "        os.write(armed_w, b'x')\n"
            "        signal.pause(); os._exit(0)\n"
            "    os.read(armed_r, 1); os._exit(0)\n"
            "os.close(end_w); os.read(end_r, 1)\n"
            "print('gone')"
        )
        assert run_python("\n" + code) == "gone"

    def test_q10_privileges_cannot_be_gained_any_more(self):
        code = (
            "assert osproc.set_no_new_privs(); "
            "print([l.split()[1] for l in open('/proc/self/status') if 'NoNewPrivs' in l])"
        )
        assert run_python(code) == "['1']"

    def test_a_refusal_of_the_kernel_is_false(self):
        assert run_python("print(osproc.set_parent_death_signal(100000))") == "False"


@on_linux
class TestProc:
    def test_states_are_letters(self, sleeper):
        os.kill(sleeper, signal.SIGSTOP)
        os.waitpid(sleeper, os.WUNTRACED)
        assert osproc.process_state(sleeper) == "T"
        assert osproc.process_state(os.getpid()) == "R"

    def test_a_name_with_parentheses_confuses_nobody(self):
        code = (
            "import os\n"
            "open('/proc/self/comm', 'w').write(') Z 1 (')\n"
            "print(osproc.process_state(os.getpid()), osproc.start_time(os.getpid()) > 0)"
        )
        assert run_python("\n" + code) == "R True"

    def test_start_times_grow(self, sleeper):
        mine, later = osproc.start_time(os.getpid()), osproc.start_time(sleeper)
        assert mine is not None
        assert later is not None
        assert mine <= later

    def test_processor_time_is_seconds(self):
        used = osproc.cpu_time(os.getpid())
        times = os.times()
        assert used is not None
        assert used == pytest.approx(times.user + times.system, abs=1.0)

    def test_a_process_that_is_gone_is_unknown(self):
        child = subprocess.Popen([sys.executable, "-c", ""])
        child.wait()
        for ask in (osproc.process_state, osproc.start_time, osproc.cpu_time):
            assert ask(child.pid) is None
        assert osproc.open_descriptors(child.pid) is None

    def test_c7_descriptors_are_counted(self):
        before = osproc.open_descriptors()
        assert before is not None
        pair = os.pipe()
        assert osproc.open_descriptors() == before + 2
        assert osproc.open_descriptors(os.getpid()) == before + 2
        for descriptor in pair:
            os.close(descriptor)
        assert osproc.open_descriptors() == before


class TestLimits:
    def test_c6_the_soft_limit_becomes_the_hard_one(self):
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        code = (
            "import resource\n"
            "hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]\n"
            "resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))\n"
            "print(osproc.raise_descriptor_limit() == resource.getrlimit(resource.RLIMIT_NOFILE),"
            " *osproc.raise_descriptor_limit())"
        )
        same, soft, _ = run_python("\n" + code).split()
        assert same == "True"
        assert int(soft) == hard or int(soft) >= 65536

    def test_q10_no_core_files(self):
        code = (
            "import resource; osproc.restrict_core_dumps(); "
            "print(resource.getrlimit(resource.RLIMIT_CORE))"
        )
        assert run_python(code) == "(0, 0)"


class TestIsOwnChild:
    def test_p10_a_child_is_ours_until_it_is_reaped(self):
        child = subprocess.Popen([sys.executable, "-c", ""])
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert osproc.is_own_child(child.pid)
        assert osproc.is_own_child(child.pid)
        assert child.wait() == 0
        assert not osproc.is_own_child(child.pid)

    def test_p10_a_live_child_is_ours(self, sleeper):
        assert osproc.is_own_child(sleeper)

    @pytest.mark.parametrize("pid", [0, -1, 1, 2**40])
    def test_p10_others_are_not(self, pid):
        assert not osproc.is_own_child(pid)


@on_linux
class TestPortOwner:
    @pytest.fixture(params=["127.0.0.1", "0.0.0.0", "::1", "::"])
    def listener(self, request):
        family = socket.AF_INET6 if ":" in request.param else socket.AF_INET
        try:
            sock = socket.create_server((request.param, 0), family=family)
        except OSError:
            pytest.skip("no such address family here")
        with sock:
            yield sock

    def test_the_listener_is_found(self, listener):
        host, port = listener.getsockname()[:2]
        pid, name = osproc.port_owner(host, port) or (0, "")
        assert pid == os.getpid()
        assert name

    def test_a_wildcard_collides_with_every_address(self):
        with socket.create_server(("0.0.0.0", 0)) as sock:
            port = sock.getsockname()[1]
            assert osproc.port_owner("127.0.0.1", port)
            assert osproc.port_owner("localhost", port)
        with socket.create_server(("127.0.0.1", 0)) as sock:
            port = sock.getsockname()[1]
            assert osproc.port_owner("0.0.0.0", port)
            assert osproc.port_owner("127.0.0.2", port) is None

    def test_a_free_port_has_no_owner(self):
        with socket.create_server(("127.0.0.1", 0)) as sock:
            port = sock.getsockname()[1]
        assert osproc.port_owner("127.0.0.1", port) is None
