"""Our signing key is replaced step by step on two files; whatever dies in between, both still mean one state (N17)."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Barrier, BrokenBarrierError

import pytest

from connector.sso.saml import rotation, signing
from connector.sso.saml.rotation import Step, Stepped, take_step
from connector.sso.saml.signing import KeyState, OwnKeys, ensure_key, held, make_certificate, read_keys
from connector.sso.settings import SamlSettings
from ledger.errors import BadInput, Busy, Refused
from ledger.secret import SecretRef

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
LATER = NOW + timedelta(days=2)
WAY = (Step.ANNOUNCE, Step.SWITCH, Step.BACK, Step.SWITCH, Step.DROP)


@pytest.fixture(autouse=True)
def _short_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signing, "BITS", 1024)
    monkeypatch.setattr(rotation, "BITS", 1024)


@pytest.fixture
def saml(tmp_path: Path) -> SamlSettings:
    key, certificate = tmp_path / "secrets" / "key.pem", tmp_path / "secrets" / "certificate.pem"
    ensure_key(key, certificate, name="rosterd.example", now=NOW)
    return SamlSettings(
        signing_key=SecretRef("file", str(key)), signing_certificate=SecretRef("file", str(certificate))
    )


def step(saml: SamlSettings, what: Step, *, sure: bool = False) -> Stepped:
    return take_step(saml, what, name="rosterd.example", now=LATER, sure=sure)


def published(keys: OwnKeys) -> list[str]:
    return [one.value.spki for one in keys.certificates]


def test_n17_the_whole_way(saml: SamlSettings) -> None:
    old = read_keys(saml).signing
    assert read_keys(saml).state is KeyState.STEADY
    announced = step(saml, Step.ANNOUNCE).keys
    assert (announced.state, announced.signing) == (KeyState.ANNOUNCED, old)
    assert announced.announced_at == LATER
    assert len(published(announced)) == 2
    new = announced.waiting
    assert new is not None
    switched = step(saml, Step.SWITCH).keys
    assert (switched.state, switched.signing, switched.waiting) == (KeyState.SWITCHED, new, old)
    assert set(published(switched)) == set(published(announced))
    back = step(saml, Step.BACK).keys
    assert (back.state, back.signing) == (KeyState.ANNOUNCED, old)
    step(saml, Step.SWITCH)
    dropped = step(saml, Step.DROP).keys
    assert (dropped.state, dropped.signing, dropped.beside) == (KeyState.STEADY, new, ())
    assert old.key not in Path(saml.signing_key.name).read_bytes()


@pytest.mark.parametrize("done", range(1, len(WAY) + 1))
def test_n17_a_step_that_was_done_changes_nothing(saml: SamlSettings, done: int) -> None:
    for what in WAY[:done]:
        assert step(saml, what).changed
    before = read_keys(saml)
    assert step(saml, WAY[done - 1]) == Stepped(before, False)


@pytest.mark.parametrize(
    ("before", "wrong", "command"),
    [
        ((), Step.SWITCH, "rosterd sso rotate-key"),
        ((), Step.BACK, "rosterd sso rotate-key"),
        ((Step.ANNOUNCE,), Step.DROP, "rosterd sso rotate-key --finish"),
        ((Step.ANNOUNCE, Step.SWITCH), Step.ANNOUNCE, "rosterd sso rotate-key --drop"),
    ],
)
def test_n17_steps_out_of_order_name_the_right_one(
    saml: SamlSettings, before: tuple[Step, ...], wrong: Step, command: str
) -> None:
    for what in before:
        step(saml, what)
    keys = read_keys(saml)
    with pytest.raises(Refused) as refused:
        step(saml, wrong)
    assert refused.value.next_step.startswith(command)
    assert read_keys(saml) == keys


def test_n17_a_next_key_can_be_given_up(saml: SamlSettings) -> None:
    before = read_keys(saml)
    step(saml, Step.ANNOUNCE)
    assert step(saml, Step.DROP, sure=True) == Stepped(before, True)


def deaths(saml: SamlSettings, what: Step, monkeypatch: pytest.MonkeyPatch) -> list[Callable[[], None]]:
    """One run of the step per place at which it may die: before each rename and after it."""
    rename = Path.replace

    def dying(place: int) -> Callable[[], None]:
        def run() -> None:
            count = 0

            def replace(self: Path, target: Path) -> Path:
                nonlocal count
                count += 1
                if 2 * count - 1 == place:
                    raise KeyboardInterrupt
                done = rename(self, target)
                if 2 * count == place:
                    raise KeyboardInterrupt
                return done

            with monkeypatch.context() as patched:
                patched.setattr(Path, "replace", replace)
                with pytest.raises(KeyboardInterrupt):
                    step(saml, what)

        return run

    writes = 1 if what in {Step.SWITCH, Step.BACK} else 2
    return [dying(place) for place in range(1, 2 * writes + 1)]


@pytest.mark.parametrize("position", range(len(WAY)))
def test_n17_whatever_dies_leaves_a_working_set_and_the_step_can_be_done_again(
    saml: SamlSettings, monkeypatch: pytest.MonkeyPatch, position: int
) -> None:
    files = [Path(saml.signing_key.name), Path(saml.signing_certificate.name)]
    for what in WAY[:position]:
        step(saml, what)
    start = [file.read_bytes() for file in files]
    before = read_keys(saml)
    for die in deaths(saml, WAY[position], monkeypatch):
        for file, content in zip(files, start, strict=True):
            file.write_bytes(content)
        die()
        left = read_keys(saml)
        assert left.signing in {before.signing, before.waiting}, "what signs is one of the two pairs, whole"
        assert left.signing.certificate.value.spki in published(before), "and was published before"
        again = step(saml, WAY[position]).keys
        expected = {Step.ANNOUNCE: KeyState.ANNOUNCED, Step.BACK: KeyState.ANNOUNCED, Step.SWITCH: KeyState.SWITCHED}
        assert again.state is expected.get(WAY[position], KeyState.STEADY)
        assert (again.waiting is None) == (again.state is KeyState.STEADY)
        assert files[0].read_bytes().count(b"BEGIN PRIVATE KEY") == len(again.certificates)


def test_n17_a_real_kill_leaves_no_half_file_and_no_lock(saml: SamlSettings) -> None:
    dying = (
        "import os, signal, sys\nfrom pathlib import Path\n"
        "from tests.contract.sso.test_key_rotation import *\n"
        "Path.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "key, certificate = (SecretRef('file', name) for name in sys.argv[1:])\n"
        "saml = SamlSettings(signing_key=key, signing_certificate=certificate)\n"
        "step(saml, Step.ANNOUNCE)\n"
    )
    names = [saml.signing_key.name, saml.signing_certificate.name]
    before = read_keys(saml)
    ended = subprocess.run([sys.executable, "-c", dying, *names], check=False, capture_output=True)
    assert ended.returncode == -9, ended.stderr
    assert read_keys(saml) == before
    assert step(saml, Step.ANNOUNCE).keys.state is KeyState.ANNOUNCED
    assert sorted(path.name for path in Path(names[0]).parent.iterdir()) == ["certificate.pem", "key.pem"]


def test_n17_one_process_at_a_time(saml: SamlSettings) -> None:
    with held(Path(saml.signing_key.name)), pytest.raises(Busy, match="another process"):
        step(saml, Step.ANNOUNCE)
    assert step(saml, Step.ANNOUNCE).changed


def test_two_that_set_up_at_once_leave_one_pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a lock the key of one stood beside the other's certificate, for good."""
    both_here = Barrier(2, timeout=1)
    made = []

    def meet(*arguments: object, **more: object) -> tuple[bytes, bytes]:
        with suppress(BrokenBarrierError):
            both_here.wait()
        made.append(make_certificate(*arguments, **more))  # type: ignore[arg-type]
        return made[-1]

    monkeypatch.setattr(signing, "make_certificate", meet)
    names = [tmp_path / "keys" / name for name in ("key.pem", "certificate.pem")]
    with ThreadPoolExecutor(2) as two:
        ended = [two.submit(ensure_key, *names, name="rosterd.example", now=NOW) for _ in range(2)]
    assert sorted(one.result() for one in ended) == [False, True]
    assert [file.read_bytes() for file in names] == list(made[0])
    assert len(made) == 1


