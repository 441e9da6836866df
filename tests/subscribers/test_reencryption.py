"""`secrets rotate`: re-encrypts every secret under the first key, while Relay runs."""

import base64
import threading
from pathlib import Path

import pytest
from sqlalchemy import select, update

from relay import cli
from relay.bootstrap import build_encryption
from relay.common.errors import SettingsError
from relay.common.ids import NewId
from relay.db.clock import Clock
from relay.db.engine import Store, Tx
from relay.db.tables import Endpoint, IdempotentAnswer, SigningSecret
from relay.deliveries.signing_keys import Keyring
from relay.settings import load
from relay.subscribers.encryption import Encryption, key_beside, key_file
from relay.subscribers.sql import reencryption
from tests.support.api import Caller, context_for_tests, new_caller, serving
from tests.support.database import id_maker
from tests.support.flow import World

OLD, NEW = b"o" * 32, b"n" * 32
BEFORE, BETWEEN, AFTER = Encryption([OLD]), Encryption([NEW, OLD]), Encryption([NEW])


@pytest.fixture
def new_id(own_store: Store) -> NewId:
    return id_maker(Clock(own_store).now)


def rotate(store: Store, encryption: Encryption = BETWEEN) -> dict[str, int]:
    return {kind.name: reencryption.reencrypt(store, encryption, kind).count for kind in reencryption.KINDS}


def encrypted_texts(store: Store) -> list[str]:
    def read(tx: Tx) -> list[str | None]:
        columns = (SigningSecret.sealed, Endpoint.headers_sealed, IdempotentAnswer.answer)
        return [text for column in columns for text in tx.scalars(select(column))]

    return [text for text in store.read(read) if text is not None]


def make_everything(caller: Caller) -> dict[str, object]:
    """A secret of every kind, and a stored response with a secret, under an Idempotency-Key."""
    body = {"url": "https://h.example.com/in", "headers": {"X-Key": "s3cret"}}
    made: dict[str, object] = caller.post("/v1/endpoints", body, key="k").json
    return made


def test_everything_opens_without_the_old_key_afterwards(own_store: Store, new_id: NewId) -> None:
    with serving(context_for_tests(own_store, BEFORE)) as port:
        caller = new_caller(port, own_store, BEFORE, new_id)
        made = make_everything(caller)
    assert rotate(own_store) == {"signing secrets": 2, "endpoints' headers": 1, "stored responses": 1}
    assert {text[:9] for text in encrypted_texts(own_store)} == {f"{AFTER.first}:"}
    with serving(context_for_tests(own_store, AFTER)) as port:
        again = Caller(port, caller.subscriber_id, caller.api_key)
        assert again.get("/v1/secret").json == {"secret": caller.secret}
        assert again.get(f"/v1/endpoints/{made['id']}").json["headers"] == {"X-Key": "•••"}
        assert make_everything(again) == made
    assert rotate(own_store) == {"signing secrets": 0, "endpoints' headers": 0, "stored responses": 0}


def test_more_than_a_batch_is_re_encrypted(
    own_store: Store, new_id: NewId, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reencryption, "BATCH", 3)
    with serving(context_for_tests(own_store, BEFORE)) as port:
        for _ in range(8):
            make_everything(new_caller(port, own_store, BEFORE, new_id))
    assert rotate(own_store) == {"signing secrets": 16, "endpoints' headers": 8, "stored responses": 8}


def test_a_response_stored_without_encryption_stays_as_it_is(own_store: Store, new_id: NewId) -> None:
    with serving(context_for_tests(own_store, BEFORE)) as port:
        new_caller(port, own_store, BEFORE, new_id).post(
            "/v1/watches", {"job_id": "j", "callback_url": "https://h.example.com/in"}, key="k"
        )
    assert rotate(own_store)["stored responses"] == 0


def test_a_text_that_cannot_be_decrypted_is_reported_and_stops_nothing(
    own_store: Store, new_id: NewId
) -> None:
    with serving(context_for_tests(own_store, BEFORE)) as port:
        first = new_caller(port, own_store, BEFORE, new_id)
        new_caller(port, own_store, BEFORE, new_id)
    broken = update(SigningSecret).where(SigningSecret.subscriber_id == first.subscriber_id)
    own_store.write(lambda tx: tx.execute(broken.values(sealed=f"{BEFORE.first}:AAAA")))
    result = reencryption.reencrypt(own_store, BETWEEN, reencryption.KINDS[0])
    assert (result.count, len(result.problems)) == (1, 1)
    assert "can't be decrypted" in result.problems[0]


