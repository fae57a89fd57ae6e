"""Unknown keys get a suggestion; every error at once with file, line and key; secrets by reference."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ledger.errors import BadInput, ManyErrors, RosterdError
from rosterd.loading import load
from rosterd.service import policy

ORGANIZATION = """\
[organization]
id = "acme"
name = "Acme"

[[domains]]
name = "acme.example"

[[teams]]
name = "Design"
primary_admin = "anna@acme.example"

[[directories]]
id = "corp"
kind = "ldif"
file = "acme.ldif"

[[mappings]]
id = "design"
directory = "corp"
group = "cn=design,dc=acme"
team = "Design"
offerings = ["CAD"]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "rosterd.toml").write_text('[server]\nlisten = "127.0.0.1:0"\n', encoding="utf-8")
    (tmp_path / "organizations").mkdir()
    (tmp_path / "organizations" / "acme.toml").write_text(ORGANIZATION, encoding="utf-8")
    return tmp_path


def faults_of(folder: Path, **variables: str) -> list[str]:
    with pytest.raises(RosterdError) as caught:
        load(folder / "rosterd.toml", variables)
    error = caught.value
    found = error.faults if isinstance(error, ManyErrors) else (error,)
    assert all(isinstance(fault, BadInput) for fault in found)
    assert error.exit_code == 2
    return [f"{fault.where.removeprefix(str(folder) + '/')}: {fault.what}" for fault in found]


def replace(folder: Path, before: str, after: str, *, file: str = "organizations/acme.toml") -> None:
    path = folder / file
    text = path.read_text(encoding="utf-8")
    assert before in text
    path.write_text(text.replace(before, after), encoding="utf-8")


def test_a_good_configuration_loads(folder: Path) -> None:
    settings = load(folder / "rosterd.toml", {})
    customer = settings.customer("acme")
    assert customer.organization.name == "Acme"
    assert customer.settings.mappings[0].team == "Design"
    assert settings.installation.server.address == ("127.0.0.1", 0)


def test_relative_places_are_anchored_to_the_file(folder: Path) -> None:
    installation = load(folder / "rosterd.toml", {}).installation
    assert installation.database.url == f"sqlite:///{folder}/var"
    assert installation.storage.warehouse == f"file:{folder}/var/warehouse"
    assert str(installation.secrets.pepper) == f"file:{folder}/secrets/pepper"


def test_broken_toml_is_named_with_its_line(folder: Path) -> None:
    replace(folder, 'id = "acme"', 'id = "acme')
    (fault,) = faults_of(folder)
    assert fault.startswith("organizations/acme.toml:2: broken TOML:")
    assert "line 2" in fault


def test_a_missing_file_says_what_writes_one(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="rosterd init"):
        load(tmp_path / "rosterd.toml", {})


def test_an_unknown_key_is_refused_with_a_suggestion(folder: Path) -> None:
    replace(folder, 'team = "Design"', 'teem = "Design"')
    found = faults_of(folder)
    assert "organizations/acme.toml:21: mappings[1].teem: unknown key 'teem': did you mean 'team'?" in found
    assert "organizations/acme.toml:17: mappings[1].team: this key is required" in found


def test_a_key_of_the_file_written_inside_a_table_is_explained(folder: Path) -> None:
    (folder / "rosterd.toml").write_text('[logging]\norganizations = "o/*.toml"\n', encoding="utf-8")
    (fault,) = faults_of(folder)
    assert fault.startswith("rosterd.toml:2: logging.organizations: unknown key 'organizations' in [logging]")
    assert "before the first [table]" in fault


def test_a_key_of_another_kind_of_directory_is_explained(folder: Path) -> None:
    replace(folder, 'file = "acme.ldif"', 'file = "acme.ldif"\nservers = ["ldaps://x"]')
    (fault,) = faults_of(folder)
    assert fault == "organizations/acme.toml:16: directories[1].servers: this key does not belong here (kind = 'ldif')"


