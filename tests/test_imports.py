"""Who may import whom: the levels of the package, read from the source. Imports under TYPE_CHECKING count too."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "rdpprov"

# Imports go to a smaller number, or stay inside the part.
LEVELS = {
    "errinfo": -1,
    "errors": -1,
    "protocol_specs": 0,
    "wire": 0,
    "codecs": 0,
    "api": 0,
    "security": 1,
    "licensing": 1,
    "accounts": 1,
    "traces": 1,
    "protocol": 2,
    "encoding": 2,
    "rcm": 3,
    "providers": 3,
    "sessions": 3,
    "broker": 3,
    "client": 3,
    "cli": 4,
    "admin": 4,
    "web": 4,
    "testing": 4,
    "__main__": 5,
}

# What may be imported sideways, and why.
SIDEWAYS = {
    ("errors", "errinfo"): "every error names the code that the client is told",
    ("accounts", "security"): "a user has an NT hash, and the users file is a private file",
    ("rcm", "sessions.base"): "what a desktop is",
    ("providers", "sessions.base"): "what a desktop is",
    ("providers", "sessions.layouts"): "what a key would type; tables, no behaviour",
    ("broker", "sessions.base"): "what a desktop is",
    ("client", "sessions.base"): "what a desktop is",
    ("cli", "testing"): "check-provider, and replaying traces",
    ("cli", "admin"): "serve starts the admin socket, and the commands ask it",
    ("cli", "web"): "serve starts the web listener",
}

SANS_IO = frozenset({"trio", "socket", "ssl", "time", "random", "secrets"})
BANNED = {
    "wire": SANS_IO,
    "codecs": SANS_IO,
    "api": SANS_IO,
    "protocol": SANS_IO,
    "encoding": frozenset({"trio"}),  # its worker pool is handed in
}
ONLY_INSIDE_FUNCTIONS = {"testing": frozenset({"pytest", "hypothesis"})}


def imports_of(path: Path, module: str) -> Iterator[tuple[int, str, bool]]:
    """Line, full dotted name and whether it is inside a function, of everything that a file imports."""
    tree = ast.parse(path.read_bytes(), str(path))
    inside = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for node in ast.walk(function)
    }
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")
                base = ".".join([*parents[: len(parents) - node.level + 1], *filter(None, [base])])
            names = [f"{base}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            yield node.lineno, name, id(node) in inside


def violations(package: Path) -> list[str]:
    """Every import that goes where it may not, as ``file:line: rcm (3) imports cli (4)``."""
    found = []
    for path in sorted(package.rglob("*.py")):
        relative = path.relative_to(package)
        part = relative.with_suffix("").parts[0]
        if part == "__init__":
            continue  # the package itself, which imports nothing of its own: see below
        where = f"{package.name}/{relative.as_posix()}"
        if part not in LEVELS:
            found.append(f"{where}:1: {part} has no level")
            continue
        module = ".".join([package.name, *relative.with_suffix("").parts]).removesuffix(".__init__")
        for line, name, in_function in imports_of(path, module):
            top, _, rest = name.partition(".")
            if top == package.name:
                target = rest.partition(".")[0]
                if problem := forbidden(part, target, rest):
                    found.append(f"{where}:{line}: {problem}")
            elif top in BANNED.get(part, ()):
                found.append(f"{where}:{line}: {part} ({LEVELS[part]}) imports {top}, which it must not know")
            elif top in ONLY_INSIDE_FUNCTIONS.get(part, ()) and not in_function:
                found.append(f"{where}:{line}: {part} ({LEVELS[part]}) imports {top} outside a function")
    return found


def forbidden(part: str, target: str, rest: str) -> str:
    """Why `part` may not import ``rdpprov.<rest>``; empty if it may."""
    if target == part or not target or target.startswith("__"):
        return ""
    if target not in LEVELS:
        return f"{part} ({LEVELS[part]}) imports {target}, which has no level"
    allowed = LEVELS[target] < LEVELS[part] and target != "testing"
    sideways = any(part == source and f"{rest}.".startswith(f"{to}.") for source, to in SIDEWAYS)
    return "" if allowed or sideways else f"{part} ({LEVELS[part]}) imports {target} ({LEVELS[target]})"


def test_every_import_goes_to_a_smaller_number():
    assert not violations(PACKAGE), "\n".join(["", *violations(PACKAGE)])


def test_the_package_itself_imports_nothing():
    assert list(imports_of(PACKAGE / "__init__.py", "rdpprov")) == []


@pytest.mark.parametrize(
    ("file", "source", "problem"),
    [
        ("rcm/service.py", "from rdpprov.cli.main import main", "1: rcm (3) imports cli (4)"),
        ("rcm/service.py", "import rdpprov.providers.rdp", "1: rcm (3) imports providers (3)"),
        ("rcm/service.py", "\nfrom rdpprov import cli, api", "2: rcm (3) imports cli (4)"),
        ("rcm/service.py", "from ..cli import main", "1: rcm (3) imports cli (4)"),
        ("rcm/__init__.py", "from ..cli import main", "1: rcm (3) imports cli (4)"),
        ("rcm/service.py", "from rdpprov.sessions import demo", "1: rcm (3) imports sessions (3)"),
        (
            "wire/rdp/mcs.py",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from rdpprov.protocol import rdp",
            "3: wire (0) imports protocol (2)",
        ),
        ("wire/rdp/mcs.py", "def f():\n    import rdpprov.api.enums", "2: wire (0) imports api (0)"),
        ("api/channel.py", "import typing\nimport trio.abc", "2: api (0) imports trio, which it must not know"),
        ("protocol/rdp/tls.py", "from ssl import SSLObject", "1: protocol (2) imports ssl, which it must not know"),
        ("encoding/tiles.py", "import trio", "1: encoding (2) imports trio, which it must not know"),
        ("admin/app.py", "import rdpprov.testing.playbook", "1: admin (4) imports testing (4)"),
        ("testing/playbook.py", "import pytest", "1: testing (4) imports pytest outside a function"),
        ("gateway/door.py", "", "1: gateway has no level"),
        ("web/app.py", "import rdpprov.gateway", "1: web (4) imports gateway, which has no level"),
    ],
)
def test_a_wrong_import_is_named_with_file_and_line(tmp_path, file, source, problem):
    path = tmp_path / "rdpprov" / file
    path.parent.mkdir(parents=True)
    path.write_text(source)
    assert violations(tmp_path / "rdpprov") == [f"rdpprov/{file}:{problem}"]


@pytest.mark.parametrize(
    ("file", "source"),
    [
        (
            "rcm/service.py",
            "import trio, ssl\nfrom rdpprov.api import manager\nfrom rdpprov.errors import RdpProvError",
        ),
        (
            "rcm/service.py",
            "from rdpprov.sessions.base import Desktop\nfrom rdpprov.rcm import limits\nfrom . import x",
        ),
        ("accounts/users_file.py", "from rdpprov.security.md4 import nt_hash"),
        ("cli/main.py", "from rdpprov.providers import rdp\nimport rdpprov.testing"),
        ("testing/playbook.py", "def run():\n    import pytest"),
        ("wire/times.py", "from datetime import datetime"),
    ],
)
def test_right_imports_pass(tmp_path, file, source):
    path = tmp_path / "rdpprov" / file
    path.parent.mkdir(parents=True)
    path.write_text(source)
    assert violations(tmp_path / "rdpprov") == []
