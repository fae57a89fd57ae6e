"""Following what changes in a domain (D13), by DirSync and by uSNChanged, against real Samba domain controllers."""

from __future__ import annotations

import asyncio
import base64
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from connector.directory.base import ReadRequest
from connector.directory.changes import Changes, ChangesRequest, LookRequest
from connector.directory.groups import GroupEntry
from connector.directory.ldap.active_directory import dirsync, reread
from connector.directory.ldap.active_directory import following as domain_changes
from connector.directory.ldap.active_directory import source as active_directory
from connector.directory.ldap.active_directory.source import ActiveDirectorySource
from connector.directory.ldap.follow import following
from connector.directory.ldap.session.connection import Clock, Session
from connector.directory.settings import ActiveDirectorySettings
from tests.contract.directory.conftest import CROWD, CROWD_GROUP, CROWD_SIZE, OpenSource
from tests.contract.directory.ldap.test_active_directory import DOMAIN_USERS, NOW, Lab
from tests.parts import company, samba
from tests.parts.proxy import Fault, Proxy, between

ATTRIBUTES = ("mail", "displayname", "cn", "useraccountcontrol", "accountexpires", "title")
ADMINISTRATOR = {"bind_dn": f"CN=Administrator,CN=Users,{company.SUFFIX}", "bind_password": "env:ADMIN_PASSWORD"}
DELETED_OBJECTS = f"CN=Deleted Objects,{company.SUFFIX}"
METHODS = ["DirSync", "uSNChanged"]
Cursor = Mapping[str, Any]


class Follower:
    """One source on one server, which goes on from call to call."""

    def __init__(self, source: ActiveDirectorySource, method: str) -> None:
        self.source = source
        self.method = method
        self.cursor: Cursor = {}

    def session(self) -> Session:
        return self.source._open(self.source._settings.servers[0], Clock(60))

    def begin(self) -> Cursor:
        """Stand where the server stands now."""
        session = self.session()
        place = self.source._position(session)
        session.close()
        assert place is not None
        self.cursor = self.as_cursor(place)
        return self.cursor

    def as_cursor(self, place: Mapping[str, Any]) -> Cursor:
        """The place as the cursor of a full reading, by the method of this test."""
        if self.method == "uSNChanged":
            place = {"method": self.method, "invocation": place["invocation"], "usn": place["usn"]}
        return following.cursor(place, self.source._settings, ATTRIBUTES, self.source._settings.servers[0])

    def step(self) -> Changes:
        """What changed since the last step; the next one goes on from there."""
        found = self.ask(self.cursor)
        assert found.lost == ""
        assert found.method == self.method
        self.cursor = found.cursor
        return found

    def ask(self, cursor: Cursor) -> Changes:
        return asyncio.run(self.source.changes(ChangesRequest(cursor, ATTRIBUTES), now=NOW))

    def lost(self, cursor: Cursor | None = None) -> str:
        """Why the changes are lost; nothing else may count then."""
        found = self.ask(self.cursor if cursor is None else cursor)
        assert (dict(found.people), found.groups, found.gone, found.present) == ({}, (), frozenset(), None)
        return found.lost

    def says(self) -> str:
        session = self.session()
        try:
            return self.source._incremental(session)
        finally:
            session.close()


Follow = Callable[..., Follower]


@pytest.fixture
def lab(controller: samba.DomainController) -> Iterator[Lab]:
    with controller.administrator() as connection:
        yield Lab(connection)


