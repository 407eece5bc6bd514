"""Published byte vectors against our decoders. How a layer is added:

A layer is one JSON file of the vectors' directory, and one test file here, ``test_<layer>.py``, which is a table and
one line of test (see `test_x224.py`). Module-level names that this file reads:

LAYER        the layer's name, which is the JSON file's.
COUNT        how many of its vectors are judged, so that none gets lost silently (checked by `test_coverage.py`).
DECODERS     {(type, kind): function}. What the function takes and gives depends on the kind:

             decode   function(data: bytes) -> structure, or (structure, rest), or a dict. Every leaf of ``expect`` is
                      compared with the leaf of the same name; names are compared without case and underscores, so that
                      ``desktop_width`` answers to ``desktopWidth``. Properties are leaves too. bytes answer to
                      hexadecimal text, enums to their numbers. A rest must be empty, unless ``expect`` has "rest".
                      ``"canonical": true``: packing the structure gives the same bytes.
             reject   function(data: bytes): must raise our ProtocolError, in a second, without allocating what a length
                      announces. Where the vector says that it is fine, a value, or None for "need more", is too.
             robust   function(data: bytes, decoders): anything but a foreign exception; `decoders` is {name: function},
                      the decoders of all layers.
             others   (decompress, derive, sequence, frame) function(vector: dict) -> None or dict. It asserts by
                      itself, or every item of the dict it returns must equal the item of ``expect``.

LEAVES       optional {type: function(structure) -> dict}: the leaves of a structure whose names are not the vectors'.
ENCODERS     optional {type: function(structure) -> bytes}: for canonical vectors, in place of ``structure.pack()``.
NOT_EXPOSED  optional {type: {path, ...}}: leaves of ``expect`` that our structure does not show, because it keeps them
             raw or derives them when it packs. A path is as in ``clientTimeZone.Bias``; list items all have one path;
             a path covers what is below it. A path that is never needed fails `test_coverage.py`.
NOT_DECODED  optional {(type, kind), ...}: what nothing decodes yet. It may only get shorter: `test_coverage.py` fails
             if an entry has a decoder, or no vector. Layers without any test file stand in `test_coverage.py`.

The test is ``def test_<something>(judge): judge()``: it is run once for each vector that has a decoder.

The directory is that of the environment variable RDPPROV_VECTORS, by default ``../shared/vectors`` beside the checkout.
Where it is missing, tests are skipped by name; with RDPPROV_REQUIRE_PEERS=1 they fail.
"""

import contextlib
import enum
import importlib.util
import json
import os
import time
import tracemalloc
from functools import cache
from pathlib import Path

import attrs
import pytest

from rdpprov.errors import ProtocolError, RdpProvError

HERE = Path(__file__).parent
DIRECTORY = Path(os.environ.get("RDPPROV_VECTORS") or HERE.parents[1].parent / "shared" / "vectors")
REJECT_SECONDS = 1.0
REJECT_BYTES = 16 << 20


@cache
def read_layers():
    """{layer: [vector, ...]} of the whole directory; empty if there is none."""
    layers = {}
    for path in sorted(DIRECTORY.glob("*.json")):
        content = json.loads(path.read_text(encoding="utf-8"))
        assert content["count"] == len(content["vectors"]), path.name
        layers[content["layer"]] = content["vectors"]
    return layers


