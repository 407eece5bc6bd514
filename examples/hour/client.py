"""The client of the tutorial's protocol: logs on, types a line if there is one, and prints what the desktop shows."""

import socket
import sys


def main(address: str, name: str, password: str, *words: str) -> None:
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection, connection.makefile("rw") as lines:

        def say(line: str) -> None:
            lines.write(line + "\n")
            lines.flush()

        say(f"{name} {password}")
        try:
            welcome = lines.readline()
        except TimeoutError:
            welcome = ""
        if not welcome:
            sys.exit("no welcome: is the password right?")
        print(welcome, end="")
        if not words:
            return
        say(" ".join(words))
        for line in lines:
            if line == ".\n":
                break
            print(line, end="")


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit("usage: python client.py HOST:PORT NAME PASSWORD [WORD...]")
    main(*sys.argv[1:])
