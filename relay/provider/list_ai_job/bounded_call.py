"""One HTTP call, bounded as a whole: in time, in bytes, in hops.

`requests` bounds each read, not the call, so a peer that drips a byte now and then would hold it
for ever. Hence each call runs on a thread of its own; when its time is up it is abandoned and its
connection is cut, which ends the thread too. (A name lookup can't be cut: such a thread ends with
the system's own time-out, and finds its session cut.)
"""

from concurrent.futures import Future
from threading import Thread

import requests
from urllib3.exceptions import NameResolutionError

from relay.provider.list_ai_job.session import CancellableSession, Request, Response


def fetch(
    session: CancellableSession, request: Request, *, seconds: float, max_bytes: int, thread_name: str
) -> Response:
    """Do a call in a session, which is cut where the call fails.

    Raises `TimeoutError` when `seconds` are over, or what `requests` raised (`what_failed` puts it
    in words).
    """
    result: Future[Response] = Future()

    def work() -> None:
        try:
            result.set_result(session.fetch(request, seconds=seconds, max_bytes=max_bytes))
        except BaseException as error:  # noqa: BLE001 - it is raised where the result is waited for
            result.set_exception(error)

    Thread(target=work, name=thread_name, daemon=True).start()
    try:
        return result.result(seconds)
    except BaseException:
        session.cut()
        raise


def what_failed(error: requests.RequestException) -> str:
    """Say what went wrong, without the exception's text: it holds the URL with its signature."""
    causes: list[BaseException | None] = [error]
    while (cause := causes[-1]) is not None:
        causes.append(cause.__context__)
    if any(isinstance(cause, NameResolutionError) for cause in causes):
        return "could not be resolved"
    match error:
        case requests.exceptions.SSLError():
            return "failed the TLS handshake"
        case requests.Timeout():
            return "did not answer in time"
        case requests.exceptions.ChunkedEncodingError() | requests.exceptions.ContentDecodingError():
            return "broke off its answer or sent it garbled"
        case requests.ConnectionError():
            return "refused or closed the connection"
        case _:
            return f"could not be asked ({type(error).__name__})"