def test_every_fault_of_every_file_is_reported_at_once(folder: Path) -> None:
    replace(folder, '"127.0.0.1:0"', '8080\nlistn = "x"', file="rosterd.toml")
    replace(folder, 'team = "Design"', 'team = "Desing"\npriority = "first"')
    replace(folder, 'directory = "corp"', 'directory = "crop"')
    found = faults_of(folder, ROSTERD_LOGGING_LEVEL="loud", ROSTERD_SERVER_LISTENN="x")
    assert found == [
        "rosterd.toml:2: server.listen: 8080 is a number: text is wanted",
        "rosterd.toml:3: server.listn: unknown key 'listn': did you mean 'listen'?",
        "environment: ROSTERD_LOGGING_LEVEL: 'loud' is none of debug, info, warning, error",
        "organizations/acme.toml:22: mappings[1].priority: 'first' is text: a whole number is wanted",
        "organizations/acme.toml:21: mappings[1].team: unknown Team 'Desing': did you mean 'Design'?",
        "organizations/acme.toml:19: mappings[1].directory: unknown directory 'crop': did you mean 'corp'?",
        "environment: unknown variable ROSTERD_SERVER_LISTENN: did you mean 'ROSTERD_SERVER_LISTEN'?",
    ]


def test_unknown_references_are_reported_with_their_line(folder: Path) -> None:
    replace(folder, 'team = "Design"', 'team = "Desing"')
    replace(folder, 'directory = "corp"', 'directory = "crop"')
    replace(folder, 'name = "Acme"', 'name = "Acme"\nreport_zone = "Mars/Base"')
    assert faults_of(folder) == [
        "organizations/acme.toml:4: organization.report_zone: 'Mars/Base' is not an IANA time zone, "
        "for example Europe/Warsaw",
        "organizations/acme.toml:22: mappings[1].team: unknown Team 'Desing': did you mean 'Design'?",
        "organizations/acme.toml:20: mappings[1].directory: unknown directory 'crop': did you mean 'corp'?",
    ]


def test_ids_used_twice_and_groups_mapped_twice_are_refused(folder: Path) -> None:
    path = folder / "organizations" / "acme.toml"
    text = path.read_text(encoding="utf-8")
    path.write_text(
        text
        + '[[directories]]\nid = "corp"\nkind = "ldif"\nfile = "b.ldif"\n[[domains]]\nname = "ACME.example."\n'
        + '[[mappings]]\nid = "again"\ndirectory = "corp"\ngroup = "cn=design,dc=acme"\nteam = "design"\n',
        encoding="utf-8",
    )
    assert faults_of(folder) == [
        "organizations/acme.toml:24: directories[2].id: 'corp' is here twice: the first is directories[1]",
        "organizations/acme.toml:28: domains[2].name: 'acme.example' is here twice: the first is domains[1]",
        "organizations/acme.toml:29: mappings[2]: the same group and Team as mapping 'design': "
        "list all offerings in one of them",
    ]


def test_a_domain_or_id_of_two_organizations_is_refused(folder: Path) -> None:
    other = ORGANIZATION.replace("acme.ldif", "other.ldif")
    (folder / "organizations" / "other.toml").write_text(other, encoding="utf-8")
    found = faults_of(folder)
    assert any("other.toml:2: organization.id" in fault and "also claimed by" in fault for fault in found)
    assert any("other.toml:6: domains[1].name" in fault and "also claimed by" in fault for fault in found)


def test_a_literal_secret_is_refused_and_never_repeated(folder: Path) -> None:
    literal = "hunter2-" + "x" * 12
    replace(folder, '"127.0.0.1:0"', f'"127.0.0.1:0"\n[secrets]\npepper = "{literal}"', file="rosterd.toml")
    (fault,) = faults_of(folder)
    assert fault.startswith("rosterd.toml:4: secrets.pepper: a secret is given by reference")
    assert literal not in fault


def test_a_password_in_the_database_address_is_refused(folder: Path) -> None:
    replace(
        folder, '[server]', '[database]\nurl = "postgresql://u:s3cret@host/db"\n[server]', file="rosterd.toml"
    )  # fmt: skip
    (fault,) = faults_of(folder)
    assert "rosterd.toml:2: database.url" in fault
    assert "s3cret" not in fault


