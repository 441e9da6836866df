"""Classifies the errors of attempts by libcurl's codes and the receiver's status, in a sentence.

The sentences are for the people who run the receiver. They hold no path, query, header or body, and
never libcurl's or OpenSSL's own text, which may hold some.
"""

import errno
from dataclasses import dataclass

import pycurl

from relay.common.states import ErrorClass


@dataclass(frozen=True, slots=True)
class AttemptError:
    """Why an attempt failed: its class, and a sentence without a secret."""

    error: ErrorClass
    detail: str


def of_status(status: int) -> AttemptError | None:
    """Classify an answer whose headers came whole; None is success."""
    if 200 <= status <= 299:
        return None
    if 300 <= status <= 399:
        return AttemptError(
            ErrorClass.REDIRECT,
            f"the receiver answered {status}; redirects are never followed: register the URL it leads to",
        )
    return AttemptError(
        _STATUS_CLASSES.get(status // 100, ErrorClass.HTTP_OTHER), f"the receiver answered {status:03}"
    )


_STATUS_CLASSES = {1: ErrorClass.HTTP_1XX, 4: ErrorClass.HTTP_4XX, 5: ErrorClass.HTTP_5XX}


def of_failure(
    code: int,
    message: str,
    *,
    verify_result: int,
    os_error: int,
    connected: bool,
    deadline: float,
    connect_timeout: float,
) -> AttemptError:
    """Classify a transfer that failed before the headers came whole.

    `code` and `message` are libcurl's; `verify_result` is OpenSSL's X509_V_… code, `os_error` the
    last errno. `deadline` and `connect_timeout` are in seconds.
    """
    if code == pycurl.E_OPERATION_TIMEDOUT:
        late = f"the answer's headers had not come whole within {deadline:g} s"
        unconnected = f"no connection could be made within {min(connect_timeout, deadline):g} s"
        return AttemptError(ErrorClass.TIMEOUT, late if connected else unconnected)
    if code == pycurl.E_PEER_FAILED_VERIFICATION:
        return AttemptError(ErrorClass.TLS, _CERTIFICATES.get(verify_result, _UNTRUSTED))
    if code in _TLS_CODES:
        return AttemptError(ErrorClass.TLS, _handshake(message))
    if code == pycurl.E_COULDNT_CONNECT:
        return of_os_error(os_error)
    if code in _BROKEN_CODES and "large" not in message:
        return AttemptError(ErrorClass.CONNECT, _BROKEN)
    return _by_code(code, connected=connected)


def code_of_end(code: int, message: str, *, begun: bool) -> int:
    """Give the end of TLS without close_notify the code that plain HTTP would have there.

    Many receivers leave close_notify out, and all whose process dies; libcurl calls it a failure to
    receive. `begun` says whether the status of a final answer had come.
    """
    if code != pycurl.E_RECV_ERROR or "unexpected eof" not in message:
        return code
    return int(pycurl.E_OK if begun else pycurl.E_GOT_NOTHING)


def of_os_error(code: int | None) -> AttemptError:
    """Classify an errno that kept a connection from being made."""
    return AttemptError(ErrorClass.CONNECT, _CONNECT.get(code or 0, "the receiver could not be reached"))


def _by_code(code: int, *, connected: bool) -> AttemptError:
    """Call an error the receiver's only where it is known to be; all others are internal."""
    if code in _PROTOCOL and (connected or code != pycurl.E_ABORTED_BY_CALLBACK):
        return AttemptError(ErrorClass.PROTOCOL, _PROTOCOL[code])
    unknown = f"the relay's sender failed (libcurl's code {code})"
    return AttemptError(ErrorClass.INTERNAL, _INTERNAL.get(code, unknown))


def _handshake(message: str) -> str:
    lowered = message.lower()
    if "wrong version number" in lowered or "packet length" in lowered or "http request" in lowered:
        return "the receiver does not speak TLS on this port; is the URL's scheme or port wrong?"
    if "protocol version" in lowered or "unsupported protocol" in lowered:
        return "the receiver's TLS is too old: TLS 1.2 or newer is needed"
    if "eof" in lowered or "reset" in lowered or "syscall" in lowered:
        return "the receiver broke the connection off during the TLS handshake"
    return "the TLS handshake failed: the receiver and the relay agreed on no way to encrypt"


_TLS_CODES = frozenset({pycurl.E_SSL_CONNECT_ERROR, pycurl.E_SSL_CIPHER, pycurl.E_SSL_ENGINE_INITFAILED})
_BROKEN = "the connection broke before the answer's headers had come whole"
_BROKEN_CODES = frozenset({pycurl.E_RECV_ERROR, pycurl.E_SEND_ERROR, pycurl.E_AGAIN})

_UNTRUSTED = "the receiver's certificate is not signed by an authority that the relay trusts"
_SELF_SIGNED = (
    "the receiver's certificate is self-signed; add its authority to RELAY_CALLBACK_CA_FILE to trust it"
)
_CHAIN = f"{_UNTRUSTED}, or it does not send its intermediate certificates"

_OTHER_NAME = "the receiver's certificate is for another host name"

# OpenSSL's X509_V_ERR_… codes (x509_vfy.h). With 0, ok, or 1, not said, OpenSSL had nothing against
# the chain: then it was libcurl's own check of the name that failed.
_CERTIFICATES = {
    0: _OTHER_NAME,
    1: _OTHER_NAME,
    9: "the receiver's certificate is not valid yet",
    10: "the receiver's certificate has expired",
    18: _SELF_SIGNED,
    19: _SELF_SIGNED,
    20: _CHAIN,
    21: _CHAIN,
    23: "the receiver's certificate was revoked",
}

_CONNECT = {
    errno.ECONNREFUSED: "the receiver refused the connection: nothing listens on that port",
    errno.EHOSTUNREACH: "no route leads to the receiver's host",
    errno.ENETUNREACH: "no route leads to the receiver's network",
    errno.ECONNRESET: "the receiver reset the connection while it was made",
    errno.EMFILE: "the relay has too many files open; raise the limit or lower RELAY_MAX_IN_FLIGHT",
}

_NOT_HTTP = "the receiver's answer is not HTTP/1.1 that can be read"
_CUT = "the receiver closed the connection before the answer's headers had come whole"
_TOO_LARGE = "the answer's headers are too large"
_PROTOCOL = {
    pycurl.E_OK: _CUT,  # it ended well before its headers had come whole
    pycurl.E_UNSUPPORTED_PROTOCOL: _NOT_HTTP,  # HTTP/0.9, or a version that is none
    pycurl.E_FTP_WEIRD_SERVER_REPLY: _NOT_HTTP,  # of any protocol, despite its name
    pycurl.E_HTTP2: _NOT_HTTP,
    pycurl.E_PARTIAL_FILE: _NOT_HTTP,
    pycurl.E_BAD_CONTENT_ENCODING: _NOT_HTTP,
    pycurl.E_FILESIZE_EXCEEDED: _NOT_HTTP,  # a Content-Length that no number holds
    92: _NOT_HTTP,  # CURLE_HTTP2_STREAM, which pycurl has no name for
    pycurl.E_GOT_NOTHING: "the receiver closed the connection without an answer",
    pycurl.E_ABORTED_BY_CALLBACK: "the receiver closed the connection without an answer, twice",
    pycurl.E_RECV_ERROR: _TOO_LARGE,
    100: _TOO_LARGE,  # CURLE_TOO_LARGE, which pycurl has no name for
}

# A code in no list is a fault of the relay: no memory, an option that libcurl was built without.
_INTERNAL = {
    pycurl.E_ABORTED_BY_CALLBACK: "the relay's sender did not know the host's addresses any more",
    pycurl.E_SSL_CACERT_BADFILE: (
        "the relay could not read the authorities that it trusts;"
        " is what RELAY_CALLBACK_CA_FILE names PEM, and still there?"
    ),
}
