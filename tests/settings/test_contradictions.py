"""Settings that are right alone but not together: one sentence, which names all of them."""

import pytest

from relay.settings import load
from tests.support.settings import MASTER_KEY, problems


@pytest.mark.parametrize("half", ["ALIBABA_CLOUD_ACCESS_KEY_ID", "ALIBABA_CLOUD_ACCESS_KEY_SECRET"])
def test_half_a_provider_key_is_an_error(half: str) -> None:
    (sentence,) = problems({half: "x"})
    assert "belong together" in sentence


def test_what_contradicts_a_wrong_value_is_not_said_as_well() -> None:
    wrong = {"RELAY_ATTEMPT_TIMEOUT": "601", "RELAY_LEASE_SECONDS": "5", "DATABASE_URL": "oracle://h/db"}
    assert sorted(problems(wrong)) == [
        problem
        for name in sorted(wrong.keys() - {"RELAY_LEASE_SECONDS"})
        for problem in problems({name: wrong[name]})
    ]


def test_a_security_token_needs_its_key() -> None:
    (sentence,) = problems({"ALIBABA_CLOUD_SECURITY_TOKEN": "x"})
    assert "ALIBABA_CLOUD_ACCESS_KEY_ID" in sentence


ROLE = {
    "ALIBABA_CLOUD_ROLE_ARN": "acs:ram::1:role/r",
    "ALIBABA_CLOUD_OIDC_PROVIDER_ARN": "acs:ram::1:oidc-provider/p",
    "ALIBABA_CLOUD_OIDC_TOKEN_FILE": "/nowhere/token",
}


@pytest.mark.parametrize("missing", ROLE)
def test_part_of_a_role_is_an_error_unless_a_static_key_stands_before_it(missing: str) -> None:
    part = {name: value for name, value in ROLE.items() if name != missing}
    (sentence,) = problems(part)
    assert "belong together" in sentence
    load(part | {"ALIBABA_CLOUD_ACCESS_KEY_ID": "id", "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "s"})
    load(ROLE)


@pytest.mark.parametrize("name", ["RELAY_VOD_CALLBACK_URL", "RELAY_VOD_CALLBACK_KEY"])
def test_half_of_what_provider_events_need_is_an_error(name: str) -> None:
    (sentence,) = problems({name: "https://relay.example.com/hooks/vod"})
    assert "belong together" in sentence


def test_C4_a_lease_shorter_than_the_attempt_and_the_recording_of_its_result_is_refused() -> None:
    (sentence,) = problems({"RELAY_ATTEMPT_TIMEOUT": "46"})
    assert sentence.startswith("RELAY_LEASE_SECONDS must be at least RELAY_ATTEMPT_TIMEOUT + 15")
    load({"RELAY_ATTEMPT_TIMEOUT": "45"})


def test_a_shared_database_needs_a_master_key() -> None:
    (sentence,) = problems({"DATABASE_URL": "mysql://u@h/relay"})
    assert sentence.startswith("RELAY_MASTER_KEY must be set")
    load({"DATABASE_URL": "mysql://u@h/relay", "RELAY_MASTER_KEY": MASTER_KEY})
