"""A real Keycloak as the identity provider, over https: connected, tested, on; and what happens to it afterwards.

Nobody is ever removed, whatever Keycloak does (R5).
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from ledger.instant import to_text
from rosterd.clock import utc_now
from tests.parts.keycloak import Keycloak
from tests.parts.keycloak_company import ANNA, DESIGN, EVA, PEOPLE, QUIET, WATCHFUL, AtKeycloak, at_keycloak


@pytest.fixture
def acme(keycloak: Keycloak, tmp_path: Path) -> Iterator[AtKeycloak]:
    with at_keycloak(tmp_path, keycloak, f"acme-{uuid.uuid4().hex[:8]}") as made:
        yield made


def signed_on(acme: AtKeycloak, name_id: str = "persistent") -> None:
    """Keycloak knows us, the domain is proved, its metadata connected, tested and on."""
    acme.register(name_id)
    acme.prove()
    assert acme.connect()["entity_id"] == acme.realm.entity_id
    acme.turn_on()


def assert_signed_in(acme: AtKeycloak, mail: str = ANNA) -> None:
    page = acme.sign_in(mail)
    assert (page.status, f"Welcome, {mail}" in page.text) == (200, True), page


def gate(acme: AtKeycloak) -> tuple[str, str]:
    """The domain's gate, and sync."""
    status = acme.does("sso", "status")
    return status["domains"][0]["gate"], status["sync"]["state"]


def test_r5_keycloak_is_connected_by_the_address_of_its_metadata_and_people_sign_in(acme: AtKeycloak) -> None:
    acme.settle(QUIET, metadata=acme.realm.metadata_url, mail_attribute="mail")
    with acme.serving():
        acme.register("persistent")
        acme.prove()
        refused = acme.installation.rosterd("sso", "connect")
        assert (refused.code, "certificate" in refused.err.lower()) == (4, True), "nobody vouches for this server"
        connected = acme.apart("sso", "connect", "--json")
        assert connected.code == 0, connected.err
        assert connected.document["entity_id"] == acme.realm.entity_id
        assert acme.installation.rosterd("sso", "on").code == 3, "not tested"
        acme.turn_on()
        acme.bring_everybody_in()
        right, acme.password = acme.password, "not it"
        page = acme.sign_in()
        assert page.log_in is not None, "Keycloak asks again"
        assert page.url.startswith(acme.realm.entity_id)
        acme.password = right
        assert_signed_in(acme)
        assert_signed_in(acme, EVA)
        assert gate(acme) == ("open", "enabled")
        seat = acme.installation.rosterd("explain", ANNA, "--offline")
        assert "seat of CAD in Design: active" in seat.out, "the first sign-in accepts the invite"


@pytest.mark.parametrize(
    ("name_id", "mail_attribute"),
    [
        pytest.param("persistent", "mail", id="persistent"),
        pytest.param("email", "", id="email"),
        pytest.param("username", "mail", id="username"),
        pytest.param("transient", "mail", id="transient"),
    ],
)
def test_n3_whoever_signed_in_signs_in_again_whatever_the_name_id_is(
    acme: AtKeycloak, name_id: str, mail_attribute: str
) -> None:
    acme.settle(QUIET, mail_attribute=mail_attribute)
    with acme.serving():
        signed_on(acme, name_id)
        acme.bring_everybody_in()
        before = acme.sign_in()
        assert before.status == 200, before
        standing = acme.everybody()
        assert_signed_in(acme)
        assert acme.everybody() == standing


def test_n1_sign_ins_go_on_while_keycloak_changes_its_key(acme: AtKeycloak) -> None:
    acme.settle(WATCHFUL, metadata=acme.realm.metadata_url, mail_attribute="mail")
    with acme.serving():
        acme.register("persistent")
        acme.prove()
        assert acme.apart("sso", "connect").code == 0
        acme.turn_on()
        acme.bring_everybody_in()
        assert_signed_in(acme)
    standing = acme.everybody()
    old = acme.realm.rotate_key()
    look_again(acme)
    acme.realm.make_passive(old)
    look_again(acme)
    acme.realm.remove_key(old)
    look_again(acme)
    assert acme.everybody() == standing


