"""What `./dev demo` does: the whole relay at work on one machine in under a minute, and a verdict on it.

Watches that end in every way there is, each step said as it happens, then a table of what became of
each. Everything lives in a folder that is removed at the end; it stays, for its logs, if something
went wrong.
"""

import os
import secrets
import shutil
import signal
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
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
from relay.sandbox.stack import LOOK_EVERY, Api, RelayStack
from relay.watches.registration import WatchRequest, register

DONE_WITHIN = 45.0  # seconds from the last watch to the last settled webhook; about 17 on a machine at rest
TAIL = 10  # lines of each log that are shown when something went wrong
SHORT = 15  # seconds of the watch that is to expire: after its last look, and before anybody gets bored


def main() -> int:
    """Play it; 0 if all ended as it should and every webhook verified, 1 if not, 130 if interrupted."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    folder = Path(tempfile.mkdtemp(prefix="relay-demo-"))
    tell = Teller()
    try:
        problems = play(folder, tell)
    except KeyboardInterrupt:
        shutil.rmtree(folder)
        tell("Interrupted; everything is stopped and cleaned up.")
        return 130
    except RelayError as error:
        problems = [str(error)]
    if problems:
        complain(tell, problems, folder)
        return 1
    shutil.rmtree(folder)
    tell("Everything ended as it should and every webhook verified. All is stopped and cleaned up.")
    return 0


class Teller:
    """Says what happens, with the seconds since the start, from any thread."""

    def __init__(self) -> None:
        self._start = time.monotonic()
        self._screen = Screen()

    def __call__(self, line: str) -> None:
        """Say what happens now."""
        self._screen.show(printable(f"{time.monotonic() - self._start:5.1f} s  {line}"))

    def plain(self, line: str = "") -> None:
        """Say a line that belongs to no moment."""
        self._screen.show(printable(line))

    def answer(self, received: Received) -> Answer:
        """Answer the first POST to the flaky endpoint 500, verify all others, and say so."""
        answer = Answer(500) if received.path == FLAKY and received.repeats == 0 else verified(received)
        webhook = loads(received.body)
        verdict = received.problem or "signature verified"
        self(f"<- {received.id}  {webhook['type']}: {webhook['data']['job']['job_id']}")
        self(f"   {verdict}, answered {answer.status}")
        return answer


def play(folder: Path, tell: Teller) -> list[str]:
    """Set the stage, register, wait, judge; returns what is not as it should be."""
    tell("Starting a sandbox in the provider's place, web, poller, dispatcher and a receiver.")
    with RelayStack(folder, answer=tell.answer) as stage:
        tell(f"They are up: the API at {stage.base}/v1, the receiver at {stage.receiver.url}.")
        api = Api(stage.base, stage.subscriber["api_key"])
        watches = register_all(stage, api, tell)
        tell("Every watch is registered. Now the poller asks, and webhooks come as jobs end.")
        results = wait_for_the_end(stage, api, watches)
        asked = Api(stage.sandbox_url)("GET", "/sandbox/calls")
        show_table(tell, results)
        jobs = len({case.job_id for case in watches.values()})
        tell(f"{len(watches)} watches on {jobs} jobs took {asked['calls']} calls of ListAIJob. Stopping.")
    return [problem for result in results if (problem := result.problem())]


# The watches.


def register_all(stage: RelayStack, api: Api, tell: Teller) -> dict[str, Case]:
    """Register every watch; returns them by id."""
    mark = secrets.token_hex(3)
    watches = {}
    for case in single_cases(mark):
        watch_id = api("POST", "/v1/watches", body_of(case, stage))["id"]
        watches[watch_id] = case
        tell(f"-> {watch_id}  {case.way}: {case.job_id}")
    batch = batch_cases(mark)
    made = api("POST", "/v1/watches/batch", {"watches": [body_of(case, stage) for case in batch]})["data"]
    watches |= {watch["id"]: case for watch, case in zip(made, batch, strict=True)}
    tell(f"-> {len(made)} watches in one batch, {made[0]['id']} to {made[-1]['id']}")
    expiring = Case("expiring", f"sandbox-tag-success-{FOREVER}s-{mark}-expiring", WatchStatus.EXPIRED)
    watches[register_below_the_api(stage, expiring)] = expiring
    tell(f"-> a watch that expires after {SHORT} s; the API takes no less than 60 s, so this one is put into")
    tell("   the database by the same code below the API")
    return watches | cancelled(stage, api, tell, mark)


def body_of(case: Case, stage: RelayStack) -> dict[str, object]:
    """The body that registers this watch over HTTP."""
    return {
        "job_id": case.job_id,
        "callback_url": f"{stage.receiver.url}{case.path}",
        "metadata": {"way": case.way},
    }


def cancelled(stage: RelayStack, api: Api, tell: Teller, mark: str) -> dict[str, Case]:
    """Register one more watch and cancel it."""
    job_id = f"sandbox-dna-success-{FOREVER}s-{mark}-cancelled"
    case = Case("cancelled", job_id, WatchStatus.CANCELLED, attempts=0)
    watch_id = api("POST", "/v1/watches", body_of(case, stage))["id"]
    api("DELETE", f"/v1/watches/{watch_id}")
    tell(f"-> {watch_id}  registered and cancelled: no webhook may come")
    return {watch_id: case}


def register_below_the_api(stage: RelayStack, case: Case) -> str:
    """Register with a timeout that the API refuses, as its own code does; returns the watch's id."""
    request = WatchRequest(
        job_id=case.job_id,
        endpoint_id=None,
        endpoint_url=f"{stage.receiver.url}{case.path}",
        query=None,
        events=events.join(LIST_AI_JOB.default_events),
        metadata="{}",
        timeout=SHORT,
    )
    store = Store(stage.database_url)
    clock = Clock(store)

    def new_id(prefix: str) -> str:
        return make_id(prefix, clock.now(), os.urandom(RANDOM_BYTES))

    try:
        made = store.write(register, stage.subscriber["id"], [request], clock.now(), new_id)
    finally:
        store.close()
    return made[0].watch_id