def test_the_environment_overrides_the_file(folder: Path) -> None:
    settings = load(
        folder / "rosterd.toml",
        {"ROSTERD_SERVER_LISTEN": "0.0.0.0:9", "ROSTERD_DNS_RESOLVERS": "127.0.0.1:5301, 127.0.0.1:5302", "PATH": "/"},
    )
    assert settings.installation.server.listen == "0.0.0.0:9"
    assert settings.installation.dns.resolvers == ("127.0.0.1:5301", "127.0.0.1:5302")


def test_a_variable_that_a_secret_names_is_not_unknown(folder: Path) -> None:
    replace(
        folder,
        "[server]",
        '[database]\nurl = "postgresql://u@h/db"\npassword = "env:ROSTERD_DB_PASSWORD"\n[server]',
        file="rosterd.toml",
    )
    settings = load(folder / "rosterd.toml", {"ROSTERD_DB_PASSWORD": "x"})
    assert str(settings.installation.database.password) == "env:ROSTERD_DB_PASSWORD"


def test_an_unknown_organization_names_the_known_ones(folder: Path) -> None:
    with pytest.raises(RosterdError, match="known: acme"):
        load(folder / "rosterd.toml", {}).customer("acne")


def test_contradictions_of_the_policy_are_named_with_their_lines(folder: Path) -> None:
    path = folder / "organizations" / "acme.toml"
    text = path.read_text(encoding="utf-8")
    path.write_text(
        text
        + '[[mappings]]\nid = "research"\ndirectory = "corp"\nteam = "Design"\nrole = "secondary_admin"\n'
        + 'where = { departement = ["R&D"] }\n'
        + '[[mappings]]\nid = "broken"\ndirectory = "corp"\nteam = "Design"\ngroup = "x"\npriority = "first"\n'
        + "limits = { day_percent = 101 }\n"
        + '[[guests]]\ndomains = ["acme.example"]\nmappings = ["broken", "reserch"]\n'
        + '[[guests]]\ndomains = []\nmappings = ["design"]\n'
        + '[[guests]]\ndomains = ["partner.example"]\nmappings = ["design"]\nmails = ["bo@else.example"]\n',
        encoding="utf-8",
    )
    found = faults_of(folder)
    assert [fault.removeprefix("organizations/acme.toml:") for fault in found] == [
        "34: mappings[3].priority: 'first' is text: a whole number is wanted",
        "35: mappings[3].limits.day_percent: 101 is out of range: less than or equal to 100",
        "40: guests[2].domains: the list is empty: a rule that names nothing admits nobody",
        "28: mappings[2].where: unknown field 'departement' (known here: display_name, employee_number, family_name,"
        " given_name, mail, mail_domain)",
        "27: mappings[2].role: role = 'secondary_admin' lets whoever edits the directory make admins: set [sync]"
        " allow_roles = true",
        "38: guests[1].mappings: unknown mapping 'reserch': did you mean 'research'?",
        "37: guests[1].domains: acme.example is a domain of the organization: its people are no guests",
        "45: guests[3].mails: bo@else.example is not of partner.example",
    ]


def test_the_whole_policy_language_loads(folder: Path) -> None:
    replace(folder, 'file = "acme.ldif"', 'file = "acme.ldif"\nattributes = { department = ["departmentNumber"] }')
    path = folder / "organizations" / "acme.toml"
    text = path.read_text(encoding="utf-8")
    path.write_text(
        text
        + '[[mappings]]\nid = "research"\ndirectory = "corp"\nteam = "Design"\nrole = "secondary_admin"\n'
        + 'where = { department = ["R&D"] }\nexclude_groups = ["interns"]\nlimits = { day_floor = 1 }\n'
        + '[[guests]]\ndomains = ["partner.example"]\nmappings = ["design"]\n[sync]\nallow_roles = true\n',
        encoding="utf-8",
    )
    chosen = policy(load(folder / "rosterd.toml", {}).customer("acme"))
    assert chosen.groups_of("corp") == ("cn=design,dc=acme", "interns")
    assert chosen.rules["research"].where == (("department", frozenset({"r&d"})),)
    assert chosen.limits_of("research").team_day_floor == 1
    assert chosen.guest("bo@partner.example") == {"design"}


