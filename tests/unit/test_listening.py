"""Listening sockets: groups of slots, private Unix sockets, and errors one can act on."""

from __future__ import annotations

import os
import resource
import socket
import stat
import sys

import pytest

from longline.address import Address, parse_address
from longline.errors import StartError
from longline.listening import (
    more_tcp,
    open_tcp,
    open_unix,
    queue_state,
    resolve_host,
    socket_inode,
    unlink_unix,
)

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="SO_REUSEPORT spreads on Linux only")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
ANY_PORT = parse_address("http://127.0.0.1:0")


@pytest.fixture
def kept():
    """Sockets that are closed at the end of the test."""
    sockets: list[socket.socket] = []
    yield sockets
    for sock in sockets:
        sock.close()


class TestTcp:
    @on_linux
    def test_each_slot_has_a_socket_at_one_port(self, kept):
        kept += open_tcp(ANY_PORT, 4, backlog=16)
        assert len(kept) == 4
        assert len({port_of(sock) for sock in kept}) == 1
        assert port_of(kept[0]) > 0

    @on_linux
    def test_connections_reach_every_slot(self, kept):
        slots = open_tcp(ANY_PORT, 3, backlog=64)
        kept += slots
        for _ in range(60):
            kept.append(socket.create_connection(slots[0].getsockname()))
        for slot in slots:
            connection, _ = slot.accept()
            connection.close()

    def test_without_reuse_port_one_socket_is_shared(self, kept):
        kept += open_tcp(ANY_PORT, 4, backlog=16, reuse_port=False)
        assert len(kept) == 1

    def test_sockets_never_block_and_are_not_inherited(self, kept):
        kept += open_tcp(ANY_PORT, 2, backlog=16)
        for sock in kept:
            assert not sock.getblocking()
            assert not sock.get_inheritable()
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            if hasattr(socket, "TCP_KEEPIDLE"):
                assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 55
                assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL) == 55

    @pytest.mark.parametrize("reuse_port", [True, False])
    def test_a_second_start_of_the_same_user_is_refused_by_name(self, kept, reuse_port):
        kept += open_tcp(ANY_PORT, 2, backlog=16)
        address = ANY_PORT.with_port(port_of(kept[0]))
        with pytest.raises(StartError) as caught:
            open_tcp(address, 2, backlog=16, reuse_port=reuse_port)
        text = str(caught.value)
        assert text.startswith(f"port {address.port} (http://127.0.0.1:{address.port}) is in use")
        if sys.platform == "linux":
            assert f"by pid {os.getpid()} (" in text

    def test_a_port_that_is_bound_but_not_listening_is_refused(self, kept):
        holder = socket.socket()
        kept.append(holder)
        holder.bind(("127.0.0.1", 0))
        with pytest.raises(StartError, match="is in use"):
            open_tcp(ANY_PORT.with_port(port_of(holder)), 2, backlog=16)

    def test_a_port_whose_connections_linger_can_be_had_again(self, kept):
        first = open_tcp(ANY_PORT, 1, backlog=16)[0]
        client = socket.create_connection(first.getsockname())
        server, _ = first.accept()
        address = ANY_PORT.with_port(port_of(first))
        server.close()
        first.close()
        client.close()
        kept += open_tcp(address, 2, backlog=16)

    @on_linux
    def test_slots_are_added_to_a_group(self, kept):
        kept += open_tcp(ANY_PORT, 1, backlog=16)
        kept += more_tcp(kept[0], 2, 16)
        assert len({port_of(sock) for sock in kept}) == 1
        assert len(kept) == 3

    def test_a_shared_socket_has_no_further_slots(self, kept):
        kept += open_tcp(ANY_PORT, 1, backlog=16, reuse_port=False)
        with pytest.raises(StartError, match="shared"):
            more_tcp(kept[0], 1, 16)

    def test_an_ipv6_wildcard_serves_ipv4_unless_told(self, kept):
        wildcard = parse_address("tcp://[::]:0")
        try:
            kept += open_tcp(wildcard, 2, backlog=16)
        except StartError:
            pytest.skip("this machine has no IPv6")
        kept.append(socket.create_connection(("127.0.0.1", port_of(kept[0]))))
        only = open_tcp(wildcard, 1, backlog=16, v6only=True)
        if sys.platform == "linux":
            only += more_tcp(only[0], 1, 16)
        kept += only
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port_of(only[0])))

    def test_an_address_of_another_machine_is_named(self):
        with pytest.raises(StartError, match=r"192\.0\.2\.1 .* is not an address of this machine"):
            open_tcp(parse_address("tcp://192.0.2.1:0"), 1, backlog=16)

    def test_an_unknown_host_is_named(self):
        with pytest.raises(StartError, match=r"the host no-such\.invalid is unknown"):
            open_tcp(Address("tcp", host="no-such.invalid", port=0), 1, backlog=16)

    def test_a_name_of_both_families_takes_ipv4(self, kept):
        kept += open_tcp(parse_address("tcp://localhost:0"), 1, backlog=16)
        assert kept[0].family == socket.AF_INET

    def test_a_privileged_port_says_what_to_do(self, monkeypatch):
        def refuse(_sock, _where):
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(socket.socket, "bind", refuse)
        with pytest.raises(StartError, match=r"port 80 .*CAP_NET_BIND_SERVICE"):
            open_tcp(parse_address("http://127.0.0.1:80"), 1, backlog=16)

    @on_linux
    def test_c5_too_many_slots_for_the_descriptors_leave_none_open(self):
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        before = sorted(os.listdir("/proc/self/fd"))
        resource.setrlimit(resource.RLIMIT_NOFILE, (len(before) + 20, limits[1]))
        try:
            with pytest.raises(StartError, match="too many open files"):
                open_tcp(ANY_PORT, 200, backlog=16)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        assert sorted(os.listdir("/proc/self/fd")) == before