# What became of them.


def wait_for_the_end(stage: RelayStack, api: Api, watches: dict[str, Case]) -> list[Result]:
    """Wait for the webhooks, then until the API calls every watch and delivery settled, or time is up."""
    due = time.monotonic() + DONE_WITHIN
    with suppress(TimeoutError):  # the table says better what did not come
        stage.receiver.wait_for(sum(case.attempts for case in watches.values()), DONE_WITHIN)
    while True:
        posts = posts_by_watch(stage.receiver.received)
        results = [result_of(api, case, watch_id, posts[watch_id]) for watch_id, case in watches.items()]
        if all(result.is_settled for result in results) or time.monotonic() > due:
            return results
        time.sleep(LOOK_EVERY)


def result_of(api: Api, case: Case, watch_id: str, posts: Sequence[Received]) -> Result:
    """Ask the API what became of a watch."""
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
    """The POSTs by the watch that each says it is for."""
    posts = defaultdict(list)
    for one in received:
        posts[str(loads(one.body)["data"]["watch_id"])].append(one)
    return posts


COLUMNS = "{:<10} {:<11} {:<10} {:<10} {:<37} {:>8}  {}"


def show_table(tell: Teller, results: Sequence[Result]) -> None:
    """A line for each watch, with a mark at those that went wrong."""
    tell.plain()
    tell.plain(
        COLUMNS.format("watch", "job type", "expected", "outcome", "webhook id", "attempts", "signature")
    )
    for result in results:
        case = result.case
        webhook_id = ", ".join(sorted(result.delivery_ids)) or "-"
        line = COLUMNS.format(
            case.way, case.job_type, case.ends, result.status, webhook_id, result.attempts, result.signature
        )
        tell.plain(f"{line}  <- WRONG" if result.problem() else line)
    tell.plain()


def complain(tell: Teller, problems: Sequence[str], folder: Path) -> None:
    """Say what went wrong, the last lines of each log, and where the rest is."""
    for log in sorted(folder.glob("*.log")):
        tell.plain(f"--- the end of {log.name}")
        for line in log.read_text(encoding="utf-8", errors="replace").splitlines()[-TAIL:]:
            tell.plain(line)
    tell.plain()
    for problem in problems:
        tell(f"WRONG: {problem}")
    tell(f"The logs and the database stay in {folder}.")
