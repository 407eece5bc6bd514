import contextlib
import datetime as dt
import os
import threading

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdpprov.accounts.users_file import PasswordHash, ScryptCost, User, UserIndex, UsersFile, folded, split_name
from rdpprov.api.identity import LogonError, NtStatus
from rdpprov.errors import ConfigurationError
from rdpprov.security.md4 import nt_hash

CHEAP = ScryptCost(n=16, r=1)

names = st.text(
    st.characters(codec="utf-8", categories=["L", "N"], include_characters=" -_.'"), min_size=1, max_size=20
).filter(lambda name: name.strip() == name and name not in {".", ".."} and "#" not in name)


@pytest.fixture
def users_file(tmp_path):
    return UsersFile(tmp_path / "users", cost=CHEAP)


def test_a_user_added_is_found_with_both_hashes(users_file):
    users_file.add("anna", "secret", domain="CORP", groups=["staff", "painters"])
    user = UsersFile(users_file.path).find("anna", "corp")
    assert (user.name, user.domain, user.groups) == ("anna", "CORP", {"staff", "painters"})
    assert user.password.verify("secret")
    assert not user.password.verify("Secret")
    assert user.nt_hash == nt_hash("secret")


def test_the_file_is_private_from_its_first_moment(users_file):
    users_file.add("anna", "secret")
    assert users_file.path.stat().st_mode & 0o777 == 0o600
    assert b"secret" not in users_file.path.read_bytes()


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660, 0o601])
def test_a_file_open_to_others_is_refused_by_name_and_mode(users_file, mode):
    users_file.add("anna", "secret")
    users_file.path.chmod(mode)
    with pytest.raises(ConfigurationError, match=rf"users file .*/users: mode {mode:04o} .* expected 0600"):
        users_file.users()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_of_another_owner_is_refused(users_file):
    users_file.add("anna", "secret")
    os.chown(users_file.path, 12345, -1)
    with pytest.raises(ConfigurationError, match="belongs to uid 12345, expected 0"):
        users_file.users()


def test_a_missing_file_a_directory_and_a_fifo_are_refused(tmp_path):
    with pytest.raises(ConfigurationError, match=r"users file .*/none: no such file or directory"):
        UsersFile(tmp_path / "none").users()
    with pytest.raises(ConfigurationError, match=r"not a regular file|is a directory"):
        UsersFile(tmp_path).users()
    os.mkfifo(tmp_path / "fifo", 0o600)
    with pytest.raises(ConfigurationError, match="not a regular file"):
        UsersFile(tmp_path / "fifo").users()


def test_a_change_on_disk_holds_from_the_next_lookup_on(users_file):
    users_file.add("anna", "secret")
    assert users_file.find("anna").password.verify("secret")
    other_process = UsersFile(users_file.path, cost=CHEAP)
    other_process.set_password("anna", "another")
    assert users_file.find("anna").password.verify("another")
    other_process.remove("anna")
    assert users_file.find("anna") is None


def test_a_file_opened_to_others_while_in_use_is_refused_from_then_on(users_file):
    users_file.add("anna", "secret")
    assert users_file.find("anna")
    users_file.path.chmod(0o644)
    with pytest.raises(ConfigurationError, match="mode 0644"):
        users_file.find("anna")


def test_set_password_keeps_groups_and_both_hashes_change(users_file):
    users_file.add("anna", "secret", groups=["staff"])
    before = users_file.find("anna")
    users_file.set_password("Anna", "another")
    after = users_file.find("anna")
    assert after.groups == {"staff"}
    assert after.name == "anna"
    assert after.password != before.password
    assert after.nt_hash == nt_hash("another")


def test_comments_and_the_other_users_survive_every_change(users_file):
    users_file.add("anna", "1")
    users_file.path.write_text(users_file.path.read_text() + "# the night shift\n\n")
    users_file.add("bert", "2")
    users_file.add("carl", "3")
    users_file.remove("bert")
    lines = users_file.path.read_text().splitlines()
    assert [line.split(":")[0] for line in lines[1:]] == ["anna", "# the night shift", "", "carl"]


def test_one_user_cannot_be_added_twice_nor_a_missing_one_changed(users_file):
    users_file.add("anna", "secret")
    with pytest.raises(ConfigurationError, match="there is a user ANNA already"):
        users_file.add("ANNA", "other")
    with pytest.raises(ConfigurationError, match="there is no user bert"):
        users_file.set_password("bert", "other")
    with pytest.raises(ConfigurationError, match=r"there is no user CORP\\anna"):
        users_file.remove("anna", domain="CORP")


