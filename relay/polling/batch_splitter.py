"""Asks a source about a batch of jobs, and splits a batch that the source refuses for its ids."""

from collections.abc import Callable, Sequence

from relay.polling.rules.outcomes import report_of_refused
from relay.provider.source import Answer, Answered, JobReport, Outcome, RefusalKind, Refused

Ask = Callable[[Sequence[str]], Outcome]


class BatchSplitter:
    """Asks; `wait_for_call` takes another call of the rate limiter for a part of a batch."""

    def __init__(self, ask: Ask, wait_for_call: Callable[[], None]) -> None:
        self._ask = ask
        self._wait_for_call = wait_for_call
        self._has_answered = False  # since this process started

    def ask(self, job_ids: Sequence[str]) -> Outcome:
        """Ask; where ids poison the batch, split it until they are found.

        A source that has answered nothing yet and refuses each of several ids alike refuses the
        call, not the ids: a wrong setting must end no job. Once it has answered, it is the ids.
        """
        outcome = self._ask(job_ids)
        if not (isinstance(outcome, Refused) and outcome.kind is RefusalKind.BAD_IDS):
            self._has_answered |= isinstance(outcome, Answered)
            return outcome
        parts = self._split(job_ids, outcome)
        if self._has_answered or len(job_ids) == 1 or not isinstance(parts, Answered):
            return parts
        codes = [report.code for report in parts.answer.reports.values()]
        return outcome if codes == [outcome.code] * len(job_ids) else parts

    def _split(self, job_ids: Sequence[str], refused: Refused) -> Outcome:
        """Answers for the good ids of a refused batch, the refusal as the end of the bad ones."""
        if len(job_ids) == 1:
            report = report_of_refused(job_ids[0], refused)
            return Answered(Answer({job_ids[0]: report}, frozenset(), None), 0)
        middle = len(job_ids) // 2
        reports: dict[str, JobReport] = {}
        missing: frozenset[str] = frozenset()
        for half in (job_ids[:middle], job_ids[middle:]):
            self._wait_for_call()
            part = self._ask(half)
            if isinstance(part, Refused) and part.kind is RefusalKind.BAD_IDS:
                part = self._split(half, part)
            elif isinstance(part, Answered):
                self._has_answered = True
            if not isinstance(part, Answered):
                return part
            reports |= part.answer.reports
            missing |= part.answer.missing
        return Answered(Answer(reports, missing, None), 0)
