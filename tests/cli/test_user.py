import pytest


def test_users_are_added_listed_changed_and_removed(rdpprov):
    assert rdpprov.run("user", "add", "CORP\\anna", "--groups", "staff,painters", stdin="secret\n").returncode == 0
    assert rdpprov.run("user", "add", "bert", stdin="secret").returncode == 0
    assert rdpprov.run("user", "list").stdout == "CORP\\anna\tpainters,staff\tnla\nbert\t-\tnla\n"
    file = rdpprov.home / ".local/state/rdpprov/users"
    before = file.read_text()
    assert rdpprov.run("user", "passwd", "corp\\Anna", stdin="another\n").returncode == 0
    assert file.read_text() != before
    assert rdpprov.run("user", "remove", "bert").returncode == 0
    assert rdpprov.run("user", "list").stdout == "CORP\\anna\tpainters,staff\tnla\n"


def test_an_account_is_disabled_enabled_and_expires(rdpprov):
    for name in ("CORP\\anna", "bert"):
        assert rdpprov.run("user", "add", name, stdin="secret\n").returncode == 0
    for arguments, state in (
        (["disable", "CORP\\anna"], "\tdisabled"),
        (["expire", "CORP\\anna", "2027-01-31"], "\tdisabled,expires=2027-01-31"),
        (["enable", "corp\\Anna"], "\texpires=2027-01-31"),
        (["expire", "CORP\\anna", "never"], ""),
    ):
        done = rdpprov.run("user", *arguments)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        assert rdpprov.run("user", "list").stdout == f"CORP\\anna\t-\tnla{state}\nbert\t-\tnla\n"


def test_the_users_file_and_its_directory_are_private(rdpprov):
    rdpprov.run("user", "add", "anna", stdin="secret\n")
    file = rdpprov.home / ".local/state/rdpprov/users"
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700
    assert "secret" not in file.read_text()


@pytest.mark.parametrize(
    ("arguments", "stdin", "line"),
    [
        (["add", "anna"], "secret\n", "users file {file}: there is a user anna already"),
        (["add", "a:b"], "secret\n", "user name 'a:b': may not contain ':'"),
        (["add", "bert"], "", "password: empty, expected at least one character"),
        (["passwd", "bert"], "secret\n", "users file {file}: there is no user bert"),
        (["remove", "CORP\\anna"], "", "users file {file}: there is no user CORP\\anna"),
        (["disable", "bert"], "", "users file {file}: there is no user bert"),
        (["expire", "anna", "tomorrow"], "", "day 'tomorrow', expected YYYY-MM-DD, or never"),
        (["expire", "anna", "2027-02-30"], "", "day '2027-02-30', expected YYYY-MM-DD, or never"),
        (["add"], "", 'Command "user add" parameter --name requires an argument.'),
        (["list", "--user", "x"], "", "Unknown option: --user. Did you mean --users?"),
        (["ad", "anna"], "", 'Unknown command "ad". Did you mean "add"?'),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(rdpprov, arguments, stdin, line):
    file = rdpprov.home / "people"
    assert rdpprov.run("user", "add", "anna", "--users", file, stdin="secret\n").returncode == 0
    users = [] if "--user" in arguments or len(arguments) < 2 else ["--users", file]
    assert rdpprov.refuses("user", *arguments, *users, stdin=stdin).startswith(line.format(file=file))


def test_a_users_file_open_to_others_is_refused(rdpprov):
    file = rdpprov.home / "people"
    rdpprov.run("user", "add", "anna", "--users", file, stdin="secret\n")
    file.chmod(0o640)
    assert rdpprov.refuses("user", "list", "--users", file) == (
        f"users file {file}: mode 0640 is open to others, expected 0600"
    )
