"""The watches of the demo: how each must end, and the check that it did."""

from collections.abc import Sequence
from dataclasses import dataclass

from relay.common.states import DeliveryStatus, WatchStatus
from relay.sandbox.receiver import Received

FOREVER = 3600  # seconds of a job that does not end during the demo
HOME, OTHER, FLAKY = "/hooks/videos", "/hooks/search", "/hooks/flaky"
SUCCESS, FAIL = WatchStatus.SUCCESS, WatchStatus.FAIL


@dataclass(frozen=True, slots=True)
class Case:
    """One watch: how it is registered, on which job, how it must end and where its webhook goes.

    `attempts` counts the POSTs that the webhook must take; 0: there must be no webhook.
    """

    way: str
    job_id: str
    ends: WatchStatus
    path: str = HOME
    attempts: int = 1

    @property
    def job_type(self) -> str:
        """The provider's name of the type in the job's id; "-" for a job that never existed."""
        return {"tag": "AIVideoTag", "dna": "AIMediaDNA"}.get(self.job_id.split("-")[1], "-")


def single_cases(mark: str) -> list[Case]:
    """Watches to register one by one; the sandbox reads from the ids what their jobs do."""
    shared = f"sandbox-dna-success-4s-{mark}-shared"
    return [
        Case("single", f"sandbox-tag-success-1s-{mark}", SUCCESS),
        Case("single", f"sandbox-dna-success-3s-{mark}", SUCCESS),
        Case("single", f"sandbox-tag-fail-2s-{mark}", FAIL),
        Case("single", f"sandbox-dna-fail-4s-{mark}", FAIL),
        Case("same job", shared, SUCCESS),
        Case("same job", shared, SUCCESS, path=OTHER),
        Case("500 first", f"sandbox-tag-success-2s-{mark}-flaky", SUCCESS, path=FLAKY, attempts=2),
        Case("unknown", f"nobody-knows-{mark}", WatchStatus.MISSING),
    ]


def batch_cases(mark: str) -> list[Case]:
    """Watches to register at once."""
    return [
        Case("batch", f"sandbox-{kind}-{end}-{seconds}s-{mark}-batch", end, path=OTHER)
        for kind in ("tag", "dna")
        for end, seconds in ((SUCCESS, 1), (SUCCESS, 3), (SUCCESS, 5), (SUCCESS, 7), (FAIL, 2), (FAIL, 6))
    ]


@dataclass(frozen=True, slots=True)
class Result:
    """How one watch ended: by the API, and by the POSTs that the receiver took."""

    case: Case
    status: str
    delivery_ids: frozenset[str]
    delivery_statuses: tuple[str, ...]
    attempts: int
    posts: Sequence[Received]

    @property
    def is_final(self) -> bool:
        """Whether neither the watch nor its delivery will change any more."""
        return self.status != WatchStatus.WAITING and DeliveryStatus.PENDING not in self.delivery_statuses

    @property
    def signature(self) -> str:
        """Whether the receiver verified all POSTs of this webhook."""
        if not self.posts:
            return "-"
        return "verified" if all(post.problem is None for post in self.posts) else "FAILED"

    def problem(self) -> str | None:
        """Every difference from the expected end, in words; None if there is none."""
        case, has_webhook = self.case, self.case.attempts > 0
        wrong = [
            f"{what} should be {should} and is {found}"
            for what, should, found in (
                ("the outcome", case.ends, self.status),
                ("the delivery", (DeliveryStatus.DELIVERED,) * has_webhook, self.delivery_statuses),
                ("the number of attempts", case.attempts, self.attempts),
                ("the number of POSTs that came", case.attempts, len(self.posts)),
                ("the signature", "verified" if has_webhook else "-", self.signature),
                ("the webhook-id", self.delivery_ids, {post.id for post in self.posts}),
            )
            if found != should
        ]
        return f"{case.way}, {case.job_id}: {'; '.join(wrong)}" if wrong else None
