"""Edges and paths (E3): what is broken, what stands, what is unknown; all paths, and what is learnt of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest

from connector.reconcile.evidence.edges import Paths, Person, Weak, names_of
from connector.reconcile.evidence.learning import learnt
from connector.reconcile.plan.recorded import UNREAD, Edges, Recorded

ANNA = Person("anna", frozenset({"a1"}))
DN, OLD, INNER = "uid=anna,ou=people", "uid=old,ou=people", "cn=inner,ou=groups"


@dataclass
class Group:
    """A listing by hand: ``hidden``: names that nobody answers to."""

    anchor: str
    people: frozenset[str] = frozenset()
    groups: Mapping[str, str] = field(default_factory=dict)
    hidden: tuple[str, ...] = ()
    logins: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    left: frozenset[str] | None = None

    @property
    def dn(self) -> str:
        return f"cn={self.anchor},ou=groups"

    @property
    def unresolved(self) -> Mapping[str, str]:
        return {name: name.upper() for name in self.hidden}


def edges(direct: Mapping[str, set[str]], inner: Mapping[str, Mapping[str, set[str]]] | None = None) -> Edges:
    found = {("d", "anna"): {name: frozenset(groups) for name, groups in direct.items()}}
    for listed, names in (inner or {}).items():
        found["d", f"group:{listed}"] = {name: frozenset(groups) for name, groups in names.items()}
    return found


def holding(known: Edges, *groups: Group, person: Person = ANNA, cause: str = "") -> Weak | None:
    recorded = Recorded(edges=known)
    return Paths("d", {group.anchor: group for group in groups}, recorded).holding(person, "outer", cause)


FLAT = edges({DN: {"outer"}})
NESTED = edges({DN: {"inner"}}, {"inner": {INNER: {"outer"}}})
UNREAD_OLD = {("d", UNREAD): {OLD: frozenset({"outer"})}}
TWO = edges({DN: {"inner", "second"}}, {"inner": {INNER: {"outer"}}, "second": {"cn=second": {"outer"}}})


@pytest.mark.parametrize(
    ("known", "groups", "value"),
    [
        # the mapped group itself
        (FLAT, [Group("outer", hidden=(DN,))], DN),
        (FLAT, [Group("outer")], ""),
        (FLAT, [Group("outer", hidden=(OLD,))], OLD),  # it came since, and may be theirs
        (FLAT | UNREAD_OLD, [Group("outer", hidden=(OLD,))], ""),  # it was there before
        (FLAT, [Group("outer", frozenset({"b2"}))], ""),  # the value means somebody else now
        (edges({"memberUid=anna": {"outer"}}), [Group("outer", hidden=("memberUid=anna",))], "memberUid=anna"),
        (edges({DN: {"outer"}, OLD: {"outer"}}), [Group("outer", hidden=(OLD,))], OLD),  # renamed twice
        # through another group
        (NESTED, [Group("outer", groups={INNER: "inner"}), Group("inner", hidden=(DN,))], DN),
        (NESTED, [Group("outer", groups={INNER: "inner"}), Group("inner")], ""),  # removed from the inner one only
        (NESTED, [Group("outer", hidden=(INNER,))], INNER),  # the inner one is hidden
        (NESTED, [Group("outer", hidden=(INNER,)), Group("inner", frozenset({"a1"}))], INNER),  # renamed
        (NESTED, [Group("outer", hidden=(INNER,)), Group("inner")], ""),  # renamed, and removed from it
        (NESTED, [Group("outer", hidden=(OLD,))], OLD),  # the inner one is hidden, under a name that came since
        (NESTED, [Group("outer", hidden=(OLD,)), Group("inner")], ""),  # it is not: it was read
        (NESTED, [Group("outer")], ""),
        (NESTED, [Group("outer"), Group("inner", frozenset({"a1"}))], ""),  # no longer inside
        (NESTED, [Group("outer", groups={INNER: "another"}), Group("another")], ""),  # its DN is another group's now
        (NESTED, [Group("outer", groups={INNER: "another"}), Group("another", hidden=(DN,))], DN),  # made anew
        (edges({OLD: {"before"}}), [Group("outer", hidden=(OLD,))], OLD),
        (edges({OLD: {"before"}}), [Group("outer")], ""),
        # two paths: one unbroken one is enough
        (TWO, [Group("outer", groups={INNER: "inner"}, hidden=("cn=second",)), Group("inner")], "cn=second"),
        (TWO, [Group("outer", groups={INNER: "inner"}), Group("inner")], ""),
    ],
)
def test_e3_a_membership_holds_while_one_known_path_is_unbroken(known: Edges, groups: list[Group], value: str) -> None:
    found = holding(known, *groups)
    assert (found.value.lower() if found else "") == value.lower()


TOLD: list[tuple[Edges, list[Group], bool]] = [
    (FLAT, [Group("outer", left=frozenset())], True),  # lost, nobody took them out
    (FLAT, [Group("outer", left=frozenset({DN}))], False),
    (FLAT, [Group("outer", left=frozenset({OLD}))], True),
    (NESTED, [Group("outer", left=frozenset()), Group("inner", frozenset({"a1"}), left=frozenset())], True),
    (NESTED, [Group("outer", left=frozenset({INNER})), Group("inner", left=frozenset())], False),
    (NESTED, [Group("outer", groups={INNER: "inner"}, left=frozenset({DN})), Group("inner", left=frozenset())], True),
    (NESTED, [Group("outer", groups={INNER: "inner"}, left=frozenset()), Group("inner", left=frozenset({DN}))], False),
    # the mapped group was made anew: no path is known, and only what is told of the new one counts
    (edges({DN: {"before"}}), [Group("outer", left=frozenset())], True),
    (edges({DN: {"before"}}), [Group("outer", left=frozenset({DN}))], False),
]


@pytest.mark.parametrize(("known", "groups", "holds"), TOLD)
def test_g6_where_leaving_is_told_only_what_was_told_breaks_an_edge(
    known: Edges, groups: list[Group], holds: bool
) -> None:
    shown = Person("anna", frozenset({"a1"}), names=frozenset({DN}))
    found = holding(known, *groups, person=shown, cause=f"{DN} → design → mapping design")
    assert (found is not None) is holds
    assert found is None or found.lost


def test_e3_a_circle_of_groups_ends() -> None:
    known = edges({DN: {"b"}}, {"b": {"cn=b": {"outer", "c"}}, "c": {"cn=c": {"b"}}, "outer": {"cn=outer": {"c"}}})
    assert holding(known, Group("outer", hidden=("cn=b",))) is not None
    assert holding(known, Group("outer", groups={"cn=b": "b"}), Group("b", groups={"cn=c": "c"}), Group("c")) is None


def test_e1_a_value_that_is_the_name_of_who_left_the_scope_visibly_is_no_doubt() -> None:
    moved = Person("anna", frozenset({"a1"}), names_of("uid=anna,ou=People", ("anna",)))
    assert holding(FLAT, Group("outer", hidden=(DN,)), person=moved) is None
    assert holding(FLAT, Group("outer", hidden=(DN,))) is not None


def test_e3_without_any_known_edge_the_cause_of_the_membership_says_what_it_rested_on() -> None:
    cause = f"{DN} → design / inner → mapping design"
    assert holding({}, Group("outer", hidden=(DN,)), cause=cause) == Weak(DN.upper(), "cn=outer,ou=groups")
    assert holding({}, Group("outer", hidden=(INNER,)), cause=cause) is not None
    assert holding({}, Group("outer", hidden=("memberUid=anna",)), cause=cause) is not None
    assert holding({}, Group("outer", hidden=(OLD,)), cause=cause) is None
    assert holding({}, Group("outer", hidden=(OLD,)), cause="") is not None  # with no name known it is a doubt


READ = [
    Group("outer", frozenset({"b2"}), {INNER: "inner"}),
    Group("inner", frozenset({"a1"}), logins={"a1": ("memberUid=a", "memberUid=anna")}),
]


def learn(before: Edges, *groups: Group, settled: bool = True) -> dict[tuple[str, str], Mapping[str, frozenset[str]]]:
    people = {"a1": ("anna", "uid=Anna,ou=people")}
    return learnt("d", {group.anchor: group for group in groups}, people, before, lambda _: settled)


def test_e3_every_name_of_whoever_is_linked_is_learnt_and_of_groups_inside_others() -> None:
    assert learn({}, *READ) == {
        ("d", "anna"): {name: frozenset({"inner"}) for name in (DN, "memberUid=a", "memberUid=anna")},
        ("d", "group:inner"): {INNER: frozenset({"outer"})},
    }
    assert learn(learn({}, *READ), *READ) == {}


@pytest.mark.parametrize(
    ("groups", "settled", "kept"),
    [
        ([Group("outer")], True, {"inner"}),  # the inner group was not read: unknown
        ([Group("outer"), Group("inner", hidden=(DN,))], True, {"inner"}),
        ([Group("outer"), Group("inner")], True, set()),
        ([Group("outer"), Group("inner")], False, {"inner"}),  # the second reading judges by what the first did
    ],
)
def test_e3_what_is_not_broken_or_still_judged_stays_known(groups: list[Group], settled: bool, kept: set[str]) -> None:
    before = edges({DN: {"inner"}})
    found = learn(before, *groups, settled=settled).get(("d", "anna"), before["d", "anna"])
    assert found.get(DN, frozenset()) == kept


def test_e3_a_shown_entry_is_meant_by_no_name_that_nobody_answers_to() -> None:
    shown = Person("anna", frozenset({"a1"}), names=frozenset({DN}))
    assert holding(FLAT, Group("outer", hidden=(OLD,)), person=shown) is None


@pytest.mark.parametrize(
    ("known", "missing", "remembered"),
    [
        (FLAT, {"anna"}, False),  # it may be hers as long as she is missing
        (FLAT, set(), True),
        (FLAT, None, False),  # who is missing is not known
        (edges({DN: {"outer"}, OLD: {"outer"}}), {"anna"}, True),  # it is hers
        (FLAT | UNREAD_OLD, {"anna"}, True),
        (NESTED, set(), False),  # the inner group was not read
    ],
)
def test_e3_a_name_that_came_since_is_not_taken_for_an_old_one_while_somebody_is_missing(
    known: Edges, missing: set[str] | None, remembered: bool
) -> None:
    read = {"outer": Group("outer", hidden=(OLD,))}
    now = {**known, **learnt("d", read, {}, known, lambda _: True, missing)}
    assert (OLD in now.get(("d", UNREAD), {})) is remembered
    assert holding(now, *read.values()) is not None or remembered