@cache
def layer_modules():
    """{layer: module} of every test file beside this one that has a LAYER."""
    modules = {}
    for path in sorted(HERE.glob("test_*.py")):
        spec = importlib.util.spec_from_file_location(f"vectors_{path.stem}", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        if hasattr(module, "LAYER"):
            assert module.LAYER not in modules, f"two files for the layer {module.LAYER}"
            modules[module.LAYER] = module
    return modules


def require_directory():
    if not read_layers():
        reason = f"needs the published byte vectors, and {DIRECTORY} has none (RDPPROV_VECTORS names their directory)"
        if os.environ.get("RDPPROV_REQUIRE_PEERS") == "1":
            pytest.fail(reason)
        pytest.skip(reason)


def pytest_generate_tests(metafunc):
    if "judge" in metafunc.fixturenames:
        module = metafunc.module
        mine = [v for v in read_layers().get(module.LAYER, []) if (v["type"], v["kind"]) in module.DECODERS]
        metafunc.parametrize("judge", mine or [None], ids=[v["name"] for v in mine] or ["no-vectors"], indirect=True)


@pytest.fixture
def judge(request):
    """Judges one vector by the tables of the test's module."""
    require_directory()
    vector, module = request.param, request.module
    assert vector is not None, f"the layer {module.LAYER} has no vector of the types in DECODERS"
    function = module.DECODERS[vector["type"], vector["kind"]]
    match vector["kind"]:
        case "decode":
            return lambda: judge_decode(vector, function, module)
        case "reject":
            return lambda: judge_reject(vector, function)
        case "robust":
            return lambda: judge_robust(vector, function)
        case _:
            return lambda: judge_computation(vector, function)


@pytest.fixture(scope="session")
def vector_layers():
    """{layer: [vector, ...]}; skips the test where there are none."""
    require_directory()
    return read_layers()


@pytest.fixture(scope="session")
def vector_modules():
    """{layer: module with its tables}."""
    return layer_modules()


@pytest.fixture(scope="session")
def paths_not_exposed():
    """A function (module, vector) -> paths of `expect` that our structure does not show."""
    return lambda module, vector: compare_decoded(vector, module.DECODERS[vector["type"], vector["kind"]], module)[0]


def judge_decode(vector, function, module):
    hidden, structure = compare_decoded(vector, function, module)
    allowed = getattr(module, "NOT_EXPOSED", {}).get(vector["type"], ())
    surprising = [path for path in hidden if not any(covers(entry, path) for entry in allowed)]
    assert not surprising, (
        f"expected leaves that the decoder does not show, and NOT_EXPOSED does not name: {surprising}"
    )
    if vector.get("canonical"):
        encode = getattr(module, "ENCODERS", {}).get(vector["type"])
        packed = encode(structure) if encode else structure.pack()
        assert packed.hex() == vector["hex"]


def compare_decoded(vector, function, module):
    decoded, expect = function(bytes.fromhex(vector["hex"])), dict(vector["expect"])
    if isinstance(decoded, tuple):
        decoded, rest = decoded
        assert bytes(rest).hex() == expect.pop("rest", "")
    leaves = getattr(module, "LEAVES", {}).get(vector["type"])
    hidden = []
    compare(expect, leaves(decoded) if leaves else decoded, "", hidden)
    return hidden, decoded


def compare(expected, got, path, hidden):
    """Compare what both sides have; collect in `hidden` the paths that only `expected` has."""
    if isinstance(expected, dict):
        shown = shown_leaves(got)
        assert shown is not None, f"{path}: expected a structure, got {got!r}"
        for name, value in expected.items():
            below = f"{path}.{name}" if path else name
            if normal(name) in shown:
                compare(value, shown[normal(name)], below, hidden)
            else:
                hidden.append(below)
    elif isinstance(expected, list):
        assert isinstance(got, list | tuple), f"{path}: expected a list, got {got!r}"
        assert len(got) == len(expected), f"{path}: expected {len(expected)} items, got {len(got)}"
        for one_expected, one_got in zip(expected, got, strict=True):
            compare(one_expected, one_got, path, hidden)
    else:
        assert plain(got) == expected, path


def shown_leaves(got):
    """{normalised name: value} of a dict or an attrs structure, with its properties; None if it is neither."""
    if isinstance(got, dict):
        return {normal(name): value for name, value in got.items()}
    if attrs.has(type(got)):
        names = [field.name for field in attrs.fields(type(got))]
        names += [
            name for base in type(got).__mro__ for name, value in vars(base).items() if isinstance(value, property)
        ]
        return {normal(name): getattr(got, name) for name in names}
    return None


def normal(name):
    return "".join(character for character in name.lower() if character.isalnum())


def plain(value):
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).hex()
    return value.value if isinstance(value, enum.Enum) else value


def covers(entry, path):
    return path == entry or path.startswith(entry + ".")


def judge_reject(vector, function):
    expect = vector["expect"]
    data = bytes.fromhex(vector["hex"])
    tracemalloc.start()
    started = time.perf_counter()
    try:
        result = function(data)
    except ProtocolError:
        refused = True
    else:
        refused = expect.get("ignoreAllowed") or expect.get("lenientOk") or (expect.get("needMore") and result is None)
        refused = bool(refused)
    finally:
        seconds = time.perf_counter() - started
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert refused, "the decoder took what it should refuse"
    assert seconds < REJECT_SECONDS
    assert peak < REJECT_BYTES


def judge_robust(vector, function):
    decoders = {
        f"{layer}: {kind} {name}": decoder
        for layer, module in layer_modules().items()
        for (name, kind), decoder in module.DECODERS.items()
        if kind in ("decode", "reject")
    }
    assert decoders
    started = time.perf_counter()
    with contextlib.suppress(RdpProvError):
        function(bytes.fromhex(vector["hex"]), decoders)
    assert time.perf_counter() - started < vector["expect"]["maxSeconds"] * max(1, len(decoders))


def judge_computation(vector, function):
    result = function(vector)
    if result is None:
        return  # it has asserted by itself
    assert result, "a computation returns something to compare"
    for name, value in result.items():
        assert plain(value) == vector["expect"][name], name
