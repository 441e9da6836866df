"""What `./dev demo` does: runs a whole relay for under a minute, and checks every outcome.

It registers watches that end in every way there is, prints each step as it happens, and then a
table. Everything lives in a folder that is removed at the end; it stays, for its logs, if a check
failed.
"""

import os
import secrets
import shutil
import signal
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from contextlib import closing, suppress
from json import loads
from pathlib import Path

from relay.common import events
from relay.common.errors import RelayError
from relay.common.ids import RANDOM_BYTES, make_id
from relay.common.states import WatchStatus
from relay.common.texts import printable
from relay.db.clock import Clock
from relay.db.engine import Store
from relay.provider.list_ai_job.declaration import LIST_AI_JOB
from relay.sandbox.demo_cases import FLAKY, FOREVER, Case, Result, batch_cases, single_cases
from relay.sandbox.processes import Screen
from relay.sandbox.receiver import Answer, Received, verified
from relay.sandbox.stack import CHECK_EVERY, Api, RelayStack, running_stack
from relay.watches.registration import WatchRequest, register

DONE_WITHIN = 45.0  # seconds from the last watch to the last webhook; about 17 on an idle machine
TAIL = 10  # lines of each log that are printed if a check failed
SHORT = 15  # seconds of the watch that is to expire: after its last poll, before anybody gets bored


def main() -> int:
    """Run the demo; 0 if everything was as it should be, 1 if not, 130 if interrupted."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    folder = Path(tempfile.mkdtemp(prefix="relay-demo-"))
    printer = Printer()
    try:
        problems = play(folder, printer)
    except KeyboardInterrupt:
        shutil.rmtree(folder)
        printer.say("Interrupted; everything is stopped and cleaned up.")
        return 130
    except RelayError as error:
        problems = [str(error)]
    if problems:
        print_problems(printer, problems, folder)
        return 1
    shutil.rmtree(folder)
    printer.say("Everything ended as it should and every webhook verified. All is stopped and cleaned up.")
    return 0


class Printer:
    """Prints what happens, from any thread."""

    def __init__(self) -> None:
        self._start = time.monotonic()
        self._screen = Screen()

    def say(self, line: str) -> None:
        """Print what happens now, after the seconds since the start."""
        self.line(f"{time.monotonic() - self._start:5.1f} s  {line}")

    def line(self, line: str = "") -> None:
        """Print a line without a time."""
        self._screen.show(printable(line))

    def answer(self, received: Received) -> Answer:
        """Answer 500 to the first POST of the flaky endpoint, verify all others; print it."""
        answer = Answer(500) if received.path == FLAKY and received.repeats == 0 else verified(received)
        webhook = loads(received.body)
        self.say(f"<- {received.id}  {webhook['type']}: {webhook['data']['job']['job_id']}")
        self.say(f"   {received.problem or 'signature verified'}, answered {answer.status}")
        return answer


def play(folder: Path, printer: Printer) -> list[str]:
    """Start a relay, register watches, wait for their ends; returns the problems."""
    printer.say("Starting a sandbox in the provider's place, web, poller, dispatcher and a receiver.")
    with running_stack(folder, answer=printer.answer) as stack:
        printer.say(f"They are up: the API at {stack.base}/v1, the receiver at {stack.receiver.url}.")
        api = Api(stack.base, stack.subscriber["api_key"])
        watches = register_all(stack, api, printer)
        printer.say("Every watch is registered. Now the poller asks, and webhooks come as jobs end.")
        results = wait_for_the_end(stack, api, watches)
        calls = Api(stack.sandbox_url)("GET", "/sandbox/calls")["calls"]
        print_table(printer, results)
        jobs = len({case.job_id for case in watches.values()})
        printer.say(f"{len(watches)} watches on {jobs} jobs took {calls} calls of ListAIJob. Stopping.")
    return [problem for result in results if (problem := result.problem())]


# The watches.


def register_all(stack: RelayStack, api: Api, printer: Printer) -> dict[str, Case]:
    """Register every watch; returns them by id."""
    mark = secrets.token_hex(3)
    watches = {}
    for case in single_cases(mark):
        watch_id = api("POST", "/v1/watches", body_of(case, stack))["id"]
        watches[watch_id] = case
        printer.say(f"-> {watch_id}  {case.way}: {case.job_id}")
    batch = batch_cases(mark)
    bodies = [body_of(case, stack) for case in batch]
    created = api("POST", "/v1/watches/batch", {"watches": bodies})["data"]
    watches |= {watch["id"]: case for watch, case in zip(created, batch, strict=True)}
    printer.say(f"-> {len(created)} watches in one batch, {created[0]['id']} to {created[-1]['id']}")
    expiring = Case("expiring", f"sandbox-tag-success-{FOREVER}s-{mark}-expiring", WatchStatus.EXPIRED)
    watches[register_below_the_api(stack, expiring)] = expiring
    printer.say(
        f"-> a watch that expires after {SHORT} s; the API takes no less than 60 s, so this one is put"
    )
    printer.say("   into the database by the same code below the API")
    job_id = f"sandbox-dna-success-{FOREVER}s-{mark}-cancelled"
    cancelled = Case("cancelled", job_id, WatchStatus.CANCELLED, attempts=0)
    watch_id = api("POST", "/v1/watches", body_of(cancelled, stack))["id"]
    api("DELETE", f"/v1/watches/{watch_id}")
    printer.say(f"-> {watch_id}  registered and cancelled: no webhook may come")
    return watches | {watch_id: cancelled}


def body_of(case: Case, stack: RelayStack) -> dict[str, object]:
    """The body that registers this watch over HTTP."""
    return {
        "job_id": case.job_id,
        "callback_url": f"{stack.receiver.url}{case.path}",
        "metadata": {"way": case.way},
    }


def register_below_the_api(stack: RelayStack, case: Case) -> str:
    """Register with a timeout that the API refuses; returns the watch's id."""
    request = WatchRequest(
        job_id=case.job_id,
        endpoint_id=None,
        endpoint_url=f"{stack.receiver.url}{case.path}",
        query=None,
        events=events.join(LIST_AI_JOB.default_events),
        metadata="{}",
        timeout=SHORT,
    )
    with closing(Store(stack.database_url)) as store:
        now = Clock(store).now()
        registered = store.write(
            register,
            stack.subscriber["id"],
            [request],
            now,
            lambda prefix: make_id(prefix, now, os.urandom(RANDOM_BYTES)),
        )
    return registered[0].watch_id


