"""The signatures: vectors of the provider's pages and SDKs, and its signers on random input."""

from datetime import UTC, datetime
from hashlib import sha256
from types import SimpleNamespace
from typing import Any

import pytest
from alibabacloud_tea_openapi.utils import Utils
from hypothesis import given

from relay.common.time import US_PER_SECOND, Micros
from relay.provider.list_ai_job.rules.signing import (
    Credentials,
    canonical_query,
    q,
    sign_v1,
    sign_v3,
    timestamp,
)
from tests.support.signing import NOON, V3_NONCE, VOD, bodies, micros, names, signer_arguments, texts, times

JOBS = "a718a3a1e8bb42ee3bc88921e94a0001,53d4a9c7b00ccdcb4b0c2c854c7b0002"
V1_NONCE = "3ee8c1b8-83d3-44af-a94f-4e0ad82fd6cf"


@pytest.mark.parametrize(
    ("method", "signature"),
    [
        ("GET", "559822f756703c0e7a2a5f54f0d9ce28d18f90c92914d1e89d002baba68f6104"),
        ("POST", "a56af65b99ee59f6ea3f74cafb47a8c7db5ccbdfcd225ec3a583fe9d08eddd86"),
    ],
)
def test_v3_of_listaijob(method: str, signature: str) -> None:
    headers = sign_v3(
        method=method,
        host=VOD,
        action="ListAIJob",
        version="2017-03-21",
        params={"JobIds": JOBS},
        credentials=Credentials("testid", "testsecret"),
        nonce=V3_NONCE,
        time=NOON,
    )
    assert headers["Authorization"] == (
        "ACS3-HMAC-SHA256 Credential=testid,SignedHeaders=host;x-acs-action;x-acs-content-sha256;x-acs-date;"
        f"x-acs-signature-nonce;x-acs-version,Signature={signature}"
    )


def test_v3_of_the_providers_page() -> None:
    headers = sign_v3(
        method="POST",
        host="ecs.cn-shanghai.aliyuncs.com",
        action="RunInstances",
        version="2014-05-26",
        params={
            "ImageId": "win2019_1809_x64_dtc_zh-cn_40G_alibase_20230811.vhd",
            "RegionId": "cn-shanghai",
        },
        credentials=Credentials("YourAccessKeyId", "YourAccessKeySecret"),
        nonce=V3_NONCE,
        time=micros("2023-10-26T10:22:32Z"),
    )
    authorization = headers["Authorization"]
    assert authorization.startswith("ACS3-HMAC-SHA256 Credential=YourAccessKeyId,SignedHeaders=")
    assert authorization.endswith(
        ",Signature=06563a9e1b43f5dfe96b81484da74bceab24a1d853912eee15083a6f0f3283c0"
    )


@pytest.mark.parametrize(
    ("method", "jobs", "token", "signature"),
    [
        ("GET", JOBS, None, "F8f+wiUfkyT3+GhJAWnEx/1coh4="),
        ("POST", JOBS, None, "8L9G+JFoOY+9bZHyl4o1sxYjJX4="),
        ("GET", JOBS, "CAISfakeTok+en/==", "wfN1dqbppuIiLfzJ5gbEV2MKkGo="),
        ("GET", "a b*~+中/文", None, "R5XiTFIHvBA0lwS9h0lE6wCbnwo="),
    ],
)
def test_v1_of_listaijob(method: str, jobs: str, token: str | None, signature: str) -> None:
    params = sign_v1(
        method=method,
        action="ListAIJob",
        version="2017-03-21",
        params={"JobIds": jobs},
        credentials=Credentials("testid", "testsecret", token),
        nonce=V1_NONCE,
        time=NOON,
    )
    assert params["Signature"] == signature
    assert params["JobIds"] == jobs
    assert params["Format"] == "JSON"


def test_v1_of_the_providers_page() -> None:
    params = sign_v1(
        method="GET",
        action="GetVideoPlayAuth",
        version="2017-03-21",
        params={"VideoId": "5aed81b74ba84920be578cdfe004af4b"},
        credentials=Credentials("testAccessKeyId", "testAccessKeySecret"),
        nonce="8f8a035d-6496-4268-afd4-67c22837e38d",
        time=micros("2017-10-10T12:02:54Z"),
    )
    assert params["Signature"] == "Ibgh7y8Vp47LBuAsf5Xhi1SvDss="


@given(arguments=signer_arguments, host=names, body=bodies)
def test_v3_equals_the_official_signer(arguments: dict[str, Any], host: str, body: bytes) -> None:
    headers = sign_v3(**arguments, host=host, body=body)
    request = SimpleNamespace(
        method=arguments["method"],
        pathname="/",
        query=arguments["params"],
        headers={name: value for name, value in headers.items() if name != "Authorization"},
    )
    credentials = arguments["credentials"]
    official = Utils.get_authorization(
        request,
        "ACS3-HMAC-SHA256",
        sha256(body).hexdigest(),
        credentials.access_key_id,
        credentials.access_key_secret,
    )
    assert headers["Authorization"] == official


@given(signer_arguments)
def test_v1_equals_the_official_signer(arguments: dict[str, Any]) -> None:
    signed = sign_v1(**arguments)
    unsigned = {name: value for name, value in signed.items() if name != "Signature"}
    secret = arguments["credentials"].access_key_secret
    assert signed["Signature"] == Utils.get_rpcsignature(unsigned, arguments["method"], secret)


@given(texts)
def test_only_unreserved_characters_stay_as_they_are(text: str) -> None:
    unreserved = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.~"
    spelled = (
        character if character in unreserved else "".join(f"%{byte:02X}" for byte in character.encode())
        for character in text
    )
    assert q(text) == "".join(spelled)


def test_a_query_is_sorted_by_name() -> None:
    assert canonical_query({"b": "2 3", "B": "", "a": "1"}) == "B=&a=1&b=2%203"


@given(times)
def test_a_timestamp_is_in_utc_to_the_second(time: Micros) -> None:
    written = datetime.fromisoformat(timestamp(time))
    assert written.tzinfo == UTC
    assert written.timestamp() == time // US_PER_SECOND


def test_credentials_show_only_their_id() -> None:
    shown = repr(Credentials("the-id", "the-secret", "the-token"))
    assert "the-id" in shown
    assert "the-secret" not in shown
    assert "the-token" not in shown
