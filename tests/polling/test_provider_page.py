"""The provider's own page: its examples lead to the right webhook with every field."""

import json
from pathlib import Path

import pytest

from relay.common.time import US_PER_SECOND, rfc3339
from relay.db.tables import Delivery, Watch
from relay.sending.rules import webhook
from tests.support.flow import World
from tests.support.polling import poll_once
from tests.support.provider import Provider

DATA = Path(__file__).parents[1] / "support" / "data"
ENDED = "53d4a9c7b00c*****cdcb4b0c2c854c7"  # masked on the page; the API itself takes no asterisks
UNKNOWN = "aasdcsfg*****782740asd"


@pytest.mark.parametrize(
    ("example", "content_type"),
    [("listaijob_example.json", "application/json"), ("listaijob_example.xml", "text/xml;charset=utf-8")],
)
def test_the_pages_example_leads_to_the_right_webhook_with_every_field(
    world: World, provider: Provider, example: str, content_type: str
) -> None:
    watch_id = world.watch(ENDED, metadata='{"order":7}')
    unknown = world.watch(UNKNOWN)
    for _ in range(3):
        provider.answer_raw((DATA / example).read_text(), content_type=content_type)
        poll_once(world, provider.client().ask, grace=0)
        world.later(5)
    ended, missing = sorted(world.claim().taken, key=lambda one: one.event, reverse=True)
    assert (ended.watch_id, ended.event) == (watch_id, "ai_job.success")
    assert (missing.watch_id, missing.event) == (unknown, "ai_job.missing")
    body = webhook.render(ended.message)
    page = json.loads((DATA / "listaijob_example.json").read_text())["AIJobList"]["AIJob"][0]
    assert f'"data":{page["Data"]}' in body.decode()  # the text itself, spliced in
    assert json.loads(body) == {
        "type": "ai_job.success",
        "timestamp": rfc3339(ended.created_at),
        "data": {
            "watch_id": watch_id,
            "metadata": {"order": 7},
            "job": {
                "job_id": ENDED,
                "type": "AIVideoTag",
                "status": "success",
                "code": "0",
                "message": "OK",
                "media_id": "a718a3a1e8*****bb42ee3bc88921e9",
                "creation_time": "2020-06-28T02:04:32Z",
                "complete_time": "2020-06-28T02:04:47Z",
                "data": json.loads(page["Data"]),
            },
        },
    }
    assert {row.status for row in world.rows(Watch)} == {"success", "missing"}
    assert len(world.rows(Delivery)) == 2
    assert ended.created_at < world.now - 5 * US_PER_SECOND
