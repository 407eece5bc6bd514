"""The README shows what is true."""

import re
import subprocess


def test_the_protocol_in_the_readme_is_the_one_in_the_examples(root):
    (block,) = re.findall(r"```python\n(.*?)```", (root / "README.md").read_text(), re.S)
    example = iter([line.strip() for line in (root / "examples" / "line_protocol.py").read_text().splitlines()])
    for line in block.splitlines():
        if line.strip() not in ("", "..."):
            assert line.strip() in example, f"not in the example, or not in this order: {line}"


def test_the_make_targets_that_the_readme_names_exist(root):
    named = set(re.findall(r"(?m)(?:^    |`)make ([a-z]+)(?:`|$)", (root / "README.md").read_text()))
    assert {"demo", "test", "check", "peers"} <= named
    for target in named:
        subprocess.run(["make", "--dry-run", "--silent", target], cwd=root, check=True, capture_output=True)


def test_the_paths_that_the_readme_names_exist(root):
    text = (root / "README.md").read_text()
    for path in re.findall(r"`((?:rdpprov|protocol_specs|examples|benchmarks|tests)/[\w/.]*)`", text):
        assert (root / path).exists(), path
    for path in re.findall(r"\]\(([A-Z]\w+(?:\.md)?)\)", text):
        assert (root / path).exists(), path


def test_every_package_that_is_installed_with_the_program_has_its_licence_listed(root):
    locked = set(re.findall(r"(?m)^([\w.-]+)==", (root / "requirements.lock").read_text()))
    listed = (root / "THIRD_PARTY.md").read_text()
    assert {name for name in locked if not re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", listed)} == set()


def test_the_viewer_that_is_shipped_is_the_one_that_is_listed_and_built(root):
    version = re.search(r"(?m)^NOVNC = (\S+)$", (root / "Makefile").read_text())[1]
    banner = (root / "rdpprov/web/static/novnc.js").read_text().partition("\n")[0]
    assert f"noVNC {version}," in banner
    assert f"noVNC](https://github.com/novnc/noVNC) {version}**" in (root / "THIRD_PARTY.md").read_text()