@pytest.mark.parametrize("name", ["", "a:b", "a\\b", "a@b", "a/b", "a\nb", " a", "a ", ".", "#a", "x" * 105, "a\0"])
def test_names_that_would_be_read_as_something_else_are_refused(users_file, name):
    with pytest.raises(ConfigurationError, match="user name"):
        users_file.add(name, "secret")
    assert not users_file.path.exists()


def test_passwords_that_no_client_could_send_are_refused(users_file):
    with pytest.raises(ConfigurationError, match="password: empty"):
        users_file.add("anna", "")
    with pytest.raises(ConfigurationError, match="256 characters"):
        users_file.add("anna", "x" * 256)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("anna", "1 fields"),
        (":::$scrypt$ln=4,r=1,p=1$AAAA$AAAAAAAAAAAAAAAAAAAAAA:", "user name: 0 characters"),
        ("anna:::plain:", "expected \\$scrypt"),
        ("anna:::$scrypt$ln=40,r=8,p=1$AAAA$AAAAAAAAAAAAAAAAAAAAAA:", "n is "),
        ("anna:::$scrypt$ln=4,r=1,p=1$AAAA$AAAA:", "at least 16 bytes"),
        ("anna:::$scrypt$ln=4,r=1,p=1$AAAAA$AAAAAAAAAAAAAAAAAAAAAA:", "not base64"),
        ("anna:::$scrypt$ln=4,r=1,p=1$AAAA$AAAAAAAAAAAAAAAAAAAAAA:12", "32 hexadecimal digits"),
    ],
)
def test_a_line_that_is_no_user_is_named_by_its_number(users_file, line, reason):
    users_file.path.write_text(f"# comment\n\n{line}\n")
    users_file.path.chmod(0o600)
    with pytest.raises(ConfigurationError, match=f"users, line 3: .*{reason}"):
        users_file.users()


def test_the_same_user_on_two_lines_is_refused(users_file):
    user = User.new("anna", "secret", cost=CHEAP)
    users_file.path.write_text(f"{user}\n{user}\n")
    users_file.path.chmod(0o600)
    with pytest.raises(ConfigurationError, match="line 2: a second user anna"):
        users_file.users()


