import os
import socket
import stat
import subprocess
import sys

import pytest

from rdpprov.admin.place import PlaceTakenError, connected_to, default_place, listening_at, may_use, peer_uid
from rdpprov.errors import ConfigurationError

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there are no Unix sockets")


def test_only_the_user_can_get_there(place):
    with listening_at(place):
        assert stat.S_IMODE(place.stat().st_mode) == 0o600
        assert stat.S_IMODE(place.parent.stat().st_mode) == 0o700


def test_somebody_answers_as_long_as_the_block_lasts_and_nothing_is_left(place):
    with listening_at(place) as listening, connected_to(place) as client:
        accepted, _ = listening.accept()
        with accepted:
            accepted.sendall(b"x")
        assert client.recv(1) == b"x"
    assert not place.exists()
    with pytest.raises(FileNotFoundError):
        connected_to(place)


def test_only_one_service_can_be_there_and_it_is_not_disturbed(place):
    with listening_at(place) as listening:
        with (
            pytest.raises(PlaceTakenError, match=rf"^admin socket {place}: another service answers there; --state-dir"),
            listening_at(place),
        ):
            pass
        with connected_to(place):
            listening.accept()[0].close()
    with listening_at(place):
        pass


def test_what_a_killed_service_has_left_is_replaced(place):
    place.parent.mkdir(mode=0o700)
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(place))
    left.close()
    with pytest.raises(ConnectionRefusedError):
        connected_to(place)
    with listening_at(place), connected_to(place):
        pass


def test_what_is_no_socket_is_not_replaced(place):
    place.parent.mkdir(mode=0o700)
    place.write_text("mine")
    with pytest.raises(ConfigurationError, match="there is something else with that name"), listening_at(place):
        pass
    assert place.read_text() == "mine"


def test_a_directory_in_which_others_may_write_is_refused(place):
    place.parent.mkdir()
    place.parent.chmod(0o777)
    with pytest.raises(ConfigurationError, match=r"mode 0777 lets others write in it"), listening_at(place):
        pass


@pytest.mark.skipif(sys.platform != "linux", reason="the way around is Linux's")
def test_a_deep_directory_does_not_matter(tmp_path):
    deep = default_place(tmp_path.joinpath(*["a-rather-long-name"] * 10))
    assert len(os.fsencode(deep)) > 107
    with listening_at(deep) as listening, connected_to(deep):
        listening.accept()[0].close()
    assert not deep.exists()
    with pytest.raises(FileNotFoundError):
        connected_to(deep)


def test_a_name_that_is_too_long_is_said_to_be(tmp_path):
    place = tmp_path / ("n" * 120)
    for use in (listening_at, connected_to):
        too_long = r"^admin socket .* bytes, expected at most 10[37]; --admin names"
        with pytest.raises(ConfigurationError, match=too_long), use(place):
            pass


def test_a_directory_that_is_a_file_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    place = tmp_path / "file" / "admin.sock"
    with pytest.raises(ConfigurationError, match=r"^directory .*/file: file exists"), listening_at(place):
        pass


@pytest.mark.skipif(sys.platform != "linux", reason="SO_PEERCRED is Linux's")
def test_the_kernel_says_who_the_peer_is(place):
    with listening_at(place) as listening, connected_to(place):
        accepted, _ = listening.accept()
        with accepted:
            assert peer_uid(accepted) == os.geteuid()


def test_root_and_the_user_may_and_nobody_else():
    assert may_use(0)
    assert may_use(os.geteuid())
    assert may_use(None)  # where the kernel does not say, the socket's mode has to do
    assert not may_use(os.geteuid() + 1)


def test_the_lock_dies_with_its_process(place):
    program = (
        "import sys, pathlib\nfrom rdpprov.admin.place import listening_at\n"
        f"with listening_at(pathlib.Path({str(place)!r})):\n    print('up', flush=True)\n    sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "up\n"
        with pytest.raises(PlaceTakenError), listening_at(place):
            pass
        process.kill()
    with listening_at(place):
        pass
