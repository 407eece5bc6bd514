"""The command ``rdpprov``: which commands there are, and how their errors become a line and an exit code.

Exit codes: 0 done; 1 failed; 2 wrong usage or configuration, with one line on stderr that says what and where.
"""

import importlib.metadata
import os
import sys
from collections.abc import Iterator, Sequence

from cyclopts import App, CycloptsError

from rdpprov.errors import ConfigurationError, RdpProvError

DONE = 0
FAILED = 1
WRONG_USAGE = 2
INTERRUPTED = 130
"""What a shell gives for a command that SIGINT ended."""

app = App(
    name="rdpprov",
    help="Remote desktops by protocol providers: a demo, the service, its users, its traces.",
    version=lambda: importlib.metadata.version("rdpprov"),
    result_action="return_value",
)
# By name, so that a command imports only what it needs itself: the demo is to be ready at once.
app.command("rdpprov.cli.demo:demo", name="demo", help="A drawn desktop on loopback, with nothing to configure.")
app.command("rdpprov.cli.serve:serve", name="serve", help="Run the service.")
app.command("rdpprov.cli.sessions:app", name="sessions", help="Who is logged on, and what to do about it.")
app.command("rdpprov.cli.listeners:listeners", name="listeners", help="Where the service listens.")
app.command("rdpprov.cli.drain:drain", name="drain", help="Let the service run dry.")
app.command("rdpprov.cli.watch:watch", name="watch", help="What happens in the service, as it happens.")
app.command("rdpprov.cli.user:app", name="user", help="Who may log on: the users file.")
app.command("rdpprov.cli.trace:app", name="trace", help="Check, show, draw and replay recorded traces.")
app.command("rdpprov.cli.check_provider:check_provider", name="check-provider", help="Check a provider of your own.")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and exit with its code.

    Args:
        arguments: without the program's name. Default: those of this process.
    """
    # For package.module:Class of a file that is worked on, as every Python server does; last, so that a file here
    # cannot take the place of a module that is installed.
    sys.path.append(os.getcwd())
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: Sequence[str]) -> int:
    """Run one command. Returns its exit code; errors are said on stderr."""
    try:
        result = app(list(arguments), exit_on_error=False, print_error=False)
    except CycloptsError as error:
        return _say(error, WRONG_USAGE)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # whoever read our output has gone, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what Python still flushes at its end
        return FAILED
    except (Exception, BaseExceptionGroup) as error:
        # A nursery wraps what ended it. Whatever is not ours is a fault of the program and keeps its traceback.
        if any(isinstance(leaf, KeyboardInterrupt) for leaf in _leaves(error)):
            return INTERRUPTED
        ours = [leaf for leaf in _leaves(error) if isinstance(leaf, RdpProvError)]
        wrong_usage = [leaf for leaf in ours if isinstance(leaf, ConfigurationError)]
        if wrong_usage:
            return _say(wrong_usage[0], WRONG_USAGE)
        if ours:
            return _say(ours[0], FAILED)
        raise
    return result if isinstance(result, int) else DONE


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


def _say(error: Exception, code: int) -> int:
    """One line, whatever the message has in it."""
    print("rdpprov:", " ".join(str(error).split()), file=sys.stderr)
    return code