@given(content=st.binary(max_size=200))
def test_any_content_is_users_or_a_configuration_error(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("users") / "users"
    path.touch(0o600)
    path.write_bytes(content)
    with contextlib.suppress(ConfigurationError):
        UsersFile(path).users()


@given(name=names, domain=st.just("") | names, groups=st.frozensets(names, max_size=3), password=st.text(min_size=1))
def test_a_users_line_round_trips(name, domain, groups, password):
    try:
        user = User.new(name, password, domain=domain, groups=groups, cost=CHEAP)
    except ConfigurationError:
        return  # normal form can make a name longer, or a password is too long
    assert User.parse(str(user)) == user


def test_nothing_secret_is_in_a_users_repr():
    user = User.new("anna", "secret", cost=CHEAP)
    assert user.nt_hash.hex() not in repr(user)
    assert "salt" not in repr(user)
    assert "digest" not in repr(user.password)


@pytest.mark.parametrize(
    ("user_name", "domain", "meant"),
    [
        ("anna", "", ("anna", "")),
        ("anna", "CORP", ("anna", "CORP")),
        ("anna", ".", ("anna", "")),
        (".\\anna", "CORP", ("anna", "")),
        ("LAB\\anna", "CORP", ("anna", "LAB")),
        ("anna@lab.example", "", ("anna", "lab.example")),
        ("LAB\\anna@mail", "", ("anna@mail", "LAB")),
    ],
)
def test_a_domain_in_the_name_beats_the_domain_field(user_name, domain, meant):
    assert split_name(user_name, domain) == meant


@pytest.mark.parametrize(
    ("user_name", "domain", "found"),
    [
        ("anna", "CORP", "CORP\\anna"),
        ("ANNA", "corp", "CORP\\anna"),
        ("corp\\Anna", "", "CORP\\anna"),
        ("anna@lab", "", "LAB\\anna"),
        ("anna", "", None),  # two, and none of them is meant more than the other
        ("anna", "DESKTOP-123", None),
        ("bert", "", "bert"),
        ("bert", "DESKTOP-123", "bert"),  # clients put their own machine's name there
        ("carl", "", "CORP\\carl"),
        ("carl", "DESKTOP-123", None),
        ("STRASSE", "", "straße"),
        ("dora", "", None),
        ("", "", None),
    ],
)
def test_the_user_whom_a_client_means(user_name, domain, found):
    password = PasswordHash.of("secret", CHEAP)
    people = [("anna", "CORP"), ("anna", "LAB"), ("bert", ""), ("carl", "CORP"), ("straße", "")]
    index = UserIndex(User(name, password, domain) for name, domain in people)
    user = index.find(user_name, domain)
    assert (user and user.label) == found


@given(st.text(max_size=30))
def test_folding_is_stable(name):
    assert folded(folded(name)) == folded(name)


def test_writers_at_the_same_time_lose_nothing(users_file):
    writers = [
        threading.Thread(target=UsersFile(users_file.path, cost=CHEAP).add, args=(f"user{n}", "secret"))
        for n in range(8)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert {user.name for user in users_file.users()} == {f"user{n}" for n in range(8)}


def test_a_hash_made_elsewhere_is_understood():
    # [RFC 7914] 12 "Test Vectors for scrypt": P="pleaseletmein", S="SodiumChloride", N=16384, r=8, p=1
    digest = (
        "7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2"
        "d5432955613f0fcf62d49705242a9af9e61e85dc0d651e40dfcf017b45575887"
    )
    made = PasswordHash(ScryptCost(1 << 14, 8, 1), b"SodiumChloride", bytes.fromhex(digest))
    assert PasswordHash.parse(str(made)) == made
    assert made.verify("pleaseletmein")


def test_an_account_is_disabled_expires_and_is_good_again(users_file):
    users_file.add("anna", "secret", domain="CORP", groups=["staff"])
    users_file.add("bert", "secret")
    good = users_file.path.read_text()
    users_file.set_disabled("ANNA", True, domain="corp")
    users_file.set_expiry("anna", dt.date(2027, 1, 31), domain="CORP")
    users_file.set_password("anna", "another", domain="CORP")
    anna, bert = UsersFile(users_file.path).users()
    assert (anna.disabled, anna.expires, anna.state) == (True, dt.date(2027, 1, 31), "disabled,expires=2027-01-31")
    assert (anna.groups, anna.password.verify("another")) == ({"staff"}, True)
    assert (bert.disabled, bert.expires, bert.state) == (False, None, "")
    users_file.set_password("anna", "secret", domain="CORP")
    users_file.set_disabled("anna", False, domain="CORP")
    users_file.set_expiry("anna", None, domain="CORP")
    assert [line.count(":") for line in users_file.path.read_text().splitlines()] == [
        line.count(":") for line in good.splitlines()
    ]
    with pytest.raises(ConfigurationError, match="there is no user carl"):
        users_file.set_disabled("carl", True)


@pytest.mark.parametrize(
    ("disabled", "expires", "today", "status"),
    [
        (False, None, dt.date.max, None),
        (False, dt.date(2027, 1, 31), dt.date(2027, 1, 30), None),
        (False, dt.date(2027, 1, 31), dt.date(2027, 1, 31), NtStatus.STATUS_ACCOUNT_EXPIRED),
        (False, dt.date(2027, 1, 31), dt.date(2030, 1, 1), NtStatus.STATUS_ACCOUNT_EXPIRED),
        (True, None, dt.date.min, NtStatus.STATUS_ACCOUNT_DISABLED),
        (True, dt.date(2027, 1, 31), dt.date(2030, 1, 1), NtStatus.STATUS_ACCOUNT_DISABLED),
    ],
)
def test_what_an_account_may_depends_on_its_state_and_the_day(disabled, expires, today, status):
    user = attrs.evolve(User.new("anna", "secret", cost=CHEAP), disabled=disabled, expires=expires)
    assert User.parse(str(user)) == user
    if status is None:
        user.check(today)
    else:
        with pytest.raises(LogonError) as refused:
            user.check(today)
        assert refused.value.status is status


@pytest.mark.parametrize(
    "state",
    [
        "Disabled",
        "disable",
        "disabled,",
        "disabled,disabled",
        "expires",
        "expires=",
        "expires=2027-1-31",
        "enabled",
        "expires=2027-02-30",
        "expires=2027-01-31,expires=2028-01-31",
        "expires=20270131",
        " disabled",
        "expires=2027-W01-1",
    ],
)
def test_a_state_that_is_not_understood_does_not_open_the_account(users_file, state):
    users_file.add("anna", "secret")
    users_file.path.write_text(users_file.path.read_text().rstrip("\n") + f":{state}\n")
    with pytest.raises(ConfigurationError, match=r"line 2: state .*, expected disabled or expires=YYYY-MM-DD"):
        users_file.users()


@given(st.text(max_size=30))
def test_any_state_is_read_or_refused(state):
    line = str(User.new("anna", "secret", cost=CHEAP))
    try:
        user = User.parse(f"{line}:{state}")
    except ValueError:
        return
    assert state == "" or set(user.state.split(",")) == set(state.split(","))
