"""Rival (c), inside Celery's own virtual environment: the task, and filling and emptying its queue.

Written as a Python team would: a prefork worker, one session of `requests` and one connection of
psycopg for each process, acknowledged late so that a killed worker loses nothing, and one INSERT
for each attempt. Run as a program: `support_celery_tasks fill COUNT` (URLs on stdin), or `clean`.
"""

import base64
import hashlib
import hmac
import os
import sys
import time
from functools import cache

import psycopg
import redis  # type: ignore[import-not-found]  # only in the rival's own environment
import requests
from celery import Celery  # type: ignore[import-not-found]  # the same

PREFIX = os.environ["BENCH_PREFIX"]
DATABASE_URL = os.environ["BENCH_DATABASE_URL"]
KEY = b"k" * 32
BODY = '{"type":"ai_job.success","data":"' + "x" * 2010 + '"}'
INSERT = """
    INSERT INTO attempts (delivery_id, started_at, ended_at, status_code, response_body)
    VALUES (%s, %s, %s, %s, %s)"""

app = Celery("bench", broker=os.environ["BENCH_BROKER_URL"])
app.conf.update(
    broker_transport_options={"global_keyprefix": PREFIX},
    broker_connection_retry_on_startup=True,
    task_ignore_result=True,
    task_acks_late=True,
    worker_hijack_root_logger=False,
)


@cache
def session() -> requests.Session:
    """This process's own."""
    return requests.Session()


@cache
def database() -> psycopg.Connection:
    """This process's own."""
    return psycopg.connect(DATABASE_URL, autocommit=True)


@app.task(name="deliver")  # type: ignore[untyped-decorator]  # celery ships no types
def deliver(delivery_id: str, url: str, body: str) -> None:
    """Sign, POST, and write the attempt."""
    started, timestamp = time.time_ns() // 1000, int(time.time())
    signed = f"{delivery_id}.{timestamp}.{body}".encode()
    signature = base64.b64encode(hmac.new(KEY, signed, hashlib.sha256).digest()).decode()
    headers = {
        "content-type": "application/json",
        "webhook-id": delivery_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": f"v1,{signature}",
    }
    answer = session().post(url, data=body.encode(), headers=headers, timeout=15, allow_redirects=False)
    ended = time.time_ns() // 1000
    database().execute(INSERT, (delivery_id, started, ended, answer.status_code, answer.text[:1024]))


def fill(count: int) -> None:
    """Queue so many deliveries, dealt out to the URLs in turn."""
    urls = sys.stdin.read().split()
    with app.producer_pool.acquire() as producer:
        for number in range(count):
            deliver.apply_async((f"msg_{number:032x}", urls[number % len(urls)], BODY), producer=producer)


def clean() -> None:
    """Remove the keys that carry this benchmark's prefix, and no others."""
    client = redis.Redis.from_url(os.environ["BENCH_BROKER_URL"])
    for key in list(client.scan_iter(f"{PREFIX}*")):
        client.delete(key)


if __name__ == "__main__":
    if sys.argv[1] == "fill":
        fill(int(sys.argv[2]))
    else:
        clean()
