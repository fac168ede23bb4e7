"""Q-8: after the drop there is no way back, or there is no service."""

from __future__ import annotations

import grp
import json
import os
import pwd
import traceback

import pytest

from longline.errors import StartError
from longline.supervisor.privilege import Identity, describe, drop, resolve

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
USER = "nobody"


def in_child(function):
    """Call `function` in a forked process, for good; return what it answers (JSON)."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            answer = function()
        except StartError as error:
            answer = f"StartError: {error}"
        except BaseException:
            answer = traceback.format_exc()
        os.write(write, json.dumps(answer).encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as file:
        answer = json.loads(file.read())
    os.waitpid(pid, 0)
    return answer


@pytest.fixture
def nobody():
    try:
        return pwd.getpwnam(USER)
    except KeyError:
        pytest.skip(f"this system has no user {USER}")


class TestResolve:
    def test_a_name(self, nobody):
        identity = resolve(USER)
        assert identity.user == USER
        assert (identity.uid, identity.gid) == (nobody.pw_uid, nobody.pw_gid)
        assert set(identity.groups) == set(os.getgrouplist(USER, nobody.pw_gid))

    def test_a_number_of_a_known_user(self, nobody):
        assert resolve(str(nobody.pw_uid)) == resolve(USER)

    def test_a_group_by_name_and_by_number(self):
        root = grp.getgrgid(0)
        assert resolve(USER, root.gr_name).gid == resolve(USER, "0").gid == 0
        assert 0 in resolve(USER, "0").groups

    def test_a_number_without_an_entry_needs_a_group(self):
        with pytest.raises(StartError, match="name a group"):
            resolve("4000000000")
        assert resolve("4000000000", "4000000001") == Identity(
            "4000000000", 4_000_000_000, 4_000_000_001, (4_000_000_001,)
        )

    @pytest.mark.parametrize(
        "user", ["no-such-user", "", "-1", "4294967295", "4294967296", "9" * 5000, "\u0663", "a\0b"]
    )
    def test_q8_an_unknown_user_is_refused(self, user):
        with pytest.raises(StartError, match="no such user"):
            resolve(user)

    @pytest.mark.parametrize("group", ["no-such-group", "", "-1", "4294967295", "a\0b"])
    def test_q8_an_unknown_group_is_refused(self, group):
        with pytest.raises(StartError, match="no such group"):
            resolve(USER, group)


@needs_root
class TestDropAsRoot:
    def test_q8_all_ids_and_groups_change(self, nobody):
        def report():
            drop(resolve(USER))
            with open("/proc/self/status") as file:
                lines = dict(
                    line.rstrip("\n").split(":\t", 1)
                    for line in file
                    if line.startswith(("Uid", "Gid", "Groups"))
                )
            return {name: sorted(set(map(int, text.split()))) for name, text in lines.items()}

        identity = resolve(USER)
        assert in_child(report) == {
            "Uid": [identity.uid],
            "Gid": [identity.gid],
            "Groups": sorted(identity.groups),
        }

    def test_q8_supplementary_groups_of_root_are_gone(self):
        def report():
            os.setgroups([0, 7, 4242])
            drop(resolve(USER))
            return sorted(os.getgroups())

        assert in_child(report) == sorted(resolve(USER).groups)

    def test_q8_root_cannot_be_had_back(self):
        def report():
            drop(resolve(USER))
            try:
                os.setresuid(-1, 0, -1)
            except PermissionError:
                return "refused"
            return "root again"

        assert in_child(report) == "refused"

    def test_the_environment_is_the_users(self, nobody):
        def report():
            drop(resolve(USER))
            return [os.environ[name] for name in ("HOME", "USER", "LOGNAME")]

        assert in_child(report) == [nobody.pw_dir, USER, USER]

    def test_a_second_drop_to_the_same_user_is_fine(self):
        def report():
            drop(resolve(USER))
            drop(resolve(USER))
            return "fine"

        assert in_child(report) == "fine"

    def test_another_user_cannot_be_taken_on_afterwards(self):
        def report():
            drop(resolve(USER))
            drop(resolve("4000000000", "4000000000"))
            return "changed"

        assert "only root can" in in_child(report)

    def test_root_may_be_asked_for(self):
        def report():
            drop(resolve("root"))
            return os.getresuid()

        assert in_child(report) == [0, 0, 0]

    @pytest.mark.parametrize("name", ["setgroups", "setresgid", "setresuid"])
    def test_q8_a_step_that_fails_ends_it(self, monkeypatch, name):
        def fail(*_ids):
            raise PermissionError(1, "Operation not permitted")

        monkeypatch.setattr(os, name, fail)
        assert in_child(lambda: drop(resolve(USER))).startswith("StartError: cannot become")

    @pytest.mark.parametrize("name", ["setgroups", "setresgid", "setresuid"])
    def test_q8_a_step_that_does_nothing_is_noticed(self, monkeypatch, name):
        monkeypatch.setattr(os, name, lambda *_ids: None)

        def report():
            # Root's own groups are otherwise the same as what a no-op leaves.
            return drop(Identity("x", 65533, 65533, (65533, 65532)))

        assert in_child(report).startswith("StartError: cannot become")

    def test_q8_a_kept_capability_is_noticed(self, monkeypatch):
        """As with an ambient CAP_SETUID: the ids are right, but root is one call away."""

        def report():
            drop(resolve(USER))
            monkeypatch.setattr(os, "seteuid", lambda _uid: None)
            drop(resolve(USER))

        assert "could become root again" in in_child(report)


class TestDropWithoutRoot:
    def test_becoming_somebody_else_is_refused(self, monkeypatch):
        monkeypatch.setattr(os, "geteuid", lambda: 1000)
        with pytest.raises(StartError, match="only root can"):
            drop(Identity("x", 4242, 4242, (4242,)))


def test_describe_names_the_user_and_all_ids():
    text = describe()
    assert f"uid {os.geteuid()}" in text
    assert f"gid {os.getegid()}" in text
