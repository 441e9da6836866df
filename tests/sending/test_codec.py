"""What crosses the socket pair arrives as it left, and is nothing but plain values."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.common.states import ErrorClass
from relay.sending import codec
from relay.sending.rules.outbound import OutboundRequest, Reply
from relay.sending.rules.webhook import Ended, Message, Notice

texts, numbers = st.text(max_size=40), st.integers(0, 2**62)
maybe = st.none() | texts
endings = st.builds(
    Ended,
    texts,
    numbers,
    texts,
    texts,
    texts,
    texts,
    *[maybe] * 7,
    st.booleans() | st.integers(0, 1),
    numbers,
)
messages: st.SearchStrategy[Message] = endings | st.builds(Notice, texts, numbers, texts)
keys = st.lists(st.binary(max_size=64), max_size=3).map(tuple)
headers = st.lists(st.tuples(texts, texts), max_size=3).map(tuple)
outbound_requests = st.builds(
    OutboundRequest, texts, texts, texts, numbers, messages, keys, headers, texts, st.floats(allow_nan=False)
)
errors = st.none() | st.sampled_from(ErrorClass)
replies = st.builds(
    Reply, texts, st.none() | st.integers(100, 999), errors, maybe, st.binary(), numbers, maybe
)


@given(st.lists(outbound_requests, max_size=5))
def test_requests_arrive_as_they_left(sent: list[OutboundRequest]) -> None:
    received = codec.requests_in(codec.requests_out(sent))
    assert received == sent
    assert [type(request.message) for request in received] == [type(request.message) for request in sent]


@given(st.lists(replies, max_size=5))
def test_replies_arrive_as_they_left(sent: list[Reply]) -> None:
    received = codec.replies_in(codec.replies_out(sent))
    assert received == sent
    assert [type(reply.error) for reply in received] == [type(reply.error) for reply in sent]


@given(st.binary(max_size=60))
def test_no_other_bytes_are_taken_for_replies(sent: bytes) -> None:
    try:
        received = codec.replies_in(sent)
    except ValueError:
        return
    assert all(isinstance(reply, Reply) for reply in received)


def test_a_request_of_more_than_plain_values_is_refused() -> None:
    notice = Notice(ErrorClass.DNS, 0, "{}")  # a member of an enumeration is text, but more than that
    sent = OutboundRequest("k", "http://a/", "msg_1", 1, notice, (), (), "relay", 1.0)
    with pytest.raises(ValueError, match="unmarshallable"):
        codec.requests_out([sent])
