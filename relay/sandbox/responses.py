"""Strange responses of ListAIJob, each made from the correct one.

First those that the provider's page, SDKs and sister calls show; then those that no program should
trust.
"""

import json
from collections.abc import Callable
from typing import Any

Document = dict[str, Any]
Change = Callable[[Document], Document | str]


def _with_missing(write: Callable[[list[str]], object]) -> Change:
    return lambda document: (
        document | {"NonExistAIJobIds": {"String": write(document["NonExistAIJobIds"]["String"])}}
    )


def _with_jobs(change: Callable[[Document], Document]) -> Change:
    return lambda document: document | {"AIJobList": {"AIJob": [change(job) for job in _jobs(document)]}}


def _jobs(document: Document) -> list[Document]:
    jobs: list[Document] = document["AIJobList"]["AIJob"]
    return jobs


def _bare_lists(document: Document) -> Document:
    return document | {
        "AIJobList": _jobs(document),
        "NonExistAIJobIds": document["NonExistAIJobIds"]["String"],
    }


def _twice(document: Document) -> Document:
    return document | {"AIJobList": {"AIJob": _jobs(document) * 2}}


def _contradicting(document: Document) -> Document:
    others = [job | {"Status": "processing"} for job in _jobs(document)]
    return document | {"AIJobList": {"AIJob": _jobs(document) + others}}


def _in_both_lists(document: Document) -> Document:
    return document | {"NonExistAIJobIds": {"String": [job["JobId"] for job in _jobs(document)]}}


def _left_out(document: Document) -> Document:
    return {"RequestId": document["RequestId"], "AIJobList": {"AIJob": []}}


def _with_strangers(document: Document) -> Document:
    strangers = [{"JobId": f"stranger-{n}", "Status": "success"} for n in range(3)]
    return document | {"AIJobList": {"AIJob": strangers + _jobs(document)}}


def _parsed_data(job: Document) -> Document:
    return job | ({"Data": json.loads(job["Data"])} if "Data" in job else {})


RESPONSES: dict[str, Change] = {
    "missing_as_json_text": _with_missing(json.dumps),
    "missing_as_list_of_json_text": _with_missing(lambda ids: [json.dumps(ids)]),
    "missing_joined_by_commas": _with_missing(",".join),
    "missing_absent": lambda document: {**document, "NonExistAIJobIds": None},
    "bare_lists": _bare_lists,
    "one_job_without_a_list": lambda document: document | {"AIJobList": {"AIJob": _jobs(document)[0]}},
    "upper_case_status": _with_jobs(lambda job: job | {"Status": job["Status"].upper()}),
    "unknown_status": _with_jobs(lambda job: job | {"Status": "analysing"}),
    "numeric_code": _with_jobs(lambda job: job | {"Code": 0}),
    "unknown_type": _with_jobs(lambda job: job | {"Type": "AIEverything"}),
    "no_data": _with_jobs(lambda job: {name: value for name, value in job.items() if name != "Data"}),
    "data_as_object": _with_jobs(_parsed_data),
    "data_is_no_json": _with_jobs(lambda job: job | {"Data": "{not json"}),
    "twice": _twice,
    "with_strangers": _with_strangers,
    "contradicting": _contradicting,
    "in_both_lists": _in_both_lists,
    "left_out": _left_out,
    "no_status": _with_jobs(lambda job: {name: value for name, value in job.items() if name != "Status"}),
    "status_of_another_type": _with_jobs(lambda job: job | {"Status": ["success"]}),
    "other_id": _with_jobs(lambda job: job | {"JobId": job["JobId"].swapcase() + "-"}),
    "jobs_of_another_type": lambda document: document | {"AIJobList": {"AIJob": "success"}},
    "empty_object": lambda _document: "{}",
    "null": lambda _document: "null",
    "list": lambda document: json.dumps([document]),
    "cut_short": lambda document: json.dumps(document)[:-1],
    "empty": lambda _document: "",
    "too_deep": lambda _document: "[" * 200_000,
}
