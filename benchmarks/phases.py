"""Where the server's time goes: the entry points of the layers, timed by the main thread's CPU clock.

Each phase counts its own time only: what it calls of another phase is the other's. Coroutines are timed step by step.
Timing costs time itself, so these figures explain the headline, and are not it; the run says how much dearer it was.
"""

import inspect
import json
import os
import ssl
import threading
import time
from functools import wraps

import structlog
import trio

import rdpprov.accounts.authenticator as authenticator
import rdpprov.encoding.bitmap as bitmap
import rdpprov.providers.rdp.connection as connection
import rdpprov.providers.rdp.graphics as graphics
import rdpprov.providers.rdp.listener as listener
import rdpprov.rcm.connection_callback as connection_callback
import rdpprov.rcm.listener_callback as listener_callback
import rdpprov.sessions.demo as demo
import rdpprov.sessions.screens as screens
import rdpprov.traces.recorder as recorder
from rdpprov.protocol.rdp.server import RdpServerMachine

TLS = "TLS"
PARSE = "parse and build"
ENCODE = "encode the picture"
DRAW = "draw the desktop"
SEQUENCE = "sequence calls (RCM)"
PROVIDER = "provider's tasks"
SOCKETS = "sockets"
TRACES = "traces"
LOG = "log"
HASH = "password hashing"

_clock = time.thread_time_ns
_main = threading.get_ident()
_spent = {phase: [0, 0] for phase in (TLS, PARSE, ENCODE, DRAW, SEQUENCE, PROVIDER, SOCKETS, TRACES, LOG, HASH)}
_stack = []
_missing = []
_since = 0


def _enter(phase):
    global _since
    now = _clock()
    if _stack:
        _spent[_stack[-1]][0] += now - _since
    _stack.append(phase)
    _spent[phase][1] += 1
    _since = _clock()


def _leave():
    global _since
    _spent[_stack.pop()][0] += _clock() - _since
    _since = _clock()


def timed(function, phase):
    @wraps(function)
    def wrapper(*args, **kwargs):
        if threading.get_ident() != _main:
            return function(*args, **kwargs)
        _enter(phase)
        try:
            return function(*args, **kwargs)
        finally:
            _leave()

    return wrapper


class _Steps:
    """A coroutine or a generator, each of whose steps is timed."""

    def __init__(self, inner, phase):
        self._inner = inner
        self._phase = phase

    def __iter__(self):
        return self

    __await__ = __iter__

    def __next__(self):
        return self.send(None)

    def send(self, value):
        _enter(self._phase)
        try:
            return self._inner.send(value)
        finally:
            _leave()

    def throw(self, *error):
        _enter(self._phase)
        try:
            return self._inner.throw(*error)
        finally:
            _leave()

    def close(self):
        self._inner.close()


def timed_steps(function, phase):
    @wraps(function)
    async def wrapper(*args, **kwargs):
        return await _Steps(function(*args, **kwargs), phase)

    return wrapper


def timed_generator(function, phase):
    @wraps(function)
    def wrapper(*args, **kwargs):
        return _Steps(function(*args, **kwargs), phase)

    return wrapper


def _wrap(owner, phase, *names):
    for name in names:
        function = getattr(owner, name, None)
        if function is None:  # the service goes on, and the table says whose time has gone to another phase
            _missing.append(f"{owner.__name__}.{name}")
        elif inspect.iscoroutinefunction(function):
            setattr(owner, name, timed_steps(function, phase))
        elif inspect.isgeneratorfunction(function):
            setattr(owner, name, timed_generator(function, phase))
        else:
            setattr(owner, name, timed(function, phase))


def _hashing(function):
    """In a worker thread, by that thread's own clock."""

    @wraps(function)
    def wrapper(*args, **kwargs):
        started = _clock()
        try:
            return function(*args, **kwargs)
        finally:
            _spent[HASH][0] += _clock() - started
            _spent[HASH][1] += 1

    return wrapper


class TimedTls(ssl.SSLObject):
    """TLS, without the sockets below it and trio's stream around it."""


def install():
    """Wrap what is to be timed. Once, before the service starts."""
    _wrap(TimedTls, TLS, "do_handshake", "read", "write", "unwrap")
    ssl.SSLContext.sslobject_class = TimedTls
    _wrap(ssl.SSLContext, TLS, "wrap_bio")

    machine = [name for name, member in vars(RdpServerMachine).items() if callable(member) and not name.startswith("_")]
    _wrap(RdpServerMachine, PARSE, *machine, "__init__")

    _wrap(bitmap.BitmapEncoder, ENCODE, "__init__")
    _wrap(bitmap.BitmapEncoder, ENCODE, "encode")
    _wrap(graphics.RdpVideoDevice, ENCODE, "queue_piece")

    _wrap(demo.DemoDesktop, DRAW, "__init__", "tell", "input_event")
    _wrap(screens.ReadableDesktop, DRAW, "open_screen")
    for reader in vars(screens).values():
        if isinstance(reader, type) and hasattr(reader, "take_damage"):
            _wrap(
                reader,
                DRAW,
                *(name for name in ("take_damage", "grab", "take_pointer", "close") if name in vars(reader)),
            )

    _wrap(listener_callback, SEQUENCE, "connection_sequence")
    _wrap(listener_callback.ListenerCallback, SEQUENCE, "on_connected")
    _wrap(connection_callback.ConnectionCallback, SEQUENCE, "on_ready", "issue_reconnect_secret")

    _wrap(listener.RdpListener, PROVIDER, "_serve")
    _wrap(connection.RdpConnection, PROVIDER, "_run", "_read", "_write")
    _wrap(trio.SocketStream, SOCKETS, "send_all", "receive_some", "wait_send_all_might_not_block")
    _wrap(trio.SocketListener, SOCKETS, "accept")

    _wrap(recorder.FileRecorder, TRACES, "call", "event", "wire", "close")
    for name, member in vars(recorder).items():
        if isinstance(member, type) and name.endswith("OpenCall"):
            _wrap(member, TRACES, *(each for each in ("returned", "failed") if each in vars(member)))
    _wrap(recorder.TraceDirectory, TRACES, "connection_recorder")

    _wrap(structlog.BoundLoggerBase, LOG, "_proxy_to_logger")

    authenticator.FileAuthenticator._verify = _hashing(authenticator.FileAuthenticator._verify)


def write(path, *_):
    """The sums so far, in seconds, and how often each phase was entered. Given a signal's arguments, too."""
    result = {phase: {"seconds": spent / 1e9, "entered": entered} for phase, (spent, entered) in _spent.items()}
    result["main thread"] = {"seconds": _clock() / 1e9, "entered": 0}
    if _missing:
        result["not found: " + ", ".join(_missing)] = {"seconds": 0.0, "entered": 0}
    part = path.with_suffix(".part")
    part.write_text(json.dumps(result))
    os.replace(part, path)
