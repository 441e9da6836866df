"""Parts of signed requests: the provider's examples, and strategies for any other."""

from datetime import datetime
from typing import Any

from hypothesis import strategies as st

from relay.common.time import US_PER_SECOND, Micros
from relay.provider.list_ai_job.rules.signing import Credentials

VOD = "vod.cn-shanghai.aliyuncs.com"
V3_NONCE = "3156853299f313e23d1673dc12e1703d"


def micros(text: str) -> Micros:
    return int(datetime.fromisoformat(text).timestamp()) * US_PER_SECOND


NOON = micros("2021-07-20T10:12:44Z")

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
names = st.from_regex(r"[A-Za-z][A-Za-z0-9._-]{0,20}", fullmatch=True)
tokens = st.from_regex(r"[!-~]{1,40}", fullmatch=True)
times = st.integers(0, micros("2100-01-01T00:00:00Z"))
bodies = st.binary(max_size=40)
signer_arguments: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(  # of both signatures
    {
        "method": st.sampled_from(["GET", "POST"]),
        "action": st.just("ListAIJob"),
        "version": st.just("2017-03-21"),
        "params": st.dictionaries(names, texts, max_size=6),
        "credentials": st.builds(Credentials, names, tokens, st.none() | tokens),
        "nonce": names,
        "time": times,
    }
)
