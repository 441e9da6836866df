"""Log lines that machines and terminals can take, metrics that agree with the fleet's totals."""

import json
import logging
import socket
import struct
import urllib.request
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay import telemetry
from relay.common.errors import whereabouts
from relay.common.states import DeliveryStatus, ErrorClass
from relay.common.time import rfc3339
from relay.telemetry import metrics
from relay.telemetry.events import (
    AttemptEnded,
    AttemptsLost,
    IterationFailed,
    PollEnded,
    ProcessStopping,
    UpstreamDown,
    UpstreamRecovered,
    WatchRegistered,
)
from relay.telemetry.fleet import Fleet, FleetNumbers
from relay.telemetry.log_format import Line, Repeats, as_json, as_text, configure
from relay.telemetry.metrics_port import serve_metrics
from tests.support.telemetry import Stderr

NUMBERS = FleetNumbers(
    deliveries_pending=5,
    deliveries_held=2,
    deliveries_due=1,
    oldest_due_seconds=1.5,
    endpoints_open=6,
    endpoints_paused=8,
    endpoints_disabled=11,
    jobs_open=4,
    jobs_due=3,
    watches_waiting=9,
    totals={
        ("relay_attempts_total", "delivered"): 7,
        ("relay_upstream_ids_total", ""): 12,
        ("gone_total", "x"): 1,
    },
)


DELIVERED = AttemptEnded(
    delivery_id="msg_1",
    endpoint_id="ep_1",
    number=1,
    status_code=200,
    error=None,
    duration_us=12_345,
    outcome=DeliveryStatus.DELIVERED,
    next_attempt_at=None,
)


def test_a_json_line_holds_time_level_process_event_sentence_and_fields(stderr: Stderr) -> None:
    configure("json", "dispatcher")
    telemetry.emit(
        replace(
            DELIVERED,
            status_code=503,
            error=ErrorClass.HTTP_5XX,
            outcome=DeliveryStatus.PENDING,
            next_attempt_at=1_767_323_045_678_000,
        )
    )
    (line,) = stderr.lines()
    assert line.pop("ts").endswith("Z")
    assert line == {
        "level": "info",
        "process": "dispatcher",
        "event": "attempt_ended",
        "message": "Attempt 1 of msg_1 was answered 503 in 12 ms: next at 2026-01-02T03:04:05.678Z.",
        "delivery_id": "msg_1",
        "endpoint_id": "ep_1",
        "number": 1,
        "status_code": 503,
        "error": "http_5xx",
        "duration_ms": 12,
        "outcome": "pending",
        "next_attempt_at": "2026-01-02T03:04:05.678Z",
    }


def test_a_text_line_is_readable(stderr: Stderr) -> None:
    configure("text", "poller")
    telemetry.emit(UpstreamDown("Forbidden.RAM", "the key may not call ListAIJob."))
    assert stderr.getvalue()[13:] == (
        "error   poller: The provider refuses our calls (Forbidden.RAM): the key may not call ListAIJob.\n"
    )
    telemetry.emit(UpstreamRecovered())


def test_auto_is_json_where_no_terminal_is(stderr: Stderr) -> None:
    configure("auto", "web")
    telemetry.emit(ProcessStopping("SIGTERM"))
    assert [line["event"] for line in stderr.lines()] == ["process_stopping"]


@given(st.text())
def test_K2_a_line_is_one_line_without_control_characters(text: str) -> None:
    line = Line(logging.INFO, "event", text, {"trace": text, "field": text})
    for written in (as_text(rfc3339(0), "web", line), as_json(rfc3339(0), "web", line)):
        assert written.isprintable()
    assert json.loads(as_json(rfc3339(0), "web", line))["message"] == text


def fail(text: str) -> BaseException:
    try:
        int(text)
    except ValueError as inner:
        error = RuntimeError(text)
        error.__cause__ = inner
    return error


def test_an_exception_is_logged_by_classes_and_places_never_by_its_text(stderr: Stderr) -> None:
    configure("json", "poller")
    error = fail("hush-secret")
    telemetry.emit(IterationFailed("poll-a", error, 0.5))
    logging.getLogger("some.library").error("It broke.", exc_info=error)
    written = stderr.getvalue()
    assert "hush" not in written
    assert written.count("ValueError at telemetry/test_telemetry.py:") == 2
    assert whereabouts(error).index("ValueError") < whereabouts(error).index("RuntimeError")


def test_the_same_unexpected_error_is_logged_once_a_minute(stderr: Stderr) -> None:
    configure("json", "poller")
    for _ in range(5):
        telemetry.emit(IterationFailed("poll-b", KeyError("x"), 1))
    telemetry.emit(IterationFailed("poll-b", ValueError("x"), 1))
    assert [line["error"] for line in stderr.lines()] == ["KeyError", "ValueError"]


def test_a_repeated_line_says_how_many_were_held_back() -> None:
    now = [0.0]
    repeats = Repeats(lambda: now[0])
    assert [repeats.let_through("a") for _ in range(4)] == [0, None, None, None]
    assert repeats.let_through("b") == 0
    now[0] = 60.0
    assert [repeats.let_through("a"), repeats.let_through("a")] == [3, None]


