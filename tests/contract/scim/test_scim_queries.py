"""Lists, filters, pages and chosen attributes of the inbox (S-R46 to S-R53)."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from ledger.store import inbox
from tests.contract.scim.conftest import ENTERPRISE, USER, Provider


@pytest.fixture
async def staff(provider: Provider) -> Provider:
    """Three people, made a second apart."""
    await provider.person(
        "Anna@x.pl",
        externalId="jyoung",
        title="CTO",
        name={"familyName": "Łoś"},
        emails=[{"value": "anna@x.pl", "type": "work", "primary": True}, {"value": "a@home.pl", "type": "home"}],
        **{ENTERPRISE: {"department": "CAD", "manager": {"value": "M1"}}},
    )
    await provider.person("bo@x.pl", active=False, emails=[{"value": "BO@x.pl", "type": "home"}])
    await provider.person("cy@x.pl", externalId="true", title="cfo", nickName='C"y')
    return provider


A, B, C = "Anna@x.pl", "bo@x.pl", "cy@x.pl"


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ('userName eq "ANNA@X.PL"', [A]),
        ('USERNAME EQ "anna@x.pl"', [A]),
        (f'{USER}:userName eq "anna@x.pl"', [A]),
        ("externalId eq jyoung", [A]),
        ('externalId eq "JYOUNG"', []),
        ("externalId eq true", [C]),
        ('emails eq "bo@X.pl"', [B]),
        ('emails.value eq "bo@x.pl"', [B]),
        ('emails[type eq "work"].value eq "ANNA@x.pl"', [A]),
        ('emails[type eq "home"].value eq "anna@x.pl"', []),
        ('emails[type eq "work"] eq "ANNA@x.pl"', [A]),  # c12: as Microsoft prints it
        ('emails[type eq "home"] eq "anna@x.pl"', []),
        ('emails[type eq "work"] sw "anna" and active eq true', [A]),
        ('emails[type eq "home"] pr', [A, B]),
        ('emails[type eq "work" and value co "@x.pl"]', [A]),
        ('emails[type eq "work" and value co "home"]', []),
        ('emails.type eq "work" and emails.value co "home"', [A]),
        ("active eq true", [A, C]),
        ('active eq "False"', [B]),
        ("active ne true", [B]),
        ("title pr", [A, C]),
        ("not (title pr)", [B]),
        ('title ne "CTO"', [B, C]),
        ("title eq null", [B]),
        ('title gt "cfo"', [A]),
        ('title le "CFO"', [C]),
        ('userName sw "a" or userName sw "b" and active eq true', [A]),
        ('(userName sw "a" or userName sw "b") and active eq false', [B]),
        ('userName ew "X.PL" and not (userName co "nn")', [B, C]),
        ('name.familyName eq "łoś"', [A]),
        (f'{ENTERPRISE}:department eq "cad"', [A]),
        (f'{ENTERPRISE}:manager eq "M1"', [A]),
        (f'{ENTERPRISE}:manager.value eq "m1"', []),
        (r'nickName eq "C\"y"', [C]),
        ('mailNickname eq "x"', []),
        ('meta.created ge "2026-03-02T10:00:02+01:00"', [B, C]),
        ('meta.lastModified lt "2026-03-02T08:00:02-01:00"', [A]),
        ('meta.lastModified gt "9999-01-01T00:00:00Z"', []),
        ('active eq true and (meta.lastModified ge "2026-03-02T09:00:03Z")', [C]),
        ('id pr and schemas eq "' + ENTERPRISE + '"', [A]),
    ],
)
async def test_s_r46_s_r49_s_r50_filters(staff: Provider, text: str, names: list[str]) -> None:
    assert await staff.names("Users", text) == names


BY_MAIL = [
    ('emails[type eq "work"].value eq "ANNA@x.pl"', [A]),
    ('emails[type eq "work"] eq "anna@x.pl"', [A]),
    ('emails[value eq "a@home.pl"]', [A]),
    ('emails[type eq "work" and value eq "a@home.pl"]', []),
    ('emails eq "bo@X.pl"', [B]),
    (f'{USER}:emails.value eq " bo@x.pl "', [B]),
    ('emails.value eq "bo@x.pl" and active eq true', []),
    ('userName eq "cy@x.pl" or emails eq "anna@x.pl"', [A, C]),
    ('active eq false and (userName eq "anna@x.pl" or emails eq "bo@x.pl")', [B]),
    ('emails eq "gone@x.pl"', []),
    (f'emails eq "{"ł" * 1000}"', []),
]


async def test_s_r46_c13_nobody_else_is_looked_at_for_a_mail(staff: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(*_arguments: object, **_options: object) -> None:
        raise AssertionError("every document was read")

    monkeypatch.setattr(inbox, "page", never)
    for text, names in BY_MAIL:
        assert await staff.names("Users", text) == names, text


async def test_s_r46_c13_a_mail_is_found_as_it_is_now(staff: Provider) -> None:
    [anna] = (await staff.get('/Users?filter=emails eq "anna@x.pl"'))["Resources"]
    path = f"/Users/{anna['id']}"
    await staff.patch(path, {"op": "replace", "path": 'emails[type eq "work"].value', "value": "Łoś@x.pl"})
    assert [await staff.names("Users", f'emails eq "{one}"') for one in ("anna@x.pl", "ŁOŚ@X.PL", "a@home.pl")] == [
        [], [A], [A]
    ]  # fmt: skip
    long = "x" * 3000 + "@x.pl"
    await staff.ask("PUT", path, {"schemas": [USER], "userName": A, "emails": [{"value": long}, {"value": "BO@x.pl"}]})
    assert [await staff.names("Users", f'emails eq "{one}"') for one in ("a@home.pl", long, f"{long}.pl")] == [
        [], [A], []
    ]  # fmt: skip
    assert await staff.names("Users", 'emails eq "bo@x.pl"') == [A, B]
    assert (await staff.ask("DELETE", path)).status == 204
    assert await staff.names("Users", 'emails eq "bo@x.pl"') == [B]


async def test_s_r46_a_plus_is_a_space(staff: Provider) -> None:
    assert (await staff.get("/Users?filter=externalId+eq+%22jyoung%22"))["totalResults"] == 1
    assert (await staff.get("/Users?FILTER=externalId+eq+jyoung"))["totalResults"] == 1


async def test_s_r46_strict_wants_quotes_and_known_names(provider: Provider) -> None:
    provider.token = "strict"
    for text in ("externalId eq jyoung", 'mailNickname eq "x"', 'emails[type eq "work"] eq "x"'):
        found = await provider.ask("GET", f"/Users?filter={text}")
        assert (found.status, found.body["scimType"]) == (400, "invalidFilter")


async def test_s_r47_nothing_found_is_an_empty_list(provider: Provider) -> None:
    for path in ("/Users", "/Groups", '/Users?filter=userName eq "x"', '/Groups?filter=displayName eq "x"'):
        found = await provider.get(path)
        assert (found["totalResults"], found["Resources"], found["itemsPerPage"]) == (0, [], 0)


@pytest.mark.parametrize(
    "text",
    [
        "userName",
        "userName eq",
        'userName xx "a"',
        'userName eq "a',
        'userName eq "a" and',
        'userName eq "a" "b"',
        "userName eq My Name",
        "(userName pr",
        "userName pr)",
        "emails[type pr",
        'active gt "true"',
        "active eq maybe",
        'meta.created eq "yesterday"',
        'meta.created co "2026"',
        'name eq "x"',
        "title gt null",
        'userName[value eq "x"]',
        'groups.display eq "x"',
        'password eq "x"',
        "%20",
        'userName eq "a%5Cu0000"',
        "(" * 400 + "userName pr" + ")" * 400,
        "not (" * 400 + "userName pr" + ")" * 400,
        " and ".join(["userName pr"] * 500),
    ],
)
async def test_s_r48_a_bad_filter_is_named(provider: Provider, text: str) -> None:
    found = await provider.ask("GET", f"/Users?filter={text}")
    assert (found.status, found.body["scimType"]) == (400, "invalidFilter")


@pytest.mark.parametrize(
    ("query", "start", "names"),
    [
        ("", 1, [A, B, C]),
        ("startIndex=0", 1, [A, B, C]),
        ("startindex=-5&COUNT=1", 1, [A]),
        ("startIndex=2&count=1", 2, [B]),
        ("startIndex=3&count=100000", 3, [C]),
        ("startIndex=9", 9, []),
        ("startIndex=99999999999999999999", 2**31, []),
        ("count=0", 1, []),
        ("count=-1", 1, []),
    ],
)
@pytest.mark.parametrize("text", ["", "&filter=userName pr"])
async def test_s_r51_pages(staff: Provider, query: str, start: int, names: list[str], text: str) -> None:
    found = await staff.get(f"/Users?{query}{text}")
    assert [one["userName"] for one in found["Resources"]] == names
    assert (found["totalResults"], found["startIndex"], found["itemsPerPage"]) == (3, start, len(names))


async def test_s_r51_pages_together_are_everybody_once(provider: Provider, now: datetime) -> None:
    async with provider.box.write("acme", at=now) as book:
        for number in range(1100):
            key = f"p{number:04}"
            document = {"userName": key, "active": number % 2 == 0}
            await inbox.put(book, "entra", "User", f"id{number:04}", external_id="", key=key, document=document)
    seen: list[str] = []
    while len(seen) < 550:
        page = await provider.get(f"/Users?filter=active eq true&count=200&startIndex={len(seen) + 1}")
        assert page["totalResults"] == 550
        seen += [one["userName"] for one in page["Resources"]]
    assert seen == [f"p{number:04}" for number in range(0, 1100, 2)]
    assert len((await provider.get("/Users?count=5000"))["Resources"]) == 1000


@pytest.mark.parametrize(
    ("query", "keys"),
    [
        ("attributes=userName", {"schemas", "id", "userName"}),
        ("attributes=USERNAME,Emails.Value", {"schemas", "id", "userName", "emails"}),
        (f"attributes={ENTERPRISE}:department", {"schemas", "id", ENTERPRISE}),
        (f"attributes={USER}:title,meta", {"schemas", "id", "title", "meta"}),
        (
            "excludedAttributes=id,name,emails,meta,externalId",
            {"schemas", "id", "userName", "active", "title", ENTERPRISE},
        ),
    ],
)
async def test_s_r53_chosen_attributes(staff: Provider, query: str, keys: set[str]) -> None:
    [listed] = (await staff.get(f'/Users?filter=externalId eq "jyoung"&{query}'))["Resources"]
    single = await staff.get(f"/Users/{listed['id']}?{query}")
    assert set(listed) == set(single) == keys
    if "Emails.Value" in query:
        assert single["emails"] == [{"value": "anna@x.pl"}, {"value": "a@home.pl"}]
    if query == f"attributes={ENTERPRISE}:department":
        assert single[ENTERPRISE] == {"department": "CAD"}


@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_s_r53_chosen_attributes_of_what_is_written(provider: Provider, method: str) -> None:
    eva = await provider.person("eva")
    path = "/Users" if method == "POST" else f"/Users/{eva}"
    body: dict[str, Any] = {"schemas": [USER], "userName": "bo", "title": "x"}
    found = await provider.ask(method, f"{path}?attributes=title", body)
    assert set(found.body) == {"schemas", "id", "title"}
    refused = await provider.ask(method, f"{path}?attributes=title&excludedAttributes=name", {**body, "userName": "cy"})
    assert refused.status == 400
    assert (await provider.get("/Users"))["totalResults"] == (2 if method == "POST" else 1)