def test_n17_keys_stay_their_owners_alone(saml: SamlSettings) -> None:
    key, certificate = Path(saml.signing_key.name), Path(saml.signing_certificate.name)
    for what in WAY:
        step(saml, what)
        assert stat.S_IMODE(key.stat().st_mode) == 0o600
        assert stat.S_IMODE(certificate.stat().st_mode) == 0o644
    key.chmod(0o644)
    step(saml, Step.ANNOUNCE)
    assert stat.S_IMODE(key.stat().st_mode) == 0o640, "others lose what they should not have had"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_n17_root_leaves_the_files_to_the_daemons_user(saml: SamlSettings) -> None:
    key = Path(saml.signing_key.name)
    os.chown(key, 12345, 12346)
    step(saml, Step.ANNOUNCE)
    assert (key.stat().st_uid, key.stat().st_gid) == (12345, 12346)


def test_n17_a_link_is_followed(saml: SamlSettings, tmp_path: Path) -> None:
    link = tmp_path / "key.pem"
    link.symlink_to(saml.signing_key.name)
    linked = saml.model_copy(update={"signing_key": SecretRef("file", str(link))})
    assert step(linked, Step.ANNOUNCE).changed
    assert link.is_symlink()
    assert read_keys(saml).state is KeyState.ANNOUNCED


