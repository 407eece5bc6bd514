"""What the documentation tells its readers to do works, and shows what it says."""

import sys

import pytest

from tests.docs.snippets import DOCS, NOT_RUN, Reader, blocks, commands, pages

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the snippets are for a POSIX shell")

WITH_SNIPPETS = [
    page
    for page in pages()
    if any(block.kind in ("console", "python", "toml", "{code-block}") for block in blocks(page))
]


@pytest.mark.parametrize("page", WITH_SNIPPETS, ids=lambda page: page.relative_to(DOCS).as_posix())
def test_a_reader_who_does_what_a_page_says_sees_what_it_shows(page, tmp_path):
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    Reader(home).follow(page)


def test_every_block_of_every_page_is_known(tmp_path):
    for page in pages():
        for block in blocks(page):
            assert block.kind != "text" or page.name == "architecture.md", f"{block}: a snippet that nobody runs"
            if block.kind not in ("console", "python", "toml", "{code-block}", "{literalinclude}"):
                Reader(tmp_path).do(block)


def test_what_is_not_run_is_a_closed_list_without_strangers():
    all_commands = [
        command for page in pages() for block in blocks(page) if block.kind == "console" for command in commands(block)
    ]
    unused = {words for words in NOT_RUN if not any(command.text.startswith(words) for command in all_commands)}
    assert unused == set()
    assert sum(command.not_run is None for command in all_commands) > len(NOT_RUN)
