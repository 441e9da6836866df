"""Rival (a): the least cost of claiming and recording, without HTTP. FROZEN: it is the yardstick.

What a competent minimal queue on SQL does: claims of 100 by SKIP LOCKED under a lease and a token,
the 2 KB bodies read in the claim, results of 100 guarded by the token with an attempt row each. No
endpoints, no limits, no HTTP. Straight on the drivers. Run as a program: `support_floor URL COUNT`
makes its tables, works them off and prints JSON: seconds and processor seconds.
"""

import json
import random
import secrets
import sqlite3
import sys
import time
from typing import Any

import psycopg

from bench.support_database import SQLITE, path_of

LEASE = 60_000_000  # microseconds
BODY_BYTES = 2000
BODIES = 500  # different ones: what the server's compression finds in them is what it finds in real ones
WORDS = ("hello", "good", "day", "please", "leave", "a", "message", "after", "noon", "we", "call", "back")
ANSWER = '{"ok":true}'

TABLES = (
    """CREATE TABLE deliveries (
        id varchar(40) PRIMARY KEY, endpoint_id varchar(40) NOT NULL, status varchar(16) NOT NULL,
        due_at bigint, token varchar(32), attempt_count integer NOT NULL,
        created_at bigint NOT NULL, finished_at bigint,
        body text NOT NULL)""",
    "CREATE INDEX due ON deliveries (due_at) WHERE due_at IS NOT NULL",
    """CREATE TABLE attempts (
        delivery_id varchar(40) NOT NULL REFERENCES deliveries (id) ON DELETE CASCADE,
        number integer NOT NULL, id varchar(40) NOT NULL, started_at bigint NOT NULL,
        duration bigint, status_code integer, response_body text,
        PRIMARY KEY (delivery_id, number))""",
)

CLAIM = """
    UPDATE deliveries SET due_at = %(until)s, token = %(token)s, attempt_count = attempt_count + 1
    WHERE id = ANY(ARRAY(
        SELECT id FROM deliveries WHERE due_at <= %(now)s ORDER BY due_at LIMIT 100 FOR UPDATE SKIP LOCKED))
    RETURNING id, attempt_count, body"""
RECORD = """
    UPDATE deliveries SET status = 'delivered', due_at = NULL, token = NULL, finished_at = %s
    WHERE id = ANY(%s) AND token = %s RETURNING id"""
ATTEMPTS = """
    INSERT INTO attempts
    SELECT * FROM unnest(
        %s::text[], %s::int[], %s::text[], %s::bigint[], %s::bigint[], %s::int[], %s::text[])"""


def now() -> int:
    """Microseconds since the epoch."""
    return time.time_ns() // 1000


def rows(count: int) -> list[tuple[Any, ...]]:
    """Due deliveries: id, endpoint, status, due, token, attempts, created, finished, body."""
    at = now()
    bodies = [body(number) for number in range(BODIES)]
    return [
        (
            f"msg_{number:032x}",
            f"ep_{number % 200:032x}",
            "pending",
            at,
            None,
            0,
            at,
            None,
            bodies[number % BODIES],
        )
        for number in range(count)
    ]


def body(number: int) -> str:
    """A webhook's body of about 2 KB, as a speech recognition's result reads."""
    rng = random.Random(number)
    said: list[dict[str, Any]] = []
    while (
        len(text := json.dumps({"type": "ai_job.success", "data": {"job": number, "said": said}}))
        < BODY_BYTES
    ):
        start = rng.randrange(1_000_000)
        said.append({"StartTime": start, "Text": " ".join(rng.choices(WORDS, k=6)), "SpeechRate": start % 97})
    return text


def work_off_postgresql(url: str, count: int) -> tuple[float, float]:
    """Claim and record `count` deliveries; seconds, and processor seconds of this process."""
    with psycopg.connect(url) as connection:
        for statement in TABLES:
            connection.execute(statement)
        with connection.cursor() as cursor, cursor.copy("COPY deliveries FROM STDIN") as copy:
            for row in rows(count):
                copy.write_row(row)
        connection.commit()
        connection.autocommit = True
        connection.execute("VACUUM ANALYZE")
        connection.execute("CHECKPOINT")
        connection.autocommit = False
        start, cpu = time.monotonic(), time.process_time()
        done = 0
        while done < count:
            done += _turn_postgresql(connection)
        return time.monotonic() - start, time.process_time() - cpu


def _turn_postgresql(connection: psycopg.Connection) -> int:
    token, at = secrets.token_hex(16), now()
    claimed = connection.execute(CLAIM, {"until": at + LEASE, "token": token, "now": at}).fetchall()
    ids = [delivery_id for delivery_id, _, _ in claimed]
    connection.commit()
    live = {row[0] for row in connection.execute(RECORD, [now(), ids, token])}
    attempts = [
        (delivery_id, number, f"att_{delivery_id[4:]}", at, 1000, 200, ANSWER)
        for delivery_id, number, _ in claimed
        if delivery_id in live
    ]
    connection.execute(ATTEMPTS, [list(column) for column in zip(*attempts, strict=True)])
    connection.commit()
    return len(live)


def work_off_sqlite(url: str, count: int) -> tuple[float, float]:
    """Claim and record `count` deliveries; seconds, and processor seconds of this process."""
    connection = sqlite3.connect(path_of(url), isolation_level=None)
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")
    for statement in TABLES:
        connection.execute(statement)
    connection.execute("BEGIN")
    connection.executemany("INSERT INTO deliveries VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows(count))
    connection.execute("COMMIT")
    connection.execute("ANALYZE")
    start, cpu = time.monotonic(), time.process_time()
    done = 0
    while done < count:
        done += _turn_sqlite(connection)
    return time.monotonic() - start, time.process_time() - cpu


def _turn_sqlite(connection: sqlite3.Connection) -> int:
    token, at = secrets.token_hex(16), now()
    connection.execute("BEGIN IMMEDIATE")
    claimed = connection.execute(
        "UPDATE deliveries SET due_at = ?, token = ?, attempt_count = attempt_count + 1 WHERE id IN"
        " (SELECT id FROM deliveries WHERE due_at <= ? ORDER BY due_at LIMIT 100)"
        " RETURNING id, attempt_count, body",
        (at + LEASE, token, at),
    ).fetchall()
    marks = ",".join("?" * len(claimed))
    ids = [delivery_id for delivery_id, _, _ in claimed]
    connection.execute("COMMIT")
    connection.execute("BEGIN IMMEDIATE")
    live = {
        row[0]
        for row in connection.execute(
            "UPDATE deliveries SET status = 'delivered', due_at = NULL, token = NULL, finished_at = ?"
            f" WHERE id IN ({marks}) AND token = ? RETURNING id",
            (now(), *ids, token),
        )
    }
    connection.executemany(
        "INSERT INTO attempts VALUES (?, ?, ?, ?, ?, ?, ?)",
        [
            (delivery_id, number, f"att_{delivery_id[4:]}", at, 1000, 200, ANSWER)
            for delivery_id, number, _ in claimed
            if delivery_id in live
        ],
    )
    connection.execute("COMMIT")
    return len(live)


def main() -> None:
    url, count = sys.argv[1], int(sys.argv[2])
    work_off = work_off_sqlite if url.startswith(SQLITE) else work_off_postgresql
    seconds, cpu = work_off(url, count)
    print(json.dumps({"seconds": seconds, "cpu": cpu}))


if __name__ == "__main__":
    main()