def look_again(acme: AtKeycloak) -> None:
    """The daemon has looked at what Keycloak publishes now; Anna, whom we know, still signs in."""
    with acme.serving() as daemon:
        daemon.wait_for("job.done")
        assert_signed_in(acme)
        assert gate(acme) == ("open", "enabled")


def test_a_changed_key_is_connected_and_tested_by_hand_and_nobody_is_removed(acme: AtKeycloak) -> None:
    acme.settle(QUIET, mail_attribute="mail")
    with acme.serving():
        signed_on(acme)
        acme.bring_everybody_in()
        assert_signed_in(acme)
        standing = acme.everybody()
        old = acme.realm.rotate_key()
        assert acme.installation.rosterd("apply", "--auto").code == 0
        acme.realm.make_passive(old)
        acme.realm.remove_key(old)
        assert acme.installation.rosterd("apply", "--auto").code == 0
        assert acme.everybody() == standing
        acme.connect()
        acme.turn_on()
        assert_signed_in(acme)
        assert acme.everybody() == standing
        assert gate(acme) == ("open", "enabled")


def test_n1_metadata_that_is_issued_anew_for_longer_needs_no_new_test(acme: AtKeycloak) -> None:
    acme.settle(QUIET, mail_attribute="mail")
    soon, later = (utc_now().replace(microsecond=0) + timedelta(days=days) for days in (10, 40))

    def until(end: object) -> bytes:
        return acme.realm.metadata().replace(b" entityID=", f' validUntil="{end}" entityID='.encode(), 1)

    with acme.serving():
        acme.register("persistent")
        acme.prove()
        acme.connect(until(to_text(soon)))
        acme.turn_on()
        assert acme.does("sso", "status")["connections"][0]["works_until"] == to_text(soon)
        acme.connect(until(to_text(later)))
        assert acme.does("sso", "status")["connections"][0]["works_until"] == to_text(later)
        assert acme.sign_in().status == 403, "signed in, and not invited"


def test_r5_keycloak_that_no_longer_knows_us_removes_nobody(acme: AtKeycloak) -> None:
    acme.settle(QUIET, mail_attribute="mail")
    with acme.serving():
        signed_on(acme)
        acme.bring_everybody_in()
        assert_signed_in(acme)
        standing = acme.everybody()
        assert len(standing[0]) == len(PEOPLE.people)
        acme.realm.disable_client(acme.client)
        page = acme.sign_in()
        assert page.url.startswith(acme.realm.entity_id), "Keycloak answers itself"
        assert page.status >= 400
        assert acme.installation.rosterd("apply", "--auto").code == 0
        assert acme.everybody() == standing
        acme.does("sso", "off", "--reason", "Keycloak refuses us")
        assert gate(acme) == ("closed", "suspended")
        assert acme.installation.rosterd("apply", "--auto").code == 3
        assert acme.everybody() == standing


def test_r5_who_is_disabled_at_keycloak_alone_signs_in_no_more_and_keeps_everything(acme: AtKeycloak) -> None:
    acme.settle(QUIET, mail_attribute="mail")
    with acme.serving():
        signed_on(acme)
        acme.bring_everybody_in()
        assert_signed_in(acme)
        standing = acme.everybody()
        assert acme.ids is not None
        acme.realm.disable_person(acme.ids[ANNA])
        page = acme.sign_in()
        assert page.log_in is not None, page
        assert "disabled" in page.text
        assert_signed_in(acme, EVA)
        assert acme.installation.rosterd("apply", "--auto").code == 0
        people, memberships, _ = acme.everybody()
        assert (people, memberships) == standing[:2], f"the directory decides about {DESIGN[0].display_name}"
