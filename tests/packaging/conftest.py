import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def root():
    return ROOT


@pytest.fixture(scope="session")
def source(tmp_path_factory):
    """A copy of the tree, for building leaves things behind."""
    copy = tmp_path_factory.mktemp("source") / "rdpprov"
    shutil.copytree(
        ROOT,
        copy,
        ignore=shutil.ignore_patterns(".*", "build", "dist", "*.egg-info", "*.so", "__pycache__", "requirements*"),
    )
    for lock in ROOT.glob("requirements*.lock"):
        shutil.copy(lock, copy)
    return copy


def build(source, out, kind, **environment):
    """Build ``wheel`` or ``sdist`` with what is installed here, as a machine without network would."""
    done = subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", f"--{kind}", "--outdir", out, source],
        capture_output=True,
        text=True,
        env=environment or None,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = Path(out).iterdir()
    return built


@pytest.fixture(scope="session")
def builder():
    return build


@pytest.fixture(scope="session")
def wheel(source, tmp_path_factory):
    return build(source, tmp_path_factory.mktemp("wheel"), "wheel")


@pytest.fixture(scope="session")
def sdist(source, tmp_path_factory):
    return build(source, tmp_path_factory.mktemp("sdist"), "sdist")