def test_processes_go_on_during_a_re_encryption(
    own_store: Store, new_id: NewId, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Meanwhile a web process writes secrets and a dispatcher signs, with the ring of two keys."""
    monkeypatch.setattr(reencryption, "BATCH", 2)
    with serving(context_for_tests(own_store, BEFORE)) as port:
        callers = [new_caller(port, own_store, BEFORE, new_id) for _ in range(5)]
        ids = [str(make_everything(caller)["id"]) for caller in callers]
    stop = threading.Event()
    statuses: list[int] = []
    signed: list[int] = []
    started = threading.Barrier(3)

    def work_over_http(port: int) -> None:
        started.wait()
        while not stop.is_set():
            for caller, one in zip(callers, ids, strict=True):
                here = Caller(port, caller.subscriber_id, caller.api_key)
                statuses.append(here.post("/v1/secret/rotate", {"overlap_seconds": 0}).status)
                statuses.append(here.patch(f"/v1/endpoints/{one}", {"headers": {"X-New": "v"}}).status)
                statuses.append(here.get(f"/v1/endpoints/{one}/secret").status)

    def sign() -> None:
        started.wait()
        while not stop.is_set():
            world = World(own_store, Clock(own_store).now())
            world.subscriber_id = callers[0].subscriber_id
            world.enqueue(1, "https://h.example.com/in")
            taken = world.claim().taken
            ring = Keyring(own_store, BETWEEN)
            ring.fetch(taken, world.now)
            signed.extend(len(ring.secrets(one, world.now)) for one in taken)
            for one in taken:
                assert dict(ring.headers(one.endpoint_id, one.headers_sealed))
            world.record(taken)

    with serving(context_for_tests(own_store, BETWEEN)) as port:
        threads = [threading.Thread(target=work_over_http, args=(port,)), threading.Thread(target=sign)]
        for thread in threads:
            thread.start()
        started.wait()
        while len(statuses) < 30 or len(signed) < 3:
            rotate(own_store)
            assert all(thread.is_alive() for thread in threads)
        stop.set()
        for thread in threads:
            thread.join()
    assert set(statuses) == {200}
    assert min(signed) >= 1
    rotate(own_store)
    assert {text[:9] for text in encrypted_texts(own_store)} == {f"{AFTER.first}:"}


# The command, and the key that lies beside a SQLite database.


def test_the_command_says_what_it_did_and_what_is_to_be_done(
    own_database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*arguments: str, ring: tuple[bytes, ...]) -> tuple[int, str, str]:
        monkeypatch.setenv("DATABASE_URL", own_database_url)
        monkeypatch.setenv("RELAY_MASTER_KEY", ",".join(base64.b64encode(key).decode() for key in ring))
        code = cli.main(arguments)
        return code, *capsys.readouterr()

    run("subscriber", "add", "x", ring=(OLD,))
    code, output, _ = run("secrets", "rotate", ring=(NEW,))
    assert (code, "0 signing secrets" in output) == (1, True)
    code, output, _ = run("secrets", "rotate", ring=(NEW, OLD))
    assert code == 0
    assert f"under the key with id {AFTER.first}: 1 signing secrets, 0 endpoints' headers" in output
    assert f"Nothing is encrypted under {BEFORE.first} any more" in output
    code, output, complaints = run("secrets", "rotate", ring=(NEW,))
    assert (code, "any more" in output, complaints) == (0, False, "")


def environ(tmp_path: Path, *keys: bytes) -> dict[str, str]:
    ring = ",".join(base64.b64encode(key).decode() for key in keys)
    return {"DATABASE_URL": f"sqlite:///{tmp_path}/relay.db"} | ({"RELAY_MASTER_KEY": ring} if ring else {})


def test_a_ring_in_the_variable_decrypts_texts_of_the_key_file_too(tmp_path: Path) -> None:
    sealed = build_encryption(load(environ(tmp_path))).encrypt("sec_1", "whsec_x")
    file = key_file(tmp_path / "relay.db")
    moved = build_encryption(load(environ(tmp_path, NEW)))
    assert (moved.first, len(moved.others)) == (AFTER.first, 1)
    assert moved.decrypt("sec_1", sealed) == "whsec_x"
    key, _ = key_beside(tmp_path / "relay.db")
    assert build_encryption(load(environ(tmp_path, NEW, key))).others == moved.others
    file.unlink()
    assert build_encryption(load(environ(tmp_path, NEW))).others == []
    assert not file.exists()


def test_a_damaged_key_file_is_reported_beside_the_variable_too(tmp_path: Path) -> None:
    key_file(tmp_path / "relay.db").write_text("short")
    with pytest.raises(SettingsError, match=r"relay\.db\.key"):
        build_encryption(load(environ(tmp_path, NEW)))
