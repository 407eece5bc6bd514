"""``rdpprov check-provider``: whether a provider does what the provider API asks of it."""

import json
from typing import Annotated

from cyclopts import Parameter

from rdpprov.errors import ConfigurationError


def check_provider(
    protocol: str,
    *,
    client: str | None = None,
    option: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    patience: float = 5.0,
    json_output: Annotated[bool, Parameter(name="--json", negative=())] = False,
) -> int:
    """Drive a provider through all sequences, failures and limits of the provider API, and report rule by rule.

    Args:
        protocol: a name or package.module:ManagerClass, as in a listener's configuration.
        client: who connects, as package.module:function; default: the manager's check_client, or an entry point in
            rdpprov.check_clients.
        option: of the listener, as key=value.
        patience: seconds to wait for what should come at once.
        json_output: for machines.
    """
    import trio

    from rdpprov.testing.check_provider import check_provider as check

    if not patience > 0:
        raise ConfigurationError(f"--patience {patience:g}, expected seconds, more than 0")
    options = dict(_key_and_value(text) for text in option)

    async def run() -> tuple[str, bool]:
        report = await check(protocol, client, options=options, patience=patience)
        return (json.dumps(report.to_json(), indent=2) + "\n" if json_output else report.to_text()), report.is_good

    text, is_good = trio.run(run)
    print(text, end="")
    return 0 if is_good else 1


def _key_and_value(text: str) -> tuple[str, object]:
    key, separator, value = text.partition("=")
    if not key or not separator:
        raise ConfigurationError(f"--option {text!r}, expected key=value")
    if value in ("true", "false"):
        return key, value == "true"
    return key, int(value) if value.removeprefix("-").isdecimal() else value
