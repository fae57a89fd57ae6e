"""Membership in memory (D2, D6)."""

from connector.directory.base import Entry
from connector.directory.groups import GroupEntry, MembershipGraph, PeopleIndex, Unresolved, group_entry

PEOPLE = {
    "a1": Entry("a1", "uid=anna,ou=p,dc=x", {"uid": [b"anna"]}),
    "b1": Entry("b1", "cn=Bąk\\2C Jan,ou=p,dc=x", {"uid": [b"Jan"]}),
    "c1": Entry("c1", "uid=celina,ou=p,dc=x", {"uid": [b"celina"]}),
}


def group(
    name: str, *members: str, uids: tuple[str, ...] = (), kind: str = "posixGroup", **more: list[bytes]
) -> GroupEntry:
    attributes = {"objectclass": [kind.encode()], "cn": [name.encode()], "member": [m.encode() for m in members]}
    attributes["memberuid"] = [uid.encode() for uid in uids]
    return group_entry(Entry(f"g-{name}", f"cn={name},ou=g,dc=x", {**attributes, **more}))


def graph(*groups: GroupEntry) -> MembershipGraph:
    return MembershipGraph(groups, PeopleIndex(PEOPLE))


def test_d6_members_in_every_writing() -> None:
    root = group("g", "UID=anna, OU=P, dc=X", "cn=bąk\\, jan,ou=p,dc=x", uids=("CELINA",))
    view = graph(root).view("g", root)
    assert view.members == {"a1", "b1", "c1"}
    assert view.paths == {}
    assert view.unresolved == frozenset()


def test_d6_unique_member_with_and_without_suffix() -> None:
    values = [b"uid=anna,ou=p,dc=x#'0101'B", b"uid=celina,ou=p,dc=x"]
    root = group("g", uniquemember=values)
    assert graph(root).view("g", root).members == {"a1", "c1"}


def test_d6_nesting_with_a_cycle_ends_and_keeps_the_shortest_path() -> None:
    top = group("top", "cn=mid,ou=g,dc=x", "uid=anna,ou=p,dc=x")
    mid = group("mid", "CN=low,ou=g,dc=x", "uid=celina,ou=p,dc=x", "uid=anna,ou=p,dc=x")
    low = group("low", "cn=top,ou=g,dc=x", "cn=bąk\\, jan,ou=p,dc=x", "uid=celina,ou=p,dc=x")
    view = graph(top, mid, low).view("top", top)
    assert view.members == {"a1", "b1", "c1"}
    assert view.paths == {"c1": ("top", "mid"), "b1": ("top", "mid", "low")}


def test_d6_what_names_nobody_is_unresolved_by_itself() -> None:
    inner = group("inner", "cn=S-1-5-21,cn=ForeignSecurityPrincipals,dc=y", uids=("ghost",))
    root = group("g", "uid=anna,ou=p,dc=x", "cn=inner,ou=g,dc=x", "not a dn")
    view = graph(root, inner).view("g", root)
    assert view.members == {"a1"}
    assert view.unresolved == {"cn=S-1-5-21,cn=ForeignSecurityPrincipals,dc=y", "memberUid=ghost", "not a dn"}


def test_d6_a_deep_chain_needs_no_recursion() -> None:
    chain = [group(f"g{n}", f"cn=g{n + 1},ou=g,dc=x") for n in range(3000)]
    end = group("g3000", "uid=anna,ou=p,dc=x")
    built = graph(*chain, end)
    assert built.view("g0", chain[0]).members == {"a1"}
    assert len(built.view("g0", chain[0]).paths["a1"]) == 3001


def test_d6_two_people_whose_names_compare_equal_are_nobody() -> None:
    people = {n: Entry(n, name, {}) for n, name in (("1", "cn=Anna,dc=x"), ("2", "CN=ANNA ,dc=x"))}
    root = group("g", "cn=anna,dc=x", "cn=Anna,dc=x")
    view = MembershipGraph([root], PeopleIndex(people)).view("g", root)
    assert view.members == {"1"}
    assert view.unresolved == {"cn=anna,dc=x"}


def test_d2_a_group_is_found_by_dn_name_or_anchor() -> None:
    built = graph(group("design"), group("build"))
    for reference in ("CN=Design, ou=g,dc=x", "design", "anchor:G-design", "DESIGN"):
        found = built.find(reference)
        assert isinstance(found, GroupEntry), reference
        assert found.name == "design"
    missing = built.find("painters")
    assert isinstance(missing, Unresolved)
    assert missing.missing


def test_d2_a_name_that_two_groups_have_is_not_missing_but_not_known() -> None:
    twin = group_entry(Entry("g2", "cn=design,ou=old,dc=x", {"cn": [b"design"]}))
    found = graph(group("design"), twin).find("design")
    assert isinstance(found, Unresolved)
    assert not found.missing
    assert "cn=design,ou=old,dc=x" in found.reason


def test_d1_a_group_that_must_have_members_and_shows_none_is_not_proved() -> None:
    hidden = group("h", kind="groupOfNames")
    root = group("g", "cn=h,ou=g,dc=x")
    assert "may not read its members" in graph(root, hidden).fault(root)
    assert graph(group("p")).fault(group("p")) == ""


def test_d1_a_range_of_members_is_not_proved() -> None:
    part = group("g", **{"member;range=0-1499": [b"uid=anna,ou=p,dc=x"]})
    assert "only a part" in graph(part).fault(part)