@pytest.fixture
def follow(controller: samba.DomainController, lab: Lab, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Follow:
    """Follows the test's own unit of the domain (or, by ``overrides``, anything else)."""
    monkeypatch.setenv("READER_PASSWORD", company.PASSWORD)
    monkeypatch.setenv("ADMIN_PASSWORD", samba.ADMIN_PASSWORD)

    def opened(method: str = "DirSync", **overrides: object) -> Follower:
        settings = {
            "id": "corp",
            "servers": [controller.tls_url],
            "tls_ca": str(controller.ca),
            "tls_name": controller.tls_name,
            "bind_dn": company.READER,
            "bind_password": "env:READER_PASSWORD",
            "people_base": lab.base,
            "groups_base": lab.base,
            "page_size": 7,
            "retry_wait": "0",
            **overrides,
        }
        source = ActiveDirectorySource(ActiveDirectorySettings.model_validate(settings), folder=tmp_path)
        followers.append(Follower(source, method))
        followers[-1].begin()
        return followers[-1]

    followers: list[Follower] = []
    yield opened
    for follower in followers:
        asyncio.run(follower.source.close())


@pytest.fixture(scope="module")
def other_controller() -> Iterator[samba.DomainController]:
    """A domain controller of another domain that has the same name, account and units."""
    reader = [*samba.user("reader", company.SUFFIX), ("userAccountControl", "512"), samba.password(company.PASSWORD)]
    with samba.running([samba.unit("People"), samba.unit("Groups"), reader]) as running:
        yield running


def through(proxy: Proxy, follower: Follower) -> Follower:
    """The follower, with the proxy instead of its server."""
    follower.source._settings = follower.source._settings.model_copy(update={"servers": (proxy.url,)})
    return follower


def anchor(lab: Lab, name: str) -> str:
    lab.connection.search(name, "(objectClass=*)", "BASE", attributes=["objectGUID"])
    return str(uuid.UUID(bytes_le=lab.connection.response[0]["raw_attributes"]["objectGUID"][0]))


def change(lab: Lab, name: str, **values: str | list[str]) -> None:
    lab.connection.modify(
        name, {key: [("MODIFY_REPLACE", [value] if isinstance(value, str) else value)] for key, value in values.items()}
    )


def elsewhere(lab: Lab) -> str:
    """A unit that is not followed."""
    return Lab(lab.connection).base


def move(lab: Lab, name: str, to: str) -> str:
    """The new DN."""
    lab.connection.modify_dn(name, name.partition(",")[0], new_superior=to)
    return f"{name.partition(',')[0]},{to}"


def members(group: GroupEntry) -> set[str]:
    assert group.fault == ""
    assert len(group.members) == len(set(group.members))
    return {member.decode().lower() for member in group.members}


def lowered(*names: str) -> set[str]:
    return {name.lower() for name in names}


def dns(found: Changes) -> dict[str, str]:
    return {guid: entry.dn.lower() for guid, entry in found.people.items()}


def only_group(found: Changes) -> GroupEntry:
    (group,) = found.groups
    return group


@pytest.mark.parametrize("method", METHODS)
def test_d13_nothing_changed(follow: Follow, method: str) -> None:
    follower = follow(method)
    for _ in range(2):
        found = follower.step()
        assert (dict(found.people), found.groups, found.gone, found.present) == ({}, (), frozenset(), None)
        assert found.source_id == "corp"
        assert found.server == follower.source._settings.servers[0]
    assert {"method", "invocation", "usn"} <= follower.cursor.keys()


@pytest.mark.parametrize("method", METHODS)
def test_d13_a_person_comes_changes_moves_and_leaves(follow: Follow, lab: Lab, method: str) -> None:
    lab.connection.add(f"OU=inner,{lab.base}", ["organizationalUnit"])
    away = elsewhere(lab)
    follower = follow(method)
    name = lab.user("ann")
    guid = anchor(lab, name)
    (entry,) = follower.step().people.values()
    assert (entry.anchor, entry.dn.lower(), entry.attributes["mail"]) == (guid, name.lower(), (b"ann@firma.example",))
    assert entry.attributes.keys() <= {*ATTRIBUTES, "uid"}
    change(lab, name, mail="ann@work.example")
    assert follower.step().people[guid].attributes["mail"] == (b"ann@work.example",)
    change(lab, name, title=[])
    change(lab, name, mail=[])
    assert "mail" not in follower.step().people[guid].attributes
    change(lab, name, userAccountControl="546")
    assert follower.step().people[guid].attributes["useraccountcontrol"] == (b"546",)
    lab.connection.modify_dn(name, "CN=ann married")
    name = name.replace("CN=ann", "CN=ann married")
    assert dns(follower.step()) == {guid: name.lower()}
    name = move(lab, name, f"OU=inner,{lab.base}")
    assert dns(follower.step()) == {guid: name.lower()}
    name = move(lab, name, away)
    found = follower.step()
    assert (dict(found.people), found.gone) == ({}, {guid})
    name = move(lab, name, lab.base)
    assert follower.step().people.keys() == {guid}
    assert follower.step().people == {}


@pytest.mark.parametrize("method", METHODS)
def test_d13_an_entry_is_whole_as_in_a_full_reading(follow: Follow, lab: Lab, method: str) -> None:
    name = lab.user("ann", title="boss")
    follower = follow(method)
    change(lab, name, displayName="Ann")  # only this changed
    (entry,) = follower.step().people.values()
    assert entry.attributes["mail"] == (b"ann@firma.example",)
    assert entry.attributes["title"] == (b"boss",)


@pytest.mark.parametrize("method", METHODS)
def test_d13_who_no_longer_matches_the_filter_is_gone(follow: Follow, lab: Lab, method: str) -> None:
    name = lab.user("ann", title="staff")
    follower = follow(method, people_filter="(&(objectCategory=person)(title=staff))")
    change(lab, name, title="guest")
    found = follower.step()
    assert (dict(found.people), found.gone) == ({}, {anchor(lab, name)})
    change(lab, name, title="staff")
    assert follower.step().people.keys() == {anchor(lab, name)}


@pytest.mark.parametrize("method", METHODS)
def test_d13_a_deletion_shows_where_deleted_objects_do(follow: Follow, lab: Lab, method: str) -> None:
    name = lab.user("bob")
    lab.connection.delete(lab.user("an older tombstone"))
    guid = anchor(lab, name)
    seeing, ordinary = follow(method, **ADMINISTRATOR), follow(method)
    group = lab.group("staff", name)
    group_guid = anchor(lab, group)
    assert [found.groups[0].anchor for found in (seeing.step(), ordinary.step())] == [group_guid] * 2
    lab.connection.delete(name)
    lab.connection.delete(group)
    found = seeing.step()
    assert (found.gone, found.deletes) == ({guid, group_guid}, True)
    assert (dict(found.people), found.groups) == ({}, ())
    found = ordinary.step()
    assert (found.gone, found.deletes) == (frozenset(), False)


@pytest.mark.parametrize("method", METHODS)
def test_d13_whoever_may_list_deleted_objects_sees_deletions(
    follow: Follow, lab: Lab, controller: samba.DomainController, method: str
) -> None:
    lab.connection.delete(lab.user("an older tombstone"))
    account = lab.user("lister", userAccountControl="512", unicodePwd=f'"{company.PASSWORD}"'.encode("utf-16-le"))
    lab.connection.search(account, "(objectClass=*)", "BASE", attributes=["objectSid"])
    sid = sid_text(lab.connection.response[0]["raw_attributes"]["objectSid"][0])
    names = [lab.user(name) for name in ("bob", "cid")]
    guids = [anchor(lab, name) for name in names]
    follower = follow(method, bind_dn=account)
    controller.allow(DELETED_OBJECTS, f"(A;;RP;;;{sid})")  # reading the container shows nobody in it
    assert "deletions show only in a full reading" in follower.says()
    lab.connection.delete(names[0])
    found = follower.step()
    assert guids[0] not in found.gone
    assert not found.deletes
    controller.allow(DELETED_OBJECTS, f"(A;;LCRP;;;{sid})")
    assert follower.says() == "DirSync"
    lab.connection.delete(names[1])
    found = follower.step()
    assert found.gone >= {guids[1]}
    assert found.deletes


def sid_text(sid: bytes) -> str:
    parts = [int.from_bytes(sid[at : at + 4], "little") for at in range(8, len(sid), 4)]
    return "-".join(["S", str(sid[0]), str(int.from_bytes(sid[2:8], "big")), *map(str, parts)])


@pytest.mark.parametrize("method", METHODS)
def test_d13_a_group_changes_its_members_and_its_name(follow: Follow, lab: Lab, method: str) -> None:
    ann, bob = lab.user("ann"), lab.user("bob")
    away = elsewhere(lab)
    follower = follow(method)
    group = lab.group("staff", ann)
    found = follower.step()
    assert (dict(found.people), members(only_group(found))) == ({}, lowered(ann))
    guid = only_group(found).anchor
    lab.connection.modify(group, {"member": [("MODIFY_ADD", [bob])]})
    assert members(only_group(follower.step())) == lowered(ann, bob)
    lab.connection.modify(group, {"member": [("MODIFY_DELETE", [ann])]})
    assert members(only_group(follower.step())) == lowered(bob)
    lab.connection.modify(group, {"member": [("MODIFY_DELETE", [bob])]})
    assert members(only_group(follower.step())) == set()
    lab.connection.modify(group, {"member": [("MODIFY_ADD", [f"<SID={samba.STRANGER}>"])]})
    assert members(only_group(follower.step())) == lowered(samba.FOREIGN)
    lab.connection.modify_dn(group, "CN=crew")
    found = follower.step()
    assert (only_group(found).name, only_group(found).anchor) == ("crew", guid)
    move(lab, group.replace("CN=staff", "CN=crew"), away)
    found = follower.step()
    assert (found.groups, found.gone) == ((), {guid})


@pytest.mark.parametrize("method", METHODS)
def test_d13_a_group_beyond_one_range_is_whole(follow: Follow, lab: Lab, method: str) -> None:
    somebody = f"CN=c7,{CROWD}"
    crowded = {"people_base": CROWD, "groups_base": CROWD, "people_filter": "(objectClass=contact)", "page_size": 1000}
    follower = follow(method, **crowded)
    lab.connection.modify(CROWD_GROUP, {"member": [("MODIFY_DELETE", [somebody])]})
    try:
        found = members(only_group(follower.step()))
        assert len(found) == CROWD_SIZE - 1 > 1500
        assert somebody.lower() not in found
    finally:
        lab.connection.modify(CROWD_GROUP, {"member": [("MODIFY_ADD", [somebody])]})
    assert len(members(only_group(follower.step()))) == CROWD_SIZE


@pytest.mark.parametrize("method", METHODS)
def test_d13_a_changed_primary_group_shows_in_both_groups(follow: Follow, lab: Lab, method: str) -> None:
    ann, bob = lab.user("ann"), lab.user("bob")
    old, new = lab.group("old", ann, bob), lab.group("new", ann)
    follower = follow(method)

    def told() -> dict[str, set[str]]:
        return {found.name: members(found) for found in follower.step().groups}

    def primary(person: str, group: str) -> dict[str, set[str]]:
        lab.connection.search(group, "(objectClass=*)", "BASE", attributes=["primaryGroupToken"])
        token = lab.connection.response[0]["raw_attributes"]["primaryGroupToken"][0].decode()
        change(lab, person, primaryGroupID=token)
        return told()

    assert primary(ann, old)["old"] == lowered(ann, bob)
    # `member` of the new group loses her, that of the old one gains her; she is in both.
    assert primary(ann, new) == {"old": lowered(ann, bob), "new": lowered(ann)}
    assert primary(bob, old)["old"] == lowered(ann, bob)
    change(lab, ann, title="boss")
    assert told()["new"] == lowered(ann)
    lab.connection.modify(old, {"member": [("MODIFY_DELETE", [ann])]})
    assert told() == {"old": lowered(bob)}  # who is there only by being primary, too


@pytest.mark.parametrize("method", METHODS)
def test_d13_somebody_new_is_in_the_primary_group_that_did_not_change(
    follow: Follow, lab: Lab, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def own(group: GroupEntry) -> set[str]:
        return {name for name in members(group) if name.endswith(f",{lab.base}".lower())}

    follower = follow(method, groups_base=company.SUFFIX)
    ann = lab.user("ann")
    group = only_group(follower.step())
    assert group.dn.lower() == DOMAIN_USERS.lower()
    assert own(group) == lowered(ann)
    for number in range(9):  # more than the page of 7
        lab.user(f"more{number}")
    assert len(own(only_group(follower.step()))) == 10
    monkeypatch.setattr(active_directory, "MOST", 3)
    lab.user("last")
    group = only_group(follower.step())
    assert group.fault == "the people whose primary group it is were not read: more than 3 entries"


@pytest.mark.parametrize("method", METHODS)
def test_d13_groups_that_list_somebody_who_comes_into_view_are_told_again(
    follow: Follow, lab: Lab, method: str
) -> None:
    lab.connection.add(f"OU=staff,{lab.base}", ["organizationalUnit"])
    ann, odd = lab.user("ann"), lab.user("bob (x) *", sAMAccountName=uuid.uuid4().hex[:8])
    group = lab.group("crew", ann, odd)
    inner = lab.group("inner")
    outer = lab.group("outer", inner)
    enabled = "(&(objectCategory=person)(!(userAccountControl:1.2.840.113556.1.4.803:=2)))"
    follower = follow(method, people_base=f"OU=staff,{lab.base}", people_filter=enabled)
    moved = [move(lab, name, f"OU=staff,{lab.base}") for name in (ann, odd)]
    found = follower.step()
    assert set(dns(found).values()) == lowered(*moved)
    assert (only_group(found).dn.lower(), members(only_group(found))) == (group.lower(), lowered(*moved))
    change(lab, moved[0], userAccountControl="546")
    assert follower.step().gone == {anchor(lab, moved[0])}
    change(lab, moved[0], userAccountControl="544")
    found = follower.step()
    assert found.people.keys() == {anchor(lab, moved[0])}
    assert members(only_group(found)) == lowered(*moved)
    lab.connection.modify_dn(inner, "CN=renamed")
    groups = {entry.name: members(entry) for entry in follower.step().groups}
    assert groups == {"renamed": set(), "outer": lowered(inner.replace("CN=inner", "CN=renamed"))}
    assert outer.startswith("CN=outer")


def test_d13_a_unit_that_moves_takes_everybody_along(follow: Follow, lab: Lab) -> None:
    unit = f"OU=staff,{lab.base}"
    lab.connection.add(unit, ["organizationalUnit"])
    lab.connection.add(f"CN=ann,{unit}", ["user"], {"sAMAccountName": f"ann{uuid.uuid4().hex[:8]}"})
    empty = f"OU=empty,{lab.base}"
    lab.connection.add(empty, ["organizationalUnit"])
    follower = follow()
    change(lab, unit, description="where people are")
    assert follower.step().people == {}
    lab.connection.modify_dn(empty, "OU=still empty")
    assert follower.step().people == {}
    lab.connection.modify_dn(unit, "OU=team")
    assert "OU=team" in follower.lost()
    assert "renamed or moved" in follower.lost()
    follower.begin()
    move(lab, f"OU=team,{lab.base}", elsewhere(lab))
    assert "renamed or moved" in follower.lost()


def test_d13_by_numbers_a_changed_unit_may_have_moved(follow: Follow, lab: Lab) -> None:
    unit = f"OU=staff,{lab.base}"
    follower = follow("uSNChanged")
    lab.connection.add(unit, ["organizationalUnit"])
    lab.connection.add(f"CN=ann,{unit}", ["user"], {"sAMAccountName": f"ann{uuid.uuid4().hex[:8]}"})
    assert len(follower.step().people) == 1  # the unit is new: nobody was below it before
    change(lab, unit, description="x")  # it shows that it changed, not what
    assert "may have been renamed or moved" in follower.lost()


def test_d13_a_cookie_that_is_none_is_lost(follow: Follow, lab: Lab) -> None:
    follower = follow()
    lab.user("ann")
    for cookie in ("%%%", "", base64.b64encode(b"x").decode(), base64.b64encode(b"MSDS" + b"\xff" * 100).decode()):
        assert follower.lost({**follower.cursor, "cookie": cookie}) != ""
    for wrong in ({"method": "syncrepl"}, {"usn": "7"}, {"usn": 0}, {"invocation": ""}, {"method": "uSNChanged"}):
        assert "no position" in follower.lost({**follower.cursor, **wrong})


def test_d13_a_cookie_of_nothing_hurts_nobody(follow: Follow, lab: Lab) -> None:
    follower = follow()
    guid = anchor(lab, lab.user("ann"))
    # Samba takes zeros for a cookie that knows nothing: everything "changed", and is looked at as it is.
    found = follower.ask({**follower.cursor, "cookie": base64.b64encode(bytes(100)).decode()})
    assert found.lost or found.people.keys() == {guid}
    assert guid not in found.gone


@pytest.mark.parametrize("method", METHODS)
def test_d13_a_cursor_of_another_domain_controller_is_lost(
    follow: Follow, lab: Lab, other_controller: samba.DomainController, method: str
) -> None:
    lab.user("ann")
    follower = follow(method)
    there = follow(method, servers=[other_controller.tls_url], tls_ca=str(other_controller.ca))
    assert there.step().people == {}
    assert "is not among `servers`" in there.lost(follower.cursor)
    reason = there.lost({**follower.cursor, "server": there.cursor["server"]})  # one name for both
    assert "another domain controller" in reason
    assert follower.cursor["invocation"] in reason
    assert there.cursor["invocation"] in reason
    assert "another domain controller" in follower.lost({**there.cursor, "server": follower.cursor["server"]})


def test_d13_not_even_a_foreign_cookie_under_our_own_name_hurts_anybody(
    follow: Follow, lab: Lab, other_controller: samba.DomainController
) -> None:
    guid = anchor(lab, lab.user("ann"))
    follower = follow()
    there = follow(servers=[other_controller.tls_url], tls_ca=str(other_controller.ca))
    found = follower.ask({**follower.cursor, "cookie": there.cursor["cookie"]})
    assert found.lost or found.people.keys() == {guid}  # it knows of nothing here, so that everything is told
    assert guid not in found.gone


@pytest.mark.parametrize("method", METHODS)
def test_d13_a_domain_controller_put_back_to_an_earlier_state_is_lost(follow: Follow, method: str) -> None:
    follower = follow(method)
    cursor = {**follower.cursor, "usn": follower.cursor["usn"] + 1_000_000}
    assert "put back to an earlier state" in follower.lost(cursor)
    cursor = {**follower.cursor, "invocation": uuid.uuid4().hex}
    assert "before it was restored" in follower.lost(cursor)


@pytest.mark.parametrize("method", METHODS)
def test_d13_too_many_changes_are_lost(follow: Follow, lab: Lab, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    follower = follow(method)
    for module in (dirsync, domain_changes, reread):
        monkeypatch.setattr(module, "MOST", 2)
    for name in ("ann", "bob"):
        lab.user(name)
    assert len(follower.step().people) == 2
    for name in ("cid", "dan", "eve"):
        lab.user(name)
    assert "more than 2" in follower.lost()


@pytest.mark.parametrize("method", METHODS)
def test_d13_a_connection_cut_at_any_answer_is_lost_never_half(
    follow: Follow, lab: Lab, controller: samba.DomainController, method: str
) -> None:
    ann = lab.user("ann")
    follower = follow(method)
    change(lab, ann, title="boss")
    lab.group("staff", ann)
    lab.connection.add(f"OU=empty,{lab.base}", ["organizationalUnit"])
    whole = follower.ask(follower.cursor)
    assert (len(whole.people), len(whole.groups), len(whole.gone)) == (1, 1, 1)
    answers = 0
    while True:
        with between(389, Fault("cut", answers, 5, every=True), host=controller.address) as proxy:
            broken = through(proxy, follow(method, servers=[controller.url], plaintext=True))
            found = broken.ask({**follower.cursor, "server": proxy.url})
        if not found.lost:
            break
        assert (dict(found.people), found.groups, found.gone) == ({}, (), frozenset())
        answers += 1
    assert answers >= 7
    assert (found.people, found.groups, found.gone) == (whole.people, whole.groups, whole.gone)


def test_d13_what_changes_without_its_object_being_told_is_not_followed(
    follow: Follow, monkeypatch: pytest.MonkeyPatch
) -> None:
    for filter_ in (
        "(&(objectCategory=person)(memberOf=cn=staff,dc=x))",
        "(memberOf:1.2.840.113556.1.4.1941:=cn=staff,dc=x)",
        "(!(1.2.840.113556.1.2.102=cn=staff,dc=x))",
        "(manager:1.2.840.113556.1.4.1941:=cn=boss,dc=x)",
        "(ou:dn:=Staff)",
        "(lastLogon>=1)",
    ):
        follower = follow()
        place = {name: follower.cursor[name] for name in ("method", "invocation", "usn", "cookie")}
        follower.source._settings = follower.source._settings.model_copy(update={"people_filter": filter_})
        assert follower.says().startswith("none (what a filter or a mapping looks at changes without")
        assert "is not what it was when the cursor was made" in follower.lost()
        assert "without its object being reported" in follower.lost(follower.as_cursor(place))
    for attributes, wrong in ((("mail", "memberof"), "memberof"), (("mail", "nsaccountlock", "shadowexpire"), "")):
        monkeypatch.setattr(sys.modules[__name__], "ATTRIBUTES", attributes)
        follower = follow()
        assert wrong in follower.lost()
        assert bool(follower.lost()) is bool(wrong)


def test_d13_another_anchor_is_not_followed(follow: Follow) -> None:
    follower = follow()
    settings = follower.source._settings.model_copy(update={"anchor_attribute": "employeeID"})
    follower.source._settings = settings
    assert follower.says() == "none (anchor_attribute is not objectGUID, so that a deleted object is not recognised)"
    session = follower.session()
    assert follower.source._position(session) is None
    session.close()


def test_d13_where_dirsync_is_refused_the_numbers_are_followed(
    follow: Follow, controller: samba.DomainController
) -> None:
    # The answers: root entry, schema, NTDS settings, deleted objects, DirSync.
    with between(389, Fault("code", 4, 53, every=True), host=controller.address) as proxy:
        follower = through(proxy, follow(servers=[controller.url], plaintext=True))
        said = follower.says()
    assert said.startswith("uSNChanged (DirSync: result 53 (unwilling to perform)")
    assert said.endswith("deletions show only in a full reading: the account does not see deleted objects)")


def test_d13_a_server_that_cannot_be_followed_says_why(follow: Follow, controller: samba.DomainController) -> None:
    with between(389, Fault("code", 0, 52, every=True), host=controller.address) as proxy:
        follower = through(proxy, follow(servers=[controller.url], plaintext=True))
        assert follower.says().startswith("none (its root entry was not read")


def test_d13_a_full_reading_a_change_and_a_look(follow: Follow, lab: Lab) -> None:
    ann, bob, cid = (lab.user(name) for name in ("ann", "bob", "cid"))
    group = lab.group("staff", ann, bob)
    anchors = {name: anchor(lab, name) for name in (ann, bob, cid)}
    lab.connection.delete(lab.user("an older tombstone"))
    follower = follow(**ADMINISTRATOR)

    async def story() -> None:
        source = follower.source
        reading = await source.read(ReadRequest((group,), ATTRIBUTES), now=NOW)
        assert reading.people_complete
        assert reading.cursor is not None
        lab.connection.delete(bob)
        change(lab, cid, mail="cid@work.example")
        found = await source.changes(ChangesRequest(reading.cursor, ATTRIBUTES), now=NOW)
        assert (found.lost, found.method, found.deletes) == ("", "DirSync", True)
        assert found.people.keys() == {anchors[cid]}
        assert found.gone == {anchors[bob]}
        look = await source.look(LookRequest(tuple(anchors.values()), (group, DOMAIN_USERS), ATTRIBUTES), now=NOW)
        assert look.unknown == ""
        assert look.people.keys() == {anchors[ann], anchors[cid]}
        assert look.absent == {anchors[bob]}
        assert members(look.groups[group]) == lowered(ann)
        assert lowered(ann, cid) <= members(look.groups[DOMAIN_USERS])  # by their primary group
        assert found.cursor["server"] == reading.cursor["server"]
        again = await source.changes(ChangesRequest(found.cursor, ATTRIBUTES), now=NOW)
        assert (again.lost, again.people, again.gone) == ("", {}, frozenset())

    asyncio.run(story())


async def test_d13_check_says_how_it_is_followed(open_samba: OpenSource) -> None:
    source = open_samba()
    lines = (await source.check(ReadRequest(("design",), ATTRIBUTES))).lines
    await source.close()
    assert any(": incremental: DirSync" in line.what for line in lines)
