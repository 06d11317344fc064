"""The files of a project, and its settings."""

import os
from pathlib import Path

from threadmill.dev.project import Project


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def changes(project: Project) -> list[str]:
    """What two looks find: the first one sees that something is under way."""
    assert project.find_changes() == []
    return [str(path.relative_to(project.folder)) for path in project.find_changes()]


def test_python_and_the_settings_count_as_changes_and_nothing_else(tmp_path: Path) -> None:
    write(tmp_path / "shop" / "agent.py", "one")
    project = Project(tmp_path, {})

    for ignored in (
        "notes.txt",
        ".threadmill/x.py",
        ".venv/lib/y.py",
        "node_modules/z.py",
        "shop/__pycache__/agent.py",
    ):
        write(tmp_path / ignored, "text")
    assert changes(project) == []

    write(tmp_path / "shop" / "agent.py", "longer")
    write(tmp_path / "shop" / "new.py", "")
    write(tmp_path / ".env", "A=1")
    assert changes(project) == [".env", "shop/agent.py", "shop/new.py"]
    assert changes(project) == []

    (tmp_path / "shop" / "new.py").unlink()
    assert changes(project) == ["shop/new.py"]


def test_a_file_of_the_same_length_that_was_saved_again_has_changed(tmp_path: Path) -> None:
    file = tmp_path / "agent.py"
    write(file, "900")
    project = Project(tmp_path, {})

    write(file, "950")
    os.utime(file, ns=(1, 1))

    assert changes(project) == ["agent.py"]


def test_files_that_are_still_being_saved_are_waited_for(tmp_path: Path) -> None:
    project = Project(tmp_path, {})

    for text in ("1", "12", "123"):
        write(tmp_path / "agent.py", text)
        assert project.find_changes() == []

    assert project.find_changes() == [tmp_path / "agent.py"]


def test_the_shell_comes_before_the_file_which_is_read_anew(tmp_path: Path) -> None:
    write(tmp_path / ".env", "A=file\nB=file\nPRICE=5$\nC\n")
    project = Project(tmp_path, {"A": "shell"})

    assert project.environment() == {"A": "shell", "B": "file", "PRICE": "5$"}

    write(tmp_path / ".env", "B=changed")
    assert project.environment() == {"A": "shell", "B": "changed"}
