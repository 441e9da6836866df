"""Secrets at rest, and the key that lies beside a SQLite database."""

import base64
import multiprocessing
import os
import stat
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.common.errors import SettingsError
from relay.subscribers.encryption import KEY_BYTES, Encryption, key_beside, key_id

OLD, NEW, OTHER = (letter * KEY_BYTES for letter in (b"o", b"n", b"x"))
SECRET = "whsec_opensesame"


@given(secret=st.text(st.characters(codec="utf-8")), row_id=st.text(st.characters(codec="utf-8")))
def test_an_encrypted_text_decrypts_and_never_reads_the_same_twice(secret: str, row_id: str) -> None:
    encryption = Encryption([NEW])
    encrypted = encryption.encrypt(row_id, secret)
    assert encryption.decrypt(row_id, encrypted) == secret
    assert encryption.encrypt(row_id, secret) != encrypted
    assert encrypted.isascii()


def test_the_first_key_of_the_ring_encrypts_and_every_key_decrypts() -> None:
    old = Encryption([OLD]).encrypt("sec_1", SECRET)
    ring = Encryption([NEW, OLD])
    assert ring.decrypt("sec_1", old) == SECRET
    new = ring.encrypt("sec_1", SECRET)
    assert new.startswith(f"{key_id(NEW)}:")
    assert Encryption([OLD, NEW]).decrypt("sec_1", new) == SECRET
    assert Encryption([NEW]).decrypt("sec_1", new) == SECRET


def complaint(encryption: Encryption, row_id: str, encrypted: str) -> str:
    with pytest.raises(SettingsError) as caught:
        encryption.decrypt(row_id, encrypted)
    assert caught.value.__cause__ is None
    (sentence,) = caught.value.problems
    return sentence


def test_a_missing_key_is_named_by_its_id() -> None:
    sentence = complaint(Encryption([NEW, OTHER]), "sec_1", Encryption([OLD]).encrypt("sec_1", SECRET))
    assert "RELAY_MASTER_KEY" in sentence
    assert key_id(OLD) in sentence


def test_no_other_row_decrypts_an_encrypted_text() -> None:
    encryption = Encryption([NEW])
    assert "sec_2" in complaint(encryption, "sec_2", encryption.encrypt("sec_1", SECRET))


def altered() -> list[str]:
    encrypted = Encryption([NEW]).encrypt("sec_1", SECRET)
    name, _, payload = encrypted.partition(":")
    raw = bytearray(base64.b64decode(payload))
    raw[-1] ^= 1
    flipped = base64.b64encode(bytes(raw)).decode()
    texts = [flipped, payload[:-8], payload[:4], "", "=", "a", "漢字", payload[:-4] + "=!!="]
    return [f"{name}:{text}" for text in texts] + [payload, "", ":", "::", SECRET, f"{SECRET}:x"]


def test_an_altered_text_is_named_by_its_row_and_not_quoted() -> None:
    for encrypted in altered():
        sentence = complaint(Encryption([NEW]), "sec_1", encrypted)
        assert "sec_1" in sentence, encrypted
        assert "opensesame" not in sentence, encrypted


def test_neither_an_encryption_nor_a_key_id_reveals_the_key() -> None:
    assert len(key_id(NEW)) == 8
    assert key_id(NEW) != key_id(OLD)
    encryption = Encryption([NEW])
    assert "nnnn" not in repr(encryption) + str(vars(encryption))


def test_a_key_is_made_once_beside_the_database_for_its_owner_only(tmp_path: Path) -> None:
    database = tmp_path / "relay.db"
    key, made = key_beside(database)
    assert made == tmp_path / "relay.db.key"
    assert len(key) == KEY_BYTES
    assert stat.S_IMODE(made.stat().st_mode) == 0o600
    assert key_beside(database) == (key, None)
    assert list(tmp_path.iterdir()) == [made]


def start_together(barrier: Barrier) -> None:
    barrier.wait(30)


def executor_of(kind: str, count: int) -> Executor:
    """Threads, or processes, that all start at one moment."""
    if kind == "threads":
        return ThreadPoolExecutor(count, initializer=start_together, initargs=(Barrier(count),))
    context = multiprocessing.get_context("forkserver")
    return ProcessPoolExecutor(count, context, start_together, (context.Barrier(count),))


@pytest.mark.processes
@pytest.mark.parametrize("kind", ["threads", "processes"])
def test_many_at_once_get_one_key(tmp_path: Path, kind: str) -> None:
    database = tmp_path / "relay.db"
    with executor_of(kind, 4) as executor:
        results = [future.result(30) for future in [executor.submit(key_beside, database) for _ in range(8)]]
    assert len({key for key, _ in results}) == 1
    assert [made for _, made in results if made is not None] == [tmp_path / "relay.db.key"]
    assert list(tmp_path.iterdir()) == [tmp_path / "relay.db.key"]


def test_a_draft_that_a_crash_left_behind_stops_nobody(tmp_path: Path) -> None:
    for pid in (1, os.getpid()):  # a container's processes have the same ids after each start
        (tmp_path / f"relay.db.key.{pid}").touch()
    assert len(key_beside(tmp_path / "relay.db")[0]) == KEY_BYTES


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        b"not base64!",
        base64.b64encode(b"short"),
        base64.b64encode(bytes(33)),
        b"\xff\xfe",
        b"A" * 43,
    ],
)
def test_a_damaged_key_file_is_named_and_not_quoted(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "relay.db.key"
    path.write_bytes(content)
    with pytest.raises(SettingsError, match=r"relay\.db\.key: .*key|base64") as caught:
        key_beside(tmp_path / "relay.db")
    quoted = content.decode("latin-1").strip()
    assert not quoted or quoted not in str(caught.value)
    assert path.read_bytes() == content


def test_a_key_file_that_is_a_directory_is_named(tmp_path: Path) -> None:
    (tmp_path / "relay.db.key").mkdir()
    with pytest.raises(SettingsError, match=r"relay\.db\.key: can't be read"):
        key_beside(tmp_path / "relay.db")