def test_an_uneventful_poll_is_not_logged(stderr: Stderr) -> None:
    configure("json", "poller")
    poll = PollEnded(asked=10, answered=10, ended=0, missing=0, outcome="answered", duration_ms=1)
    telemetry.emit(poll, replace(poll, missing=3))
    assert stderr.getvalue() == ""
    telemetry.emit(replace(poll, ended=1), replace(poll, outcome="throttled"))
    assert [line["level"] for line in stderr.lines()] == ["info", "warning"]


def test_what_was_counted_is_drained_once_and_can_be_given_back() -> None:
    metrics.drain_totals()
    telemetry.emit(
        DELIVERED,
        replace(DELIVERED, status_code=None, error=ErrorClass.DNS, outcome=DeliveryStatus.PENDING),
        replace(DELIVERED, status_code=404, error=ErrorClass.HTTP_4XX, outcome=DeliveryStatus.FAILED),
        AttemptsLost(2),
    )
    telemetry.emit(PollEnded(asked=7, answered=7, ended=0, missing=0, outcome="answered", duration_ms=1))
    telemetry.emit(WatchRegistered(3, 2))
    counted = metrics.drain_totals()
    assert counted == {
        ("relay_attempts_total", "delivered"): 1,
        ("relay_attempts_total", "dns"): 1,
        ("relay_attempts_total", "http_4xx"): 1,
        ("relay_attempts_total", "lost"): 2,
        ("relay_deliveries_total", "delivered"): 1,
        ("relay_deliveries_total", "failed"): 1,
        ("relay_upstream_calls_total", "answered"): 1,
        ("relay_upstream_ids_total", ""): 7,
        ("relay_watches_registered_total", ""): 2,
    }
    assert metrics.drain_totals() == {}
    metrics.restore_totals(counted)
    telemetry.emit(DELIVERED)
    assert metrics.drain_totals()["relay_attempts_total", "delivered"] == 2


def test_the_fleet_is_rendered_from_its_numbers() -> None:
    body, content_type = metrics.render(Fleet(lambda: NUMBERS))
    text = body.decode()
    assert content_type.startswith("text/plain")
    for line in (
        "relay_deliveries_pending 5.0",
        "relay_deliveries_held 2.0",
        "relay_deliveries_due 1.0",
        "relay_oldest_due_seconds 1.5",
        "relay_endpoints_open 6.0",
        "relay_endpoints_paused 8.0",
        "relay_endpoints_disabled 11.0",
        "relay_jobs_open 4.0",
        "relay_jobs_due 3.0",
        "relay_watches_waiting 9.0",
        'relay_attempts_total{outcome="delivered"} 7.0',
        "relay_upstream_ids_total 12.0",
    ):
        assert f"\n{line}\n" in f"\n{text}"
    assert "gone" not in text


def test_the_fleet_is_read_at_most_every_five_seconds() -> None:
    now, reads = [100.0], [0]

    def read() -> FleetNumbers:
        reads[0] += 1
        return replace(NUMBERS, jobs_open=reads[0])

    fleet = Fleet(read, clock=lambda: now[0])
    for at in (100.0, 104.9, 105.0):
        now[0] = at
        body, _ = metrics.render(fleet)
    assert b"relay_jobs_open 2.0" in body


def test_a_database_that_is_down_fails_the_scrape_and_not_the_next() -> None:
    answers: list[FleetNumbers | None] = [None, NUMBERS]

    def read() -> FleetNumbers:
        numbers = answers.pop(0)
        if numbers is None:
            raise ConnectionError
        return numbers

    fleet = Fleet(read)
    with pytest.raises(ConnectionError):
        metrics.render(fleet)
    assert b"relay_jobs_open 4.0" in metrics.render(fleet)[0]


def test_a_process_serves_its_own_metrics() -> None:
    telemetry.emit(DELIVERED)
    server = serve_metrics("127.0.0.1:0")
    assert server is not None
    try:
        with urllib.request.urlopen(
            f"http://127.0.0.1:{server.server_address[1]}/metrics", timeout=5
        ) as answer:
            text = answer.read().decode()
    finally:
        server.shutdown()
        server.server_close()
    assert 'relay_attempts_total{outcome="delivered"}' in text
    assert "relay_attempt_duration_seconds_bucket" in text
    assert "process_open_fds" in text


def test_what_goes_wrong_at_the_port_is_not_printed(stderr: Stderr) -> None:
    def read() -> FleetNumbers:
        raise ConnectionError("mysql://user:hush@host/relay")

    server = serve_metrics("127.0.0.1:0", Fleet(read))
    assert server is not None
    address = server.server_address[0], server.server_address[1]
    try:
        with socket.create_connection(address, timeout=5) as scraper:  # type: ignore[arg-type]  # its host may be bytes elsewhere
            scraper.sendall(b"GET / HTTP/1.1\r\n\r\n")
            assert scraper.makefile("rb").readline() == b"HTTP/1.0 503 Service Unavailable\r\n"
        hung_up = socket.create_connection(address, timeout=5)  # type: ignore[arg-type]  # the same
        hung_up.sendall(b"GET /")
        hung_up.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset
        hung_up.close()
    finally:
        server.shutdown()
        server.server_close()
    assert stderr.getvalue() == ""


def test_metrics_on_a_busy_address_are_logged_and_not_served(stderr: Stderr) -> None:
    configure("json", "dispatcher")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert serve_metrics(f"127.0.0.1:{taken.getsockname()[1]}") is None
    (line,) = stderr.lines()
    assert (line["event"], line["level"]) == ("metrics_not_served", "warning")
    assert "RELAY_METRICS_ADDR" in line["message"]
