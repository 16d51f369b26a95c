"""Every documented command parses, and the tree in README.md is the real one."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.contracts.checker import expect_none, tracked_files

DRY_RUN = Path(__file__).with_name("dry_run.py")
SCRIPTS = {"avsr": "avsr.cli:main", "learn2talk": "learn2talk.cli:main"}
# Understood, and not ours to check.
OTHERS = {
    "git",
    "cd",
    "pip",
    "export",
    "source",
    "sudo",
    "apt",
    "pytest",
    "ruff",
    "mypy",
    "pre-commit",
}
ENTRY = re.compile(r"^(?P<indent>(?:  )*)(?P<name>[\w.\-]+/?)(?:\s{2,}(?P<what>\S.*))?$")
NOT_LISTED = {"__init__.py", "py.typed"}

Command = tuple[str, str, list[str]]  # where, program, arguments


def documents(root: Path) -> list[Path]:
    return [
        *(root / name for name in ("README.md", "CONTRIBUTING.md")),
        *sorted(root.glob("recipes/**/*.md")),
        *sorted(root.glob("benchmarks/**/*.md")),
        *sorted(root.glob("docs/*.md")),
    ]


def fenced(text: str, language: str) -> list[tuple[int, str]]:
    """Each fenced block of one language, with the line on which its content starts."""
    blocks = re.finditer(rf"^```{language}\n(.*?)^```$", text, flags=re.M | re.S)
    return [(text.count("\n", 0, block.start(1)) + 1, block.group(1)) for block in blocks]


def shell_lines(root: Path) -> list[tuple[str, list[str]]]:
    """Every command of every ```bash block as words, without VARIABLE=value and line breaks."""
    found: list[tuple[str, list[str]]] = []
    for path in documents(root):
        if not path.is_file():
            continue
        for start, block in fenced(path.read_text(encoding="utf-8"), "bash"):
            joined = re.sub(r"\\\n\s*", " ", block)
            for line in joined.splitlines():
                for part in re.split(r"&&|;|\|", line):
                    words = shlex.split(part.removeprefix("$ "), comments=True)
                    while words and re.fullmatch(r"\w+=.*", words[0]):
                        words = words[1:]
                    if words:
                        found.append((f"{path.relative_to(root)}:{start}: {part.strip()}", words))
    return found


def classify(root: Path, where: str, words: list[str]) -> Command | str | None:
    """The program to dry-run with its arguments, what is wrong, or None where it is not ours."""
    program = words[0].removeprefix(".venv/bin/")
    if program in SCRIPTS:
        return (where, SCRIPTS[program], words[1:])
    if program == "make":
        makefile = (root / "Makefile").read_text(encoding="utf-8")
        targets = [word for word in words[1:] if "=" not in word]
        missing = [t for t in targets if not re.search(rf"^{re.escape(t)}:", makefile, flags=re.M)]
        return f"{where}: the Makefile has no target {missing}" if missing else None
    if program in ("python", "python3", "torchrun"):
        scripts = [index for index, word in enumerate(words) if word.endswith(".py")]
        if not scripts:
            return None if words[1:2] == ["-m"] else f"{where}: runs no file"
        if not (root / words[scripts[0]]).is_file():
            return f"{where}: there is no {words[scripts[0]]}"
        return (where, words[scripts[0]], words[scripts[0] + 1 :])
    return None if program in OTHERS else f"{where}: nobody checks '{program}'"


def wrong_commands(root: Path) -> list[str]:
    """One line for every documented command that the programs would refuse."""
    commands: list[Command] = []
    found: list[str] = []
    for where, words in shell_lines(root):
        result = classify(root, where, words)
        if isinstance(result, str):
            found.append(result)
        elif result is not None:
            commands.append(result)
    done = subprocess.run(
        [sys.executable, str(DRY_RUN)],
        cwd=root,
        input=json.dumps([(program, arguments) for _, program, arguments in commands]),
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout)
    return found + [f"{c[0]}: {said}" for c, said in zip(commands, answers, strict=True) if said]


def drawn_tree(readme: str) -> tuple[list[str], list[str]]:
    """The paths that README's tree draws (folders end in /), and the lines that make no sense."""
    blocks = fenced(readme, "text")
    trees = [block for _, block in blocks if "avsr/" in block.split()]
    assert len(trees) == 1, "README.md draws its tree in one ```text block"
    paths: list[str] = []
    odd: list[str] = []
    stack: list[str] = []
    for line in trees[0].splitlines():
        entry = ENTRY.match(line)
        if not entry or len(entry["indent"]) // 2 > len(stack):
            odd.append(f"not an entry of the tree: {line!r}")
            continue
        stack = [*stack[: len(entry["indent"]) // 2], entry["name"]]
        paths.append("".join(stack))
        if not entry["what"]:
            odd.append(f"the tree does not say what this is: {line!r}")
        if not entry["name"].endswith("/"):
            stack = stack[:-1]
    return paths, odd


def tree_differences(drawn: list[str], real: list[Path]) -> list[str]:
    """What the drawn tree lacks and what it invents, in every folder that it opens."""
    children: dict[str, set[str]] = {}
    for path in real:
        parts = path.parts
        for depth in range(len(parts)):
            name = parts[depth] + ("/" if depth < len(parts) - 1 else "")
            folder = "".join(f"{part}/" for part in parts[:depth])
            if name not in NOT_LISTED:
                children.setdefault(folder, set()).add(name)
    found: list[str] = []
    opened = {
        path[: len(path.rstrip("/")) - len(path.rstrip("/").split("/")[-1])] for path in drawn
    }
    for folder in sorted(opened):
        shown = {p[len(folder) :] for p in drawn if p.startswith(folder)}
        shown = {name for name in shown if name and "/" not in name.rstrip("/")}
        there = children.get(folder, set())
        found += [f"README.md does not draw {folder}{name}" for name in sorted(there - shown)]
        found += [f"README.md draws {folder}{name}" for name in sorted(shown - there)]
    return found


def test_every_documented_command_parses(repository: Path) -> None:
    expect_none(wrong_commands(repository))


def test_the_two_commands_are_documented(repository: Path) -> None:
    words = [words for where, words in shell_lines(repository) if where.startswith("README.md")]
    assert ["make", "demo"] in words
    assert ["make", "test"] in words


def test_the_tree_is_the_real_one(repository: Path) -> None:
    if not (repository / ".git").exists():
        pytest.skip("not a git checkout")
    drawn, odd = drawn_tree((repository / "README.md").read_text(encoding="utf-8"))
    expect_none(odd + tree_differences(drawn, tracked_files(repository)))


def test_wrong_commands_are_seen(tmp_path: Path) -> None:
    (tmp_path / "Makefile").write_text("demo: install\n\techo\n")
    (tmp_path / "story.py").write_text(
        "import tyro\n"
        "def train(out: str, steps: int = 3):\n    raise RuntimeError('it ran')\n"
        "def score(out: str):\n    raise RuntimeError('it ran')\n"
        "tyro.extras.subcommand_cli_from_dict({'train': train, 'score': score})\n"
    )
    (tmp_path / "single.py").write_text("import tyro\ndef f(x: int): 1 / 0\ntyro.cli(f)\n")
    (tmp_path / "silent.py").write_text("print('no parser here')\n")
    good = "make demo\nDATA=x python story.py train --out a \\\n  --steps 4  # note\n"
    good += "python single.py --x 1"
    (tmp_path / "README.md").write_text(f"```bash\n{good}\n```\n")
    assert wrong_commands(tmp_path) == []
    bad = [
        *("make tea", "python story.py train --out a --stepz 4", "python story.py trane --out a"),
        *("python single.py --x one", "python gone.py", "python silent.py", "curl x"),
        *("python story.py train --help --out a && python story.py train",),
    ]
    (tmp_path / "README.md").write_text("```bash\n" + "\n".join(bad) + "\n```\n")
    found = wrong_commands(tmp_path)
    assert len(found) == len(bad)
    assert sum("it ran" in line.split(": ", 2)[2] for line in found) == 1  # silent.py: to its end


def test_a_wrong_tree_is_seen() -> None:
    readme = (
        "```text\navsr/    words\n  a.py    first\n  gone.py    not there\nREADME.md    this\n```\n"
    )
    drawn, odd = drawn_tree(readme)
    assert odd == []
    assert drawn == ["avsr/", "avsr/a.py", "avsr/gone.py", "README.md"]
    real = [Path("README.md"), Path("avsr/a.py"), Path("avsr/__init__.py"), Path("avsr/new.py")]
    assert tree_differences(drawn, [*real, Path("tests/b.py")]) == [
        "README.md does not draw tests/",
        "README.md does not draw avsr/new.py",
        "README.md draws avsr/gone.py",
    ]
    assert drawn_tree("```text\navsr/\n```\n")[1] == ["the tree does not say what this is: 'avsr/'"]
