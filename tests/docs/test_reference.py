"""The reference leaves nothing out, and the snippets in docstrings work as well."""

import ast
import importlib.util
import json
import pkgutil
import re
from functools import partial
from inspect import cleandoc
from pathlib import Path
from textwrap import indent

import pytest
import trio
from hypothesis import given
from trio.testing import MockClock

import rdpprov.api
import rdpprov.testing
from examples.hour.check_client import check_client
from examples.hour.step_5 import HourManager
from rdpprov.api import ClientData, UserCredential
from rdpprov.errinfo import ErrInfo
from rdpprov.testing import playbook, scripted
from rdpprov.testing.behaviour import behaviour_of
from rdpprov.testing.check_provider import check_provider
from rdpprov.testing.strategies import structures
from tests.docs.snippets import DOCS

REFERENCE = DOCS / "reference"


def documented_modules():
    text = "\n".join(page.read_text() for page in REFERENCE.rglob("*.md"))
    return set(re.findall(r"(?:automodule::|\{module-text\}) (rdpprov[\w.]+)", text))


def test_every_module_of_the_api_has_its_page():
    modules = {f"rdpprov.api.{module.name}" for module in pkgutil.iter_modules(rdpprov.api.__path__)}
    assert modules <= documented_modules()


def test_every_public_part_of_the_kit_is_documented():
    named = set(re.findall(r"`(\w+)(?:\.\w+)?`", rdpprov.testing.__doc__))
    modules = {module.name for module in pkgutil.iter_modules(rdpprov.testing.__path__)}
    documented = {module.removeprefix("rdpprov.testing.") for module in documented_modules()}
    assert (named & modules) - documented == {"rules"}  # it has a page of its own, made from its table
    assert "{rules}" in (REFERENCE / "rules.md").read_text()


def literal_blocks(module):
    """The blocks behind ``::`` in all docstrings of a module."""
    tree = ast.parse(Path(importlib.util.find_spec(module).origin).read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            parts = re.split(r"(?m)::$", ast.get_docstring(node) or "")
            for part in parts[1:]:
                yield cleandoc("\n" + re.match(r"(?:[ \t]+.*\n|\n)*(?:[ \t]+.*)?", part)[0])


def is_json(block):
    for text in re.split(r"\n(?=\{)", block):
        assert isinstance(json.loads(text.replace("{...}", "{}").replace(", ...", "")), dict)


def is_python(block):
    inside(block)


def inside(block, **names):
    """A block as the body of a function, for a docstring may begin in the middle of one."""
    head = "async def snippet():" if "await" in block or "async with" in block else "def snippet():"
    exec("\n".join([head, indent(block, "    "), "    return locals()"]), names)
    return names["snippet"]


def checks_a_provider(block):
    inside(block, trio=trio, check_provider=check_provider, MyManager=HourManager, my_client=check_client)()


def makes_a_state_machine(block):
    made = inside(block, behaviour_of=behaviour_of, MyManager=HourManager, my_client=check_client)()
    assert made["TestMyProvider"].settings


def draws_structures(block):
    inside(block, given=given, structures=structures, ClientData=ClientData)()["test_client_data_is_kept"]()


def tells_a_dialogue(block):
    async def tell():
        provider = scripted.ScriptedProvider()
        async with provider.service():
            await inside(block, provider=provider, ErrInfo=ErrInfo, **vars(scripted), **vars_of(playbook))()

    trio.run(tell, clock=MockClock(autojump_threshold=0))


def scripts_a_provider(block):
    names = {
        "ScriptedProvider": partial(scripted.ScriptedProvider, users={"ann": "secret"}),
        "UserCredential": UserCredential,
    }
    trio.run(inside(block, **names), clock=MockClock(autojump_threshold=0))


def vars_of(module):
    return {name: value for name, value in vars(module).items() if name not in vars(scripted)}


BLOCKS = {
    "rdpprov.errors": [None],  # the tree of the classes, drawn
    "rdpprov.traces.format": [is_json, is_json, is_json],
    "rdpprov.admin.protocol": [is_json, is_json],
    "rdpprov.api.properties": [is_python],  # half of the service, half of a provider; tests/api runs both
    "rdpprov.testing.check_provider": [checks_a_provider],
    "rdpprov.testing.check_clients": [is_python],  # the tutorial's protocol has one like it
    "rdpprov.testing.pytest_plugin": [is_python],  # howto/testing.md has the same, and is run
    "rdpprov.testing.trace_assertions": [is_python],  # howto/replay.md has the same, and is run
    "rdpprov.testing.behaviour": [makes_a_state_machine],
    "rdpprov.testing.strategies": [draws_structures],
    "rdpprov.testing.playbook": [tells_a_dialogue],
    "rdpprov.testing.scripted": [scripts_a_provider],
}
"""What is done with the snippets in docstrings; why some are not run."""


@pytest.mark.parametrize("module", sorted({*documented_modules(), *BLOCKS}))
def test_the_snippets_in_docstrings_are_right(module):
    found = list(literal_blocks(module))
    assert len(found) == len(BLOCKS.get(module, [])), found
    for block, works in zip(found, BLOCKS.get(module, []), strict=True):
        if works is not None:
            works(block)