def test_a_file_that_is_nested_too_deep_is_one_fault(folder: Path) -> None:
    for text in ("a = " + "[" * 50_000, "a = " + "[" * 20 + "]" * 20, ".".join("a" * 300) + " = 1"):
        (folder / "organizations" / "acme.toml").write_text(text, encoding="utf-8")
        assert faults_of(folder) == ["organizations/acme.toml: is nested more than 16 deep"]


def test_a_hundred_thousand_faults_are_fifty_and_a_number(folder: Path) -> None:
    keys = "".join(f"key{number} = 1\n" for number in range(900))
    (folder / "organizations" / "acme.toml").write_text(keys + ORGANIZATION, encoding="utf-8")
    found = faults_of(folder)
    assert len(found) == 51
    assert found[-1].endswith("and 850 more like these")
    assert len("".join(found)) < 20_000


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("".join(f"key{number} = 1\n" for number in range(100_000)), "1000 keys in a table"),
        ("[[mappings]]\n" * 100_000, "20000 items in a list"),
        ("a = [" + "1," * 100_000 + "]", "20000 items in a list"),
    ],
)
def test_what_there_is_far_too_much_of_is_one_fault(folder: Path, text: str, what: str) -> None:
    (folder / "organizations" / "acme.toml").write_text(text, encoding="utf-8")
    assert faults_of(folder) == [f"organizations/acme.toml: has more than {what}"]


def test_what_is_no_file_is_told_and_nobody_waits_for_it(folder: Path) -> None:
    os.mkfifo(folder / "organizations" / "pipe.toml")
    (folder / "organizations" / "folder.toml").mkdir()
    assert faults_of(folder) == [f"organizations/{name}.toml: is no file" for name in ("folder", "pipe")]


def test_a_byte_order_mark_is_no_fault(folder: Path) -> None:
    for name in ("rosterd.toml", "organizations/acme.toml"):
        (folder / name).write_bytes(b"\xef\xbb\xbf" + (folder / name).read_bytes())
    assert list(load(folder / "rosterd.toml", {}).customers) == ["acme"]


def test_a_long_value_or_key_is_not_repeated(folder: Path) -> None:
    long = "x" * 100_000
    replace(folder, 'team = "Design"', f'team = "Design"\npriority = "{long}"\n{long} = 1')
    found = faults_of(folder)
    assert len(found) == 2
    assert all(len(text) < 1000 for text in found)


def test_a_file_without_end_is_not_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rosterd.loading._MOST_BYTES", 1000)
    (folder / "organizations" / "acme.toml").write_text("#" * 1001, encoding="utf-8")
    assert faults_of(folder) == ["organizations/acme.toml: has more than 1000 bytes"]


@pytest.mark.parametrize(
    ("sender", "wrong"),
    [
        ("accounts@acme.example", ""),
        ("accounts@vendor.example", ""),
        ("konta@bücher.example", ""),
        ("it-security@globex.example", "globex.example"),
        ("accounts@mail.acme.example", "mail.acme.example"),
        ("accounts@xn--fa-hia.example", "xn--fa-hia.example"),
    ],
)
def test_an_organization_sends_from_its_own_domains_or_from_ours(folder: Path, sender: str, wrong: str) -> None:
    replace(folder, "[server]", '[mail]\nsender = "rosterd@vendor.example"\n\n[server]', file="rosterd.toml")
    replace(folder, "[[teams]]", '[[domains]]\nname = "xn--bcher-kva.example"\n\n[[teams]]')
    with (folder / "organizations" / "acme.toml").open("a", encoding="utf-8") as file:
        file.write(f'\n[mail]\nsender = "{sender}"\n')
    if not wrong:
        assert load(folder / "rosterd.toml", {}).customer("acme").settings.mail.sender == sender
        return
    [fault] = faults_of(folder)
    line = (folder / "organizations" / "acme.toml").read_text(encoding="utf-8").splitlines().index("[mail]") + 2
    assert fault.startswith(f"organizations/acme.toml:{line}: mail.sender: mail may come from a domain of this file")
    assert fault.endswith(f"not from {wrong}")