def test_n17_what_comes_by_environment_is_rotated_by_whoever_keeps_it(
    saml: SamlSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_environment = saml.model_copy(
        update={"signing_key": SecretRef("env", "OWN_KEY"), "signing_certificate": SecretRef("env", "OWN_CERTIFICATE")}
    )
    with pytest.raises(BadInput) as refused:
        step(by_environment, Step.ANNOUNCE)
    assert "env:OWN_KEY" in refused.value.what
    assert "below the present one" in refused.value.next_step
    # and what it says to do works: certificate below, then key first, then the former ones out
    old = read_keys(saml)
    key, certificate = make_certificate("rosterd.example", LATER, LATER + timedelta(days=9))
    old_key, old_certificate = old.signing.key, old.signing.certificate.pem
    ways = [
        (old_key, old_certificate + certificate, KeyState.ANNOUNCED),
        (key + old_key, old_certificate + certificate, KeyState.SWITCHED),
        (key, certificate, KeyState.STEADY),
    ]
    for keys, certificates, state in ways:
        monkeypatch.setenv("OWN_KEY", keys.decode())
        monkeypatch.setenv("OWN_CERTIFICATE", certificates.decode())
        assert read_keys(by_environment).state is state


def test_n17_one_file_for_both_and_files_that_cannot_be_written(saml: SamlSettings, tmp_path: Path) -> None:
    both = tmp_path / "both.pem"
    both.write_bytes(Path(saml.signing_key.name).read_bytes() + Path(saml.signing_certificate.name).read_bytes())
    one = SamlSettings(signing_key=SecretRef("file", str(both)), signing_certificate=SecretRef("file", str(both)))
    assert read_keys(one).state is KeyState.STEADY
    with pytest.raises(BadInput, match="in one file"):
        step(one, Step.ANNOUNCE)


@pytest.mark.parametrize(
    ("keys", "certificates", "says"),
    [
        (b"", None, "no private key"),
        (b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", None, "cannot be read"),
        (None, b"", "belongs to the key"),
        (None, b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "cannot be read"),
    ],
)
def test_keys_that_cannot_be_used_are_named(
    saml: SamlSettings, keys: bytes | None, certificates: bytes | None, says: str
) -> None:
    present = read_keys(saml).signing
    with pytest.raises(BadInput, match=says) as refused:
        signing.parse_keys(
            present.key if keys is None else keys,
            present.certificate.pem if certificates is None else certificates,
            key_at="file:key",
            certificate_at="file:certificate",
        )
    assert refused.value.where in {"file:key", "file:certificate"}
    assert refused.value.next_step


def test_a_certificate_of_another_key_is_named(saml: SamlSettings) -> None:
    _, other = make_certificate("rosterd.example", NOW, LATER)
    Path(saml.signing_certificate.name).write_bytes(other)
    with pytest.raises(BadInput, match="belongs to the key that signs"):
        read_keys(saml)
