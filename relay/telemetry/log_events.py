"""Every log sentence: one function per thing that happens, which moves its metric and writes its one line.

Lines carry ids, counts and statuses; never a key, a signature, a body, or the path and query of a
callback. Times are microseconds since the epoch, durations microseconds.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from logging import DEBUG, ERROR, INFO, WARNING
from pathlib import Path
from typing import NamedTuple
from wsgiref.simple_server import WSGIServer

from relay.common.errors import whereabouts
from relay.common.states import DeliveryStatus, ErrorClass
from relay.common.time import US_PER_SECOND, Micros, rfc3339
from relay.telemetry import metrics, metrics_port
from relay.telemetry.log_format import Field, Repeats, Told, write_line, write_lines

_repeats = Repeats()


# The life of a process.


def process_started(*, version: str, detail: str = "") -> None:
    """A process is ready to work; `detail` says with what, in words fit for a log."""
    write_line(
        INFO, "process_started", f"Relay {version} started{f': {detail}' if detail else ''}.", version=version
    )


def process_stopping(reason: str) -> None:
    """A process was told to stop (`reason`: the signal's name) and finishes what it has begun."""
    write_line(INFO, "process_stopping", f"Stopping on {reason}: finishing what has begun.", reason=reason)


def process_stopped(*, abandoned: int = 0) -> None:
    """A process has stopped; what it had to abandon is taken up by others when its leases end."""
    level, rest = (WARNING, f"; {abandoned} attempts were abandoned") if abandoned else (INFO, "")
    write_line(level, "process_stopped", f"Stopped{rest}.", abandoned=abandoned)


def master_key_made(path: Path) -> None:
    """There was no master key beside the SQLite database, so one was made."""
    write_line(
        WARNING,
        "master_key_made",
        f"Made a master key in {path}. Keep it with the database: without it no secret can be opened.",
        path=str(path),
    )


def serve_metrics(addr: str, fleet: metrics.Fleet | None = None) -> WSGIServer | None:
    """Serve the fleet's metrics, or else this process's own, at `host:port`.

    If that can't be, say so and go without (None).
    """
    try:
        server = metrics_port.serve(
            addr, metrics.render_own if fleet is None else lambda: metrics.render(fleet)
        )
    except OSError as error:
        write_line(
            WARNING,
            "metrics_not_served",
            f"Metrics can't be served at {addr} ({error.strerror or 'no such address'}); going on without."
            " Each process needs a RELAY_METRICS_ADDR of its own.",
            addr=addr,
        )
        return None
    whose = "this process" if fleet is None else "the fleet"
    write_line(INFO, "metrics_served", f"Metrics of {whose} are served at {addr}.", addr=addr)
    return server


# The flow.


def watch_registered(count: int, new: int) -> None:
    """A caller posted `count` watches, `new` of which did not exist yet."""
    metrics.WATCHES.add("", new)
    write_line(
        INFO, "watch_registered", f"Registered {count} watches, {new} of them new.", count=count, new=new
    )


def poll_ended(
    *, asked: int, answered: int, ended: int, missing: int, outcome: str, duration: Micros
) -> None:
    """One ListAIJob call is over; `outcome` is "answered" or a short word for why there was no answer."""
    metrics.CALLS.add(outcome)
    metrics.IDS.add("", asked)
    metrics.IDS_PER_CALL.observe(asked)
    if outcome != "answered":
        level, sentence = WARNING, f"ListAIJob was asked about {_jobs(asked)} and did not answer: {outcome}."
    else:
        level = INFO if ended else DEBUG  # what is unknown is asked about again and again
        sentence = f"ListAIJob was asked about {_jobs(asked)}: {ended} ended, {missing} unknown to it."
    write_line(
        level,
        "poll_ended",
        sentence,
        asked=asked,
        answered=answered,
        ended=ended,
        missing=missing,
        outcome=outcome,
        duration_ms=duration // 1000,
    )


def _jobs(count: int) -> str:
    return "1 job" if count == 1 else f"{count} jobs"


def upstream_down(code: str, sentence: str) -> None:
    """The provider refuses our calls as such, not the jobs: watches wait, and it is probed once a minute."""
    metrics.UPSTREAM_UP.set(0)
    write_line(ERROR, "upstream_down", f"The provider refuses our calls ({code}): {sentence}", code=code)


def upstream_recovered() -> None:
    """The provider answers again."""
    metrics.UPSTREAM_UP.set(1)
    write_line(INFO, "upstream_recovered", "The provider answers again.")


def upstream_clock_skewed(seconds: float) -> None:
    """The provider found our time wrong: its clock is `seconds` ahead (negative: behind), and counts now."""
    metrics.UPSTREAM_CLOCK_AHEAD.set(seconds)
    write_line(
        WARNING,
        "upstream_clock_skewed",
        f"The provider's clock and this machine's differ by {seconds:+.0f} s. Calls are signed with the"
        " provider's time; is time synchronization running?",
        seconds=seconds,
    )


def credentials_renewed(seconds: float) -> None:
    """New temporary credentials came, which are good for so many seconds."""
    write_line(
        INFO,
        "credentials_renewed",
        f"New credentials of the provider came, good for {seconds:.0f} s.",
        seconds=round(seconds),
    )


def credentials_not_renewed(reason: str, seconds_left: float, retry_in: float) -> None:
    """Temporary credentials could not be renewed; the old ones are good for `seconds_left` (0: none are)."""
    rest = (
        f"those in use are good for {seconds_left:.0f} s more"
        if seconds_left > 0
        else "there are none to use"
    )
    write_line(
        WARNING if seconds_left > 0 else ERROR,
        "credentials_not_renewed",
        f"The provider's credentials could not be renewed: {reason} Trying again in"
        f" {retry_in:.0f} s; {rest}.",
        seconds_left=round(seconds_left),
        retry_in=round(retry_in),
    )


def provider_event_received(named: int, marked: int) -> None:
    """VOD notified us of an event that names so many jobs; `hinted` of them are waited for and asked next."""
    metrics.PROVIDER_EVENTS.add("hinted" if marked else "ignored")
    level = INFO if marked else DEBUG
    write_line(
        level,
        "hint_received",
        f"VOD notified us of {named} jobs, {marked} of them waited for.",
        named=named,
        marked=marked,
    )


def provider_event_refused() -> None:
    """A notification was refused: its signature is missing, wrong or old. Said once a minute."""
    metrics.PROVIDER_EVENTS.add("refused")
    held_back = _repeats.let_through("hint_refused")
    if held_back is None:
        return
    more = f" ({held_back} more like it since the last such line)" if held_back else ""
    write_line(
        WARNING,
        "hint_refused",
        "A notification was refused: its signature is missing, wrong or old. RELAY_VOD_CALLBACK_URL and"
        f" RELAY_VOD_CALLBACK_KEY must be exactly what is configured at VOD{more}.",
    )


def job_lost(job_id: str) -> None:
    """A claim ran out before it settled: its answer is dropped, and whoever claims next asks anew."""
    write_line(
        WARNING,
        "job_lost",
        f"The claim of job {job_id} ran out before its answer was settled.",
        job_id=job_id,
    )


def poll_given_up(job_ids: Sequence[str]) -> None:
    """Jobs on which pollers died time and again were set aside as failed, not to hold up the others."""
    told = ", ".join(job_ids)
    write_line(
        ERROR, "poll_given_up", f"Gave up on {told}: each poller that asked about it died.", job_ids=told
    )


class AttemptEnded(NamedTuple):
    """One attempt is settled; `outcome` is what its delivery is now, `number` counts from 1."""

    delivery_id: str
    endpoint_id: str
    number: int
    status_code: int | None
    error: ErrorClass | None
    duration: Micros
    outcome: DeliveryStatus
    next_attempt_at: Micros | None


def attempts_ended(attempts: Sequence[AttemptEnded]) -> None:
    """A batch of attempts is settled: one line for each."""
    for error, count in Counter(attempt.error for attempt in attempts).items():
        metrics.ATTEMPTS.add("delivered" if error is None else error.value, count)
    for outcome, count in Counter(attempt.outcome for attempt in attempts).items():
        if outcome not in {DeliveryStatus.PENDING, DeliveryStatus.HELD}:
            metrics.DELIVERIES.add(outcome.value, count)
    for attempt in attempts:
        metrics.ATTEMPT_DURATION.observe(attempt.duration / US_PER_SECOND)
    write_lines([_told(attempt) for attempt in attempts])


def _told(attempt: AttemptEnded) -> Told:
    delivery_id, endpoint_id, number, status_code, error, duration, outcome, next_at = attempt
    came = f"was answered {status_code}" if status_code else f"failed ({error})"
    next_text = rfc3339(next_at) if next_at else None
    sentence = (
        f"Attempt {number} of {delivery_id} {came} in {duration // 1000} ms:"
        f" {f'next at {next_text}' if next_text else outcome.value}."
    )
    fields: dict[str, Field] = {
        "delivery_id": delivery_id,
        "endpoint_id": endpoint_id,
        "number": number,
        "status_code": status_code,
        "error": error,
        "duration_ms": duration // 1000,
        "outcome": outcome,
        "next_attempt_at": next_text,
    }
    return (WARNING if outcome is DeliveryStatus.FAILED else INFO, "attempt_ended", sentence, fields)


def sender_died(why: str, abandoned: int) -> None:
    """The process that sends is gone, and this one ends; `why` is a sentence of our own."""
    rest = f" {abandoned} attempts have no end; they are made again." if abandoned else ""
    write_line(ERROR, "sender_died", f"This dispatcher ends: {why}.{rest}", abandoned=abandoned)


def attempts_lost(count: int) -> None:
    """Attempts whose process died before settling them were recorded as lost; their deliveries go on."""
    metrics.ATTEMPTS.add(ErrorClass.LOST.value, count)
    write_line(
        WARNING,
        "attempts_lost",
        f"{count} attempts had no end: their process died. They are made again, or given up.",
        count=count,
    )


def poison_message_lost(delivery_id: str, why: str) -> None:
    """The sender of a delivery that is sent apart is gone: it alone is lost, and no other."""
    write_line(
        ERROR,
        "suspect_lost",
        f"{delivery_id}, sent by a process of its own as processes died with it before, was lost: {why}.",
        delivery_id=delivery_id,
    )


def deliveries_given_up(ended: Sequence[tuple[str, DeliveryStatus]]) -> None:
    """Deliveries that ended because their attempts were lost: too often, or once and then cancelled."""
    for delivery_id, status in ended:
        metrics.DELIVERIES.add(status.value)
        sentence = (
            f"Gave up on {delivery_id}: each process that sent it died."
            if status is DeliveryStatus.FAILED
            else f"{delivery_id} was cancelled while it was out; the process that sent it died."
        )
        level = ERROR if status is DeliveryStatus.FAILED else INFO
        write_line(level, "delivery_given_up", sentence, delivery_id=delivery_id, outcome=status)


def endpoint_changed(endpoint_id: str, became: str, detail: str) -> None:
    """An endpoint's circuit opened or closed, or it was disabled; `detail` says why, fit for a log."""
    metrics.ENDPOINT_CHANGES.add(became)
    sentence = {
        "open": f"The circuit of {endpoint_id} opened: it is probed now and then ({detail}).",
        "closed": f"The circuit of {endpoint_id} closed: it answers again.",
        "disabled": f"{endpoint_id} was disabled ({detail}): what it is owed is held until it is resumed.",
    }[became]
    level = INFO if became == "closed" else WARNING
    write_line(level, "endpoint_turned", sentence, endpoint_id=endpoint_id, became=became, detail=detail)


# Housekeeping and surprises.


def watches_expired(count: int) -> None:
    """Watches whose time was up before their job ended."""
    write_line(INFO, "watches_expired", f"{count} watches expired.", count=count)


def sent_again(count: int) -> None:
    """Deliveries that an order by hand has made due again."""
    write_line(INFO, "sent_again", f"{count} deliveries were made due again, as ordered.", count=count)


def overdue_failed(count: int, reason: str) -> None:
    """Deliveries that failed because they had waited for too long; `reason` says for what."""
    metrics.DELIVERIES.add(DeliveryStatus.FAILED.value, count)
    write_line(WARNING, "swept", f"{count} deliveries failed: {reason}.", count=count, reason=reason)


def pruned(counts: Mapping[str, int]) -> None:
    """Old records were deleted, so many of each table."""
    told = ", ".join(f"{count} {table}" for table, count in counts.items())
    write_line(INFO, "pruned", f"Pruned {told}.", **counts)


def clock_disagrees(seconds: float) -> None:
    """This machine's clock is `seconds` ahead of the database's (negative: behind)."""
    metrics.CLOCK_AHEAD.set(seconds)
    write_line(
        WARNING,
        "clock_disagrees",
        f"This machine's clock and the database's differ by {seconds:+.1f} s. The database's counts;"
        " is time synchronization running?",
        seconds=seconds,
    )


def request_failed(error: BaseException) -> None:
    """A request raised what nobody expected; the caller was answered 500."""
    kind = type(error).__name__
    sentence = f"A request failed unexpectedly with {kind}; it was answered 500."
    write_line(ERROR, "request_failed", sentence, error=kind, trace=whereabouts(error))


def request_refused(status: int, error: BaseException) -> None:
    """A request was malformed as HTTP. Its text may quote it, so its class is said, once a minute."""
    kind = type(error).__name__
    held_back = _repeats.let_through("request_refused", kind)
    if held_back is None:
        return
    more = f" ({held_back} more like it since the last such line)" if held_back else ""
    sentence = f"A malformed request was answered {status} ({kind}){more}."
    write_line(INFO, "request_refused", sentence, status=status, error=kind)


def iteration_failed(stage: str, error: BaseException, retry_in: float) -> None:
    """A pass raised what nobody expected; it is tried again after `retry_in` seconds.

    Said with classes and places only, as texts of errors may hold secrets, and once a minute for
    each kind.
    """
    kind = type(error).__name__
    held_back = _repeats.let_through(stage, kind)
    if held_back is None:
        return
    more = f" ({held_back} more like it since the last such line)" if held_back else ""
    write_line(
        ERROR,
        "pass_failed",
        f"{stage} failed unexpectedly with {kind}; trying again in {retry_in:g} s{more}.",
        stage=stage,
        error=kind,
        retry_in=retry_in,
        trace=whereabouts(error),
    )
