"""What every survey promises, alike on LDIF, slapd, Samba AD and a SCIM provider: people, groups, why not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from connector.directory.base import CheckLine
from connector.directory.sources import places, survey
from connector.directory.survey import Places, Survey
from ledger.errors import Unavailable
from tests.contract.directory.conftest import CROWD, CROWD_SIZE, OpenSource
from tests.parts import company

SIZES = {"design": 10, "build": 4, "site": 8, "crane": 6, "partners": 2, "Żuraw, dźwig": 4, "unix": 6, "signers": 3}


async def surveyed(open_any: OpenSource, folder: Path, **overrides: object) -> Survey:
    source: Any = open_any(**overrides)
    try:
        return await survey(source._settings, folder=folder)
    finally:
        await source.close()


async def where(open_any: OpenSource, folder: Path, **overrides: object) -> Places:
    source: Any = open_any(**overrides)
    try:
        return await places(source._settings, folder=folder)
    finally:
        await source.close()


async def test_groups_are_shown_with_their_members(open_any: OpenSource, tmp_path: Path) -> None:
    source: Any = open_any()
    await source.close()
    if source._settings.kind == "scim_inbox":
        with pytest.raises(ValueError, match="is an inbox"):
            await survey(source._settings, folder=tmp_path)
        return
    found = await survey(source._settings, folder=tmp_path)
    sizes = {group.name: group.members for group in found.groups}
    assert len(sizes) >= 6
    assert sizes == {name: SIZES[name] for name in sizes}
    assert [group.name.casefold() for group in found.groups] == sorted(name.casefold() for name in sizes)
    assert not found.cut


async def test_a_server_shows_its_first_page_of_people(open_ldap: OpenSource, tmp_path: Path) -> None:
    found = await surveyed(open_ldap, tmp_path)
    assert CheckLine(True, f"{company.PEOPLE}: the first page shows 7 people, and there are more") in found.lines
    whole = await surveyed(open_ldap, tmp_path, page_size=1000)
    assert CheckLine(True, f"{company.PEOPLE}: the first page shows 40 people, and no more") in whole.lines
    assert any("38 people mapped, 2 disabled" in line.what or "people mapped" in line.what for line in whole.lines)


async def test_a_controller_gives_members_in_ranges(open_samba: OpenSource, tmp_path: Path) -> None:
    [crowd] = (await surveyed(open_samba, tmp_path, groups_base=CROWD)).groups
    assert crowd.members is not None
    assert 0 < crowd.members <= CROWD_SIZE
    assert crowd.more is (crowd.members < CROWD_SIZE)
    assert crowd.size == f"{crowd.members}{'+' if crowd.more else ''} members"


@pytest.mark.parametrize(
    ("overrides", "words", "fix"),
    [
        ({"people_base": f"ou=Nobody,{company.SUFFIX}"}, "no such base", "correct the base"),
        ({"people_filter": "(uid=nobody)"}, "no entry is a person", "people_filter"),
        ({"groups_base": f"ou=Nowhere,{company.SUFFIX}"}, "no such base", "correct the base"),
    ],
)
async def test_what_is_wrong_is_said_with_its_fix(
    open_ldap: OpenSource, tmp_path: Path, overrides: dict[str, object], words: str, fix: str
) -> None:
    found = await surveyed(open_ldap, tmp_path, **overrides)
    assert not found.ok
    [line] = [line for line in found.lines if words in line.what]
    assert fix in line.fix


@pytest.mark.parametrize("ask", [surveyed, where])
async def test_a_server_that_does_not_let_us_in_says_why(open_ldap: OpenSource, tmp_path: Path, ask: Any) -> None:
    with pytest.raises(Unavailable) as refused:
        await ask(open_ldap, tmp_path, bind_dn=f"cn=other,{company.SUFFIX}")
    assert "bind failed: result 49 (invalid credentials)" in refused.value.what
    assert refused.value.next_step == "correct `bind_dn` and `bind_password`"


async def test_the_next_server_is_asked_when_one_does_not_answer(
    open_ldap: OpenSource, tmp_path: Path, server: Any
) -> None:
    found = await surveyed(open_ldap, tmp_path, servers=["ldaps://localhost:1", server.tls_url])
    assert [line.ok for line in found.lines[:2]] == [False, True]
    assert found.groups


async def test_a_server_says_where_its_people_and_groups_are(open_ldap: OpenSource, tmp_path: Path) -> None:
    assert await where(open_ldap, tmp_path) == Places((company.SUFFIX,), company.PEOPLE, company.GROUPS)


async def test_a_controller_has_people_and_groups_anywhere(open_samba: OpenSource, tmp_path: Path) -> None:
    found = await where(open_samba, tmp_path)
    assert found.contexts == (found.people,) == (found.groups,)
    assert found.people.lower() == company.SUFFIX


async def test_a_provider_that_does_not_answer_is_no_survey(open_scim: OpenSource, tmp_path: Path) -> None:
    found = await surveyed(open_scim, tmp_path, url="http://127.0.0.1:1/scim", attempts=1)
    assert not found.ok
    assert found.groups == ()
