"""What is in the wheel and in the sdist, and that the installed wheel does the main job."""

import contextlib
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import tarfile
import time
import tomllib
import venv
import zipfile
from pathlib import PurePosixPath

import pytest

# One worker for all of them, so that wheel and sdist are built once.
pytestmark = pytest.mark.xdist_group("packaging")


def needed_at_run_time(root):
    """Every file of the package and of what is mapped into it, as it is called in the wheel."""
    for top, prefix in ((root / "rdpprov", "rdpprov"), (root / "protocol_specs", "rdpprov/protocol_specs")):
        for path in top.rglob("*"):
            if path.is_file() and path.suffix not in {".c", ".h", ".so", ".pyd", ".pyc"} and path.name != "ruff.toml":
                yield f"{prefix}/{path.relative_to(top).as_posix()}"


def test_the_wheel_has_every_file_of_the_package(wheel, source):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert sorted(set(needed_at_run_time(source)) - names) == []
    own = {name for name in names if name.startswith("rdpprov/")}
    assert {name for name in own if PurePosixPath(name).suffix in {".c", ".h", ".pyc"}} == set()
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)


def test_the_wheel_has_the_viewer_with_its_licence_and_the_extra_that_serves_it(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        (metadata,) = (archive.read(name).decode() for name in names if name.endswith(".dist-info/METADATA"))
    assert {f"rdpprov/web/static/{name}" for name in ("index.html", "novnc.js", "novnc.LICENSE.txt")} <= names
    assert "Provides-Extra: web" in metadata
    assert {line for line in metadata.splitlines() if 'extra == "web"' in line} == {
        'Requires-Dist: hypercorn[trio]<0.19,>=0.18; extra == "web"',
        'Requires-Dist: prometheus-client>=0.21; extra == "web"',
        'Requires-Dist: starlette>=1.0; extra == "web"',
    }


def test_the_packages_listed_are_those_of_the_tree(source):
    listed = tomllib.loads((source / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    found = {
        ".".join(path.parent.relative_to(source).parts)
        for path in (source / "rdpprov").rglob("*.py")
        if path.name == "__init__.py"
    }
    assert sorted(listed) == sorted({*found, "rdpprov.protocol_specs"})


def test_the_sdist_has_what_it_takes_to_build_and_test(sdist, source, root):
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    wanted = {
        path.relative_to(source).as_posix()
        for top in ("rdpprov", "protocol_specs", "examples", "tests", "benchmarks", "docs")
        for path in (source / top).rglob("*")
        if path.is_file()
    }
    wanted |= {"pyproject.toml", "Makefile", "README.md", "CHANGELOG.md", "THIRD_PARTY.md", "LICENSE"}
    wanted |= {"requirements.lock", "requirements-dev.lock", "requirements-docs.lock"}
    assert sorted(wanted - names) == []
    assert [name for name in names if "__pycache__" in name or name.endswith(".so")] == []


def test_a_wheel_from_the_sdist_has_the_same_files(sdist, wheel, builder, tmp_path):
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    (unpacked,) = (tmp_path / "unpacked").iterdir()
    again = builder(unpacked, tmp_path / "wheel", "wheel")
    with zipfile.ZipFile(again) as one, zipfile.ZipFile(wheel) as other:
        assert sorted(one.namelist()) == sorted(other.namelist())


def test_it_builds_without_a_compiler(source, builder, tmp_path):
    copy = shutil.copytree(source, tmp_path / "source", ignore=shutil.ignore_patterns("build", "*.egg-info"))
    environment = {**os.environ, "CC": "/bin/false", "PATH": str(tmp_path)}
    built = builder(copy, tmp_path / "wheel", "wheel", **environment)
    with zipfile.ZipFile(built) as archive:
        assert [name for name in archive.namelist() if name.endswith((".so", ".pyd"))] == []


def test_the_lock_files_pin_every_dependency_with_hashes_and_no_host(root):
    project = tomllib.loads((root / "pyproject.toml").read_text())
    wanted = [*project["project"]["dependencies"], *project["dependency-groups"]["build"]]
    wanted_for_docs = project["dependency-groups"].pop("docs")
    wanted_for_tests = [
        *wanted,
        *(entry for group in project["dependency-groups"].values() for entry in group if isinstance(entry, str)),
    ]
    for file, requirements in (
        ("requirements.lock", wanted),
        ("requirements-dev.lock", wanted_for_tests),
        ("requirements-docs.lock", wanted_for_docs),
    ):
        text = (root / file).read_text()
        pins = re.findall(r"^([a-z0-9-]+)==\S+ (?:;.*)?\\\n    --hash=sha256:", text, re.M)
        assert {re.match("[a-z0-9-]+", entry)[0] for entry in requirements} <= set(pins)
        assert len(re.findall(r"^\S", text, re.M)) == len(pins)  # nothing but hashed pins
        assert "://" not in text


def test_the_lock_files_pin_the_same_versions(root):
    def pins(file):
        return dict(re.findall(r"^(\S+)==(\S+)", (root / file).read_text(), re.M))

    both = pins("requirements-dev.lock")
    assert pins("requirements.lock").items() <= both.items()
    docs = pins("requirements-docs.lock")  # installed on top of the development's
    assert {name: docs[name] for name in docs.keys() & both} == {name: both[name] for name in docs.keys() & both}


@pytest.fixture(scope="session")
def installed(wheel, tmp_path_factory):
    """An empty virtual environment with the wheel in it; what it depends on is taken from here."""
    home = tmp_path_factory.mktemp("installed")
    venv.create(home / "venv", with_pip=True, symlinks=os.name == "posix")
    scripts = home / "venv" / ("Scripts" if os.name == "nt" else "bin")
    pip = [scripts / "python", "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", wheel]
    subprocess.run(pip, check=True, cwd=home)
    # A line in a .pth file adds a directory, but not what .pth files in there add: no editable rdpprov gets in.
    (site,) = (home / "venv").rglob("site-packages")
    paths = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (site / "dependencies.pth").write_text("\n".join(sorted(paths)))
    return scripts


def clean_environment(home):
    unwanted = ("PYTHON", "VIRTUAL_ENV", "XDG_", "RDPPROV_")
    return {
        **{key: value for key, value in os.environ.items() if not key.startswith(unwanted)},
        "HOME": str(home),
        "PYTHONWARNINGS": "error::ResourceWarning",
    }


def test_the_installed_program_is_the_wheels(installed, tmp_path):
    code = "import rdpprov, rdpprov.protocol_specs; print(rdpprov.__file__, rdpprov.protocol_specs.__file__, sep='\\n')"
    done = subprocess.run(
        [installed / "python", "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env=clean_environment(tmp_path),
    )
    assert all(line.startswith(str(installed.parent)) for line in done.stdout.splitlines())
    done = subprocess.run(
        [installed / "rdpprov", "--version"], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*\n", done.stdout)


@contextlib.contextmanager
def demo(installed, home):
    """A running demo, and the lines it has printed, once it is ready."""
    process = subprocess.Popen(
        [installed / "rdpprov", "demo", "--port", "0"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=home,
        env=clean_environment(home),
    )
    try:
        readable, _, _ = select.select([process.stdout], [], [], 60)
        line = process.stdout.readline() if readable else ""
        if not line.startswith("ready "):
            process.kill()
            pytest.fail(f"not ready: {line!r}\n{process.communicate()[1]}")
        yield process, line
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.mark.skipif(sys.platform == "win32", reason="signals and select are POSIX's")
def test_the_installed_demo_serves_a_client_at_once_and_stops_in_order(installed, tmp_path):
    with demo(installed, tmp_path) as (process, line):
        name, protocol, address = line.split()[1:]
        assert (name, protocol) == ("rdp", "rdp")
        host, _, port = address.rpartition(":")
        assert host == "127.0.0.1"
        # [MS-RDPBCGR] 2.2.1.1 "Client X.224 Connection Request PDU": TLS is what we ask for, and what we get.
        with socket.create_connection((host, int(port)), timeout=10) as client:
            client.sendall(bytes.fromhex("03000013 0ee00000000000 0100080001000000"))
            answer = client.recv(100)
        assert answer[:4].hex() == "03000013"
        assert answer[5] == 0xD0
        assert answer[11] == 0x02  # TYPE_RDP_NEG_RSP
        assert answer[15:19].hex() == "01000000"
        assert any(f"xfreerdp /v:{address} /u:demo /p:" in line for line in process.stdout)
        asked = time.monotonic()
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=15)
        assert process.returncode == 0, errors
        assert time.monotonic() - asked < 10
        assert "Traceback" not in errors