# Their ends.


def wait_for_the_end(stack: RelayStack, api: Api, watches: dict[str, Case]) -> list[Result]:
    """Wait for the webhooks, then for the final states of all watches, or until time is up."""
    give_up_at = time.monotonic() + DONE_WITHIN
    with suppress(TimeoutError):  # the table shows better which webhooks did not come
        stack.receiver.wait_for(sum(case.attempts for case in watches.values()), DONE_WITHIN)
    while True:
        posts = posts_by_watch(stack.receiver.received)
        results = [result_of(api, case, watch_id, posts[watch_id]) for watch_id, case in watches.items()]
        if all(result.is_final for result in results) or time.monotonic() > give_up_at:
            return results
        time.sleep(CHECK_EVERY)


def result_of(api: Api, case: Case, watch_id: str, posts: Sequence[Received]) -> Result:
    """Ask the API for a watch and its deliveries."""
    watch = api("GET", f"/v1/watches/{watch_id}")
    deliveries = [api("GET", f"/v1/deliveries/{delivery_id}") for delivery_id in watch["delivery_ids"]]
    return Result(
        case=case,
        status=watch["status"],
        delivery_ids=frozenset(watch["delivery_ids"]),
        delivery_statuses=tuple(delivery["status"] for delivery in deliveries),
        attempts=sum(delivery["attempt_count"] for delivery in deliveries),
        posts=posts,
    )


def posts_by_watch(received: Sequence[Received]) -> defaultdict[str, list[Received]]:
    """The POSTs by the watch that each names."""
    posts = defaultdict(list)
    for post in received:
        posts[str(loads(post.body)["data"]["watch_id"])].append(post)
    return posts


COLUMNS = "{:<10} {:<11} {:<10} {:<10} {:<37} {:>8}  {}"


def print_table(printer: Printer, results: Sequence[Result]) -> None:
    """Print a line for each watch, with a mark at those that went wrong."""
    printer.line()
    printer.line(
        COLUMNS.format("watch", "job type", "expected", "outcome", "webhook id", "attempts", "signature")
    )
    for result in results:
        case = result.case
        webhook_id = ", ".join(sorted(result.delivery_ids)) or "-"
        line = COLUMNS.format(
            case.way, case.job_type, case.ends, result.status, webhook_id, result.attempts, result.signature
        )
        printer.line(f"{line}  <- WRONG" if result.problem() else line)
    printer.line()


def print_problems(printer: Printer, problems: Sequence[str], folder: Path) -> None:
    """Print the last lines of each log, the problems, and where the logs are."""
    for log in sorted(folder.glob("*.log")):
        printer.line(f"--- the end of {log.name}")
        for line in log.read_text(encoding="utf-8", errors="replace").splitlines()[-TAIL:]:
            printer.line(line)
    printer.line()
    for problem in problems:
        printer.say(f"WRONG: {problem}")
    printer.say(f"The logs and the database stay in {folder}.")
