"""``python -m rdpprov``: the command, where its script is not on the path."""

from rdpprov.cli.main import main

if __name__ == "__main__":
    main()
