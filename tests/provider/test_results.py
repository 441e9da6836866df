"""Typed views of results: names and numbers of both kinds, and null for whatever does not fit."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.common.states import JobStatus
from relay.provider.list_ai_job.rules.results import LARGEST, LONGEST, TAG_GROUPS, view
from relay.sandbox.jobs import Jobs, JobType
from tests.support.provider import Clock

PAGE = json.loads(
    (Path(__file__).parents[1] / "support" / "data" / "listaijob_example.json").read_text(encoding="utf-8")
)
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def tags(data: object) -> Any:
    return view("AIVideoTag", json.dumps(data))


def dna(data: object) -> Any:
    return view("AIMediaDNA", json.dumps(data))


def test_the_pages_example_has_its_speech() -> None:
    data = PAGE["AIJobList"]["AIJob"][0]["Data"]
    found = view("AIVideoTag", data)
    assert found is not None
    assert found["tags"] == {group.lower(): [] for group in TAG_GROUPS}
    assert found["speech"]["duration_ms"] == 30_016
    assert found["speech"]["lines"][0] == {
        "start_ms": 0,
        "end_ms": 700,
        "text": "嗯。",
        "channel": 0,
        "rate": 85,
    }
    assert len(found["speech"]["lines"]) == 6


def test_tags_have_times_in_milliseconds_also_where_they_are_texts() -> None:
    found = tags(
        {
            "Keyword": [{"Tag": "海边", "Times": ["3260", 4000, "5000.0"]}],
            "Person": [{"Tag": "Ada", "Times": [], "FaceUrl": "https://example.com/a.jpg"}],
            "Category": None,
            "Unknown": {"ignored": True},
        }
    )
    assert found == {
        "kind": "video_tags",
        "tags": {
            "person": [{"tag": "Ada", "times_ms": [], "face_url": "https://example.com/a.jpg"}],
            "time": [],
            "location": [],
            "keyword": [{"tag": "海边", "times_ms": [3260, 4000, 5000], "face_url": None}],
            "category": [],
        },
        "speech": None,
    }


def test_dna_has_its_seconds_as_milliseconds_and_its_similarity_as_a_number() -> None:
    stretch = {"Start": "2.0", "Duration": "12.1"}
    found = dna(
        {
            "VideoDNA": [
                {"PrimaryKey": "m", "Similarity": "0.99", "Detail": [{"Input": stretch, "Duplication": {}}]}
            ]
        }
    )
    assert found == {
        "kind": "media_dna",
        "matches": [
            {
                "media_id": "m",
                "similarity": 0.99,
                "parts": [
                    {
                        "input": {"start_ms": 2000, "duration_ms": 12_100},
                        "match": {"start_ms": None, "duration_ms": None},
                    }
                ],
            }
        ],
    }


@pytest.mark.parametrize("name", ["aivideotag", "AIVideoTag,AIMediaDNA", " AIVideoTag "])
def test_the_type_is_read_in_any_letter_case_and_among_others(name: str) -> None:
    found = view(name, '{"Time": []}')
    assert found is not None
    assert found["kind"] == "video_tags"


@pytest.mark.parametrize("job_type", [None, "", "AIMediaAudit", "AIMediaDNA"])
def test_another_type_has_no_view_of_tags(job_type: str | None) -> None:
    assert view(job_type, '{"Time": []}') is None


@pytest.mark.parametrize(
    "data",
    [
        "",
        "{not json",
        "null",
        "[]",
        '"text"',
        "{}",
        '{"Other": 1}',
        "[" * 100_000,
        '{"Time": ' + "9" * 10_000 + "}",
        '{"Time": {}}',
        '{"Time": [1]}',
        '{"Time": [{"Times": [1]}]}',
        '{"Time": [{"Tag": 5}]}',
        '{"Time": [{"Tag": "a", "Times": ["soon"]}]}',
        '{"Time": [{"Tag": "a", "Times": [null]}]}',
        '{"Time": [{"Tag": "a", "Times": [true]}]}',
        '{"Time": [{"Tag": "a", "Times": [NaN]}]}',
        '{"Time": [{"Tag": "a", "Times": [1e400]}]}',
        '{"Time": [{"Tag": "a", "Times": ["1e400"]}]}',
        '{"Time": [{"Tag": "a", "Times": [9007199254740994]}]}',
        '{"Time": [{"Tag": "a", "Times": ["\\uff11"]}]}',
        '{"Time": [{"Tag": "a", "FaceUrl": []}]}',
        '{"OrigASRData": []}',
        '{"OrigASRData": {"Duration": "long"}}',
        '{"OrigASRData": {"AsrTextList": [{"StartTime": 0}]}}',
    ],
)
def test_another_shape_has_no_view(data: str) -> None:
    assert view("AIVideoTag", data) is None


@given(
    st.sampled_from(["AIVideoTag", "AIMediaDNA", "AIVideoTag,AIMediaDNA", None]),
    st.text() | ANY_JSON.map(json.dumps),
)
def test_whatever_data_is_the_view_is_a_document_or_null(job_type: str | None, data: str) -> None:
    check(view(job_type, data))


def test_data_too_long_to_be_worth_it_has_no_view() -> None:
    assert tags({"Time": [], "Pad": "x" * LONGEST}) is None


def test_half_a_surrogate_pair_is_replaced() -> None:
    found = tags({"Time": [{"Tag": "\ud800"}]})
    assert found["tags"]["time"][0]["tag"] == "\ufffd"


NAMES = st.sampled_from(
    [
        *TAG_GROUPS,
        "OrigASRData",
        "AsrTextList",
        "Tag",
        "Times",
        "Text",
        "VideoDNA",
        "PrimaryKey",
        "Detail",
        "Input",
    ]
)
ALMOST = st.recursive(
    st.none()
    | st.integers()
    | st.floats()
    | st.text()
    | st.from_regex(r"-?[0-9]{1,25}(\.[0-9]+)?", fullmatch=True),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=30,
)


@given(st.sampled_from(["AIVideoTag", "AIMediaDNA"]), st.dictionaries(NAMES, ALMOST, min_size=1))
def test_what_almost_fits_is_a_document_or_null(job_type: str, data: Any) -> None:
    check(view(job_type, json.dumps(data)))


def check(found: Any) -> None:
    """Strict JSON, whose whole numbers every reader can hold."""
    text = json.dumps(found, allow_nan=False, ensure_ascii=False)
    text.encode()  # no half of a surrogate pair
    assert found is None or found["kind"] in {"video_tags", "media_dna"}
    assert all(abs(number) <= LARGEST for number in numbers(json.loads(text)))


def numbers(value: Any) -> list[float]:
    match value:
        case dict():
            return [number for item in value.values() for number in numbers(item)]
        case list():
            return [number for item in value for number in numbers(item)]
        case int() | float():
            return [value]
        case _:
            return []


@given(st.sampled_from(["AIVideoTag", "AIMediaDNA"]), st.text(min_size=1, max_size=8))
def test_what_the_sandbox_finds_has_a_view(job_type: JobType, job_id: str) -> None:
    clock = Clock()
    job = Jobs(clock).create(job_id, job_type, "success", seconds=0)
    assert job.status(clock.now) == JobStatus.SUCCESS
    assert view(job_type, job.data) is not None
