"""The tests mirror the rooms, and their README tells of each folder."""

import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
ROOMS = TESTS.parent / "relay"
OTHERS = {"project", "support", "toy_source"}
ROW = re.compile(r"^\| `(?P<folder>\w+)/` \| (?P<tests>[^|]+) \|$", re.MULTILINE)


def folders(of: Path) -> set[str]:
    return {path.parent.name for path in of.glob("*/*.py")}


def test_every_folder_of_tests_is_a_room_or_no_rooms_business() -> None:
    assert folders(TESTS) - OTHERS <= folders(ROOMS)
    assert OTHERS.isdisjoint(folders(ROOMS))


def test_no_test_stands_outside_of_a_folder() -> None:
    assert [path.name for path in TESTS.glob("*.py")] == ["conftest.py"]


def test_helpers_hold_no_tests_and_tests_stand_where_they_are_found() -> None:
    strays = [
        path.relative_to(TESTS)
        for path in TESTS.glob("*/**/*.py")
        if path.name != "conftest.py"
        and path.name.startswith("test_") == (path.relative_to(TESTS).parts[0] == "support")
        and path.relative_to(TESTS).parts[0] != "toy_source"
    ]
    assert strays == []


def test_the_readme_tells_of_every_folder_and_of_no_other() -> None:
    text = (TESTS / "README.md").read_text(encoding="utf-8")
    assert {row["folder"] for row in ROW.finditer(text)} == folders(TESTS)