@pytest.fixture
def unix(tmp_path):
    return Address("tcp", "unix", path=str(tmp_path / "app.sock"))


def port_of(sock):
    return sock.getsockname()[1]


def mode_of(path):
    return stat.S_IMODE(os.lstat(path).st_mode)


class TestUnix:
    @pytest.mark.parametrize("mode", [0o600, 0o660, 0o666])
    @pytest.mark.parametrize("umask", [0, 0o077])
    def test_c9_the_mode_is_the_one_asked_for(self, kept, unix, mode, umask):
        before = os.umask(umask)
        try:
            kept.append(open_unix(unix, backlog=16, mode=mode))
            assert os.umask(umask) == umask
        finally:
            os.umask(before)
        assert mode_of(unix.path) == mode

    @pytest.mark.parametrize("owner_gid", [None, os.getegid()])
    def test_c9_it_is_never_more_open_than_that(self, kept, unix, monkeypatch, owner_gid):
        seen = []
        bind = socket.socket.bind

        def watched(sock, where):
            bind(sock, where)
            seen.append(mode_of(where))

        monkeypatch.setattr(socket.socket, "bind", watched)
        before = os.umask(0)
        try:
            kept.append(open_unix(unix, backlog=16, mode=0o660, owner_gid=owner_gid))
        finally:
            os.umask(before)
        assert seen == [0o660 if owner_gid is None else 0o600]
        assert mode_of(unix.path) == 0o660

    @needs_root
    def test_c9_it_is_given_to_its_owner(self, kept, unix):
        kept.append(open_unix(unix, backlog=16, mode=0o660, owner_uid=65534, owner_gid=65533))
        status = os.lstat(unix.path)
        assert (status.st_uid, status.st_gid) == (65534, 65533)
        assert mode_of(unix.path) == 0o660

    def test_it_listens_without_blocking(self, kept, unix):
        sock = open_unix(unix, backlog=16)
        kept.append(sock)
        assert not sock.getblocking()
        assert not sock.get_inheritable()
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(unix.path)

    def test_c9_a_stale_socket_is_replaced(self, kept, unix):
        open_unix(unix, backlog=16).close()
        assert os.path.exists(unix.path)
        kept.append(open_unix(unix, backlog=16))

    def test_c9_a_live_socket_is_an_error(self, kept, unix):
        kept.append(open_unix(unix, backlog=16))
        inode = socket_inode(unix.path)
        with pytest.raises(StartError, match="a running process listens"):
            open_unix(unix, backlog=16)
        assert socket_inode(unix.path) == inode

    def test_c9_a_live_socket_with_a_full_queue_is_an_error(self, kept, unix):
        kept.append(open_unix(unix, backlog=0))
        for _ in range(3):
            client = socket.socket(socket.AF_UNIX)
            client.setblocking(False)
            kept.append(client)
            try:
                client.connect(unix.path)
            except BlockingIOError:
                break
        with pytest.raises(StartError, match="a running process listens"):
            open_unix(unix, backlog=16)

    def test_c9_a_datagram_socket_is_live_too(self, kept, unix):
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        kept.append(sock)
        sock.bind(unix.path)
        with pytest.raises(StartError, match="a running process listens"):
            open_unix(unix, backlog=16)

    @pytest.mark.parametrize("kind", ["file", "directory", "fifo"])
    def test_c9_what_is_no_socket_is_left_alone(self, unix, kind):
        make = {
            "file": lambda: open(unix.path, "w").close(),
            "directory": lambda: os.mkdir(unix.path),
            "fifo": lambda: os.mkfifo(unix.path),
        }
        make[kind]()
        inode = os.lstat(unix.path).st_ino
        with pytest.raises(StartError, match="no socket"):
            open_unix(unix, backlog=16)
        assert os.lstat(unix.path).st_ino == inode

    def test_c9_a_link_is_left_alone(self, unix, tmp_path):
        open_unix(Address("tcp", "unix", path=str(tmp_path / "other")), backlog=16).close()
        os.symlink(tmp_path / "other", unix.path)
        with pytest.raises(StartError, match="symbolic link"):
            open_unix(unix, backlog=16)
        assert (tmp_path / "other").exists()

    def test_a_missing_directory_is_named(self, tmp_path):
        address = Address("tcp", "unix", path=str(tmp_path / "missing" / "app.sock"))
        with pytest.raises(StartError, match="missing does not exist"):
            open_unix(address, backlog=16)

    @needs_root
    def test_c9_a_failure_on_the_way_leaves_nothing(self, unix, monkeypatch):
        def refuse(*_args, **_options):
            raise PermissionError(1, "Operation not permitted")

        monkeypatch.setattr(os, "chown", refuse)
        with pytest.raises(StartError, match="give the socket away"):
            open_unix(unix, backlog=16, owner_uid=65534)
        assert not os.path.exists(unix.path)

    def test_c9_only_our_own_is_unlinked(self, kept, unix):
        kept.append(open_unix(unix, backlog=16))
        inode = socket_inode(unix.path)
        os.rename(unix.path, unix.path + ".old")
        kept.append(open_unix(unix, backlog=16))
        assert not unlink_unix(unix.path, inode)
        assert os.path.exists(unix.path)
        assert unlink_unix(unix.path, socket_inode(unix.path))
        assert not unlink_unix(unix.path, inode)

    def test_c9_a_file_in_its_place_is_not_unlinked(self, unix):
        open(unix.path, "w").close()
        status = os.lstat(unix.path)
        assert not unlink_unix(unix.path, (status.st_dev, status.st_ino))
        with pytest.raises(StartError, match="replaced"):
            socket_inode(unix.path)
        os.unlink(unix.path)
        with pytest.raises(StartError, match="gone"):
            socket_inode(unix.path)


class TestQueue:
    @on_linux
    def test_waiting_and_dropped_connections_are_counted(self, kept):
        kept += open_tcp(ANY_PORT, 1, backlog=2)
        assert queue_state(kept[0]) == (0, 0)
        for _ in range(8):
            peer = socket.socket()
            peer.setblocking(False)
            peer.connect_ex(kept[0].getsockname())
            kept.append(peer)
        waiting, dropped = queue_state(kept[0])
        # The kernel lets in one more than it was told.
        assert waiting == 3
        assert dropped == 5

    def test_what_is_no_tcp_socket_has_no_figures(self):
        left, right = socket.socketpair()
        with left, right:
            assert queue_state(left) == (0, 0)


class TestResolve:
    def test_a_name_becomes_an_address(self):
        assert str(resolve_host(parse_address("text://localhost:80"))) == "text://127.0.0.1:80"

    def test_a_unix_address_stays(self):
        address = parse_address("unix:///tmp/x.sock")
        assert resolve_host(address) is address

    def test_an_unknown_name_is_said(self):
        with pytest.raises(StartError, match=r"no-such-host\.invalid"):
            resolve_host(parse_address("text://no-such-host.invalid:80"))
