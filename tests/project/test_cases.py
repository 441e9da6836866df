"""Every hard case in the tests' README has a test of its name in the file that the README says."""

import ast
import re
from collections import defaultdict
from itertools import groupby
from pathlib import Path

TESTS = Path(__file__).parents[1]
CASE = re.compile(r"[A-Z][0-9]+")
ROW = re.compile(r"^\| (?P<case>[A-Z][0-9]+) \| (?P<holds>[^|]+) \| (?P<shown>[^|]+) \|$", re.MULTILINE)


def told() -> dict[str, set[str]]:
    """The README's table: case → the files whose tests show it."""
    text = (TESTS / "README.md").read_text(encoding="utf-8").split("\n## Cases\n", 1)[1]
    return {
        row["case"]: set(re.findall(r"`([\w/]+/test_\w+\.py)`", row["shown"])) for row in ROW.finditer(text)
    }


def shown() -> dict[str, set[str]]:
    """Case → the files that hold tests of its name, as in test_C1_C2_so_and_so."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for path in TESTS.rglob("test_*.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                for case in leading_cases(node.name):
                    found[case].add(str(path.relative_to(TESTS)))
    return dict(found)


def leading_cases(name: str) -> list[str]:
    """The references that a test's name begins with."""
    cases = []
    for word in name.split("_")[1:]:
        if not CASE.fullmatch(word):
            break
        cases.append(word)
    return cases


def test_every_case_is_shown_where_the_table_says_and_no_other_reference_is_used() -> None:
    assert shown() == told()


def test_the_table_is_in_order_and_has_no_gap() -> None:
    cases = list(told())
    assert [letter for letter, _ in groupby(case[0] for case in cases)] == ["A", "C", "R", "I", "H", "S", "K"]
    for letter in "ACRIHSK":
        numbers = [int(case[1:]) for case in cases if case[0] == letter]
        assert numbers == list(range(1, len(numbers) + 1))
