"""``rosterd check`` names what is wrong in the files before anything connects: the key, its line, and the fix."""

from __future__ import annotations

import datetime
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.parts.installation import Answer, Installation

LDAP = """
[[directories]]
id = "corp"
kind = "ldap"
servers = ["ldaps://ldap.acme.example"]
bind_dn = "cn=reader,dc=acme,dc=example"
bind_password = "file:../secrets/ldap"
people_base = "ou=People,dc=acme,dc=example"
groups_base = "ou=Groups,dc=acme,dc=example"
# more

[[mappings]]
id = "design"
directory = "corp"
group = "cn=design,ou=Groups,dc=acme,dc=example"
team = "Design"
"""


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An installation that reads an LDAP directory, in a folder with a space in its name."""
    made = Installation.make(tmp_path_factory.mktemp("prepared") / "etc of acme")
    (made.folder / "secrets" / "ldap").write_text("secret\n", encoding="utf-8")
    (made.folder / "secrets" / "ldap").chmod(0o600)
    made.append(LDAP)
    return made.folder


@pytest.fixture
def acme(prepared: Path, tmp_path: Path) -> Installation:
    """A copy of it."""
    shutil.copytree(prepared, tmp_path / prepared.name)
    return Installation(tmp_path / prepared.name)


def line_of(acme: Installation, text: str, name: str = "organizations/acme.toml") -> str:
    """``acme.toml':38``, as a message places the last line that holds ``text``."""
    lines = (acme.folder / name).read_text(encoding="utf-8").splitlines()
    number = max(number for number, line in enumerate(lines, 1) if text in line)
    return f"{shlex.quote(str(acme.folder / name))}:{number}: "


def lines(answer: Answer, kind: str) -> list[tuple[str, str]]:
    """(what, fix) of every line of a kind."""
    rows = answer.out.splitlines()
    return [
        (row[6:], rows[number + 1].strip().removeprefix("→ "))
        for number, row in enumerate(rows)
        if row.startswith(kind)
    ]


def paste(command: str, typed: bytes = b"") -> int:
    """Run a fix in a shell, as it stands in the message; its exit code."""
    return subprocess.run(["bash", "-c", command], input=typed, check=False).returncode


def failed(answer: Answer) -> list[tuple[str, str]]:
    return lines(answer, "FAIL")


def noted(answer: Answer) -> list[tuple[str, str]]:
    """What is noted; here nobody is mailed, which is a note too."""
    return [line for line in lines(answer, "note") if not line[0].startswith("no mail server is set")]


def certificate(days: int) -> tuple[bytes, bytes]:
    """A self-signed certificate in PEM that ends so many days from now, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "acme authority")])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now - datetime.timedelta(days=400))
    made = builder.not_valid_after(now + datetime.timedelta(days=days)).sign(key, hashes.SHA256())
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return made.public_bytes(serialization.Encoding.PEM), secret


def test_files_that_are_right_pass_without_a_note(acme: Installation) -> None:
    answer = acme.rosterd("check")
    assert (answer.code, failed(answer), noted(answer)) == (0, [], [])
    assert answer.out.splitlines()[-1] == "The files are good; rosterd check --live really connects."


MISTAKES = {
    "a secret that is not set": (
        "file:../secrets/ldap", "env:ACME_LDAP_PASSWORD",
        "bind_password: secret env:ACME_LDAP_PASSWORD: the environment variable ACME_LDAP_PASSWORD is not set",
        "read -rs ACME_LDAP_PASSWORD && export ACME_LDAP_PASSWORD",
    ),
    "a secret whose file is missing": (
        "file:../secrets/ldap", "file:../secrets/lpad", "there is no such file", "(umask 077; cat > '",
    ),
    "a broken bind_dn": (
        "cn=reader,dc=acme", "reader,dc=acme", "bind_dn: 'reader,dc=acme,dc=example' is not a DN",
        "write the account's whole DN, such as cn=reader,dc=acme,dc=example",
    ),
    "an account of Active Directory at another server": (
        "cn=reader,dc=acme,dc=example", "reader@acme.example", "is not a DN", 'kind = "active_directory"',
    ),
    "a base as the account": (
        "cn=reader,dc=acme,dc=example", "ou=people, dc=acme, dc=example", "and no account", "name the account",
    ),
    "a broken group": (
        "cn=design,ou=Groups", "cn=design,Groups", "group: 'cn=design,Groups,dc=acme,dc=example' is not a DN",
        "such as cn=design,ou=Groups,dc=acme,dc=example",
    ),
    "a group without a value": ("cn=design,ou=Groups", "cn=design,ou=", "a part of it has no value", "cn=design,"),
    "a group of another domain": (
        "cn=design,ou=Groups,dc=acme", "cn=design,ou=Groups,dc=acne", "lies in dc=acne,dc=example",
        "correct the end of the DN",
    ),
    "a group to be left out that is broken": (
        'id = "design"\ndirectory', 'id = "design"\nexclude_groups = ["cn=x,,dc=acme"]\ndirectory',
        "exclude_groups[1]: ", "whole DN",
    ),
    "a filter that lacks its end": (
        "# more", 'people_filter = "(objectClass=person"', "no filter", "people_filter = '(objectClass=person)'",
    ),
    "a filter without parentheses": (
        "# more", 'people_filter = "&(uid=*)(mail=*)"', "no filter", "people_filter = '(&(uid=*)(mail=*))'",
    ),
    "a filter with too many": ("# more", 'groups_filter = "(cn=a))(("', "no filter", "count its parentheses"),
    "StartTLS at the port of LDAPS": (
        "ldaps://ldap.acme.example", "ldap://ldap.acme.example:636", "servers[1]: port 636 speaks ldaps://",
        "write ldaps://ldap.acme.example:636",
    ),
    "LDAPS at the port of StartTLS": (
        "ldaps://ldap.acme.example", "ldaps://ldap.acme.example:389", "port 389 speaks ldap://", "write ldap://",
    ),
    "a port that is none": (
        "ldaps://ldap.acme.example", "ldaps://ldap.acme.example:66636", "has no usable port", "from 1 to 65535",
    ),
    "preferred domains that no address has": (
        "# more", 'mail_domains = ["@ACME.example"]', "mail_domains[1]: '@ACME.example' is the domain of no address",
        "write 'acme.example'",
    ),
    "an authority whose file is missing": (
        "# more", 'tls_ca = "acme ca.pem"', "tls_ca: there is no file '", "correct the path",
    ),
    "an address with a space": (
        "ldaps://ldap.acme.example", "ldaps://ldap.acme.example ", "there is a space around the value",
        "write 'ldaps://ldap.acme.example'",
    ),
    "a group with a space": ('"cn=design', '" cn=design', "group: there is a space around the value", "write 'cn=des"),
    "an id with a space": ('id = "corp"', 'id = "corp "', "id: there is a space around the value", "write 'corp'"),
    "a secret's name with a space": ("secrets/ldap", "secrets/ldap ", "bind_password: there is a space", "write 'file"),
    "a base with a character that nobody sees": (
        "ou=People,dc", "ou=People\u200b,dc", "people_base: the value holds characters that nobody sees: ZERO WIDTH",
        "write 'ou=People,dc=acme,dc=example'",
    ),
    "a DN with a space that does not break": ("ou=People,dc", "ou=\u00a0People,dc", "NO-BREAK SPACE", "write 'ou= Peo"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_named_with_its_line_and_its_fix(acme: Installation, mistake: str) -> None:
    before, after, what, fix = MISTAKES[mistake]
    acme.edit("organizations/acme.toml", before, after)
    answer = acme.rosterd("check")
    assert answer.code == 2, answer.out + answer.err
    [(said, step)] = failed(answer)
    assert said.startswith(line_of(acme, after.splitlines()[1 if "\n" in after else 0]))
    assert what in said
    assert fix in step


def test_a_secret_that_is_set_to_nothing(acme: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACME_LDAP_PASSWORD", "")
    acme.edit("organizations/acme.toml", "file:../secrets/ldap", "env:ACME_LDAP_PASSWORD")
    [(said, _)] = failed(acme.rosterd("check"))
    assert "the environment variable ACME_LDAP_PASSWORD is empty" in said


@pytest.mark.parametrize(
    ("content", "what"),
    [(b"", "the file is empty"), (b"\n", "the file is empty"), ("geheim".encode("utf-16"), "is not UTF-8 text")],
)
def test_a_secret_whose_file_holds_none(acme: Installation, content: bytes, what: str) -> None:
    (acme.folder / "secrets" / "ldap").write_bytes(content)
    [(said, step)] = failed(acme.rosterd("check"))
    assert said.startswith(line_of(acme, "bind_password"))
    assert what in said
    command = step.partition(", then")[0]
    assert paste(command, b"better\n") == 0
    assert acme.rosterd("check").code == 0


@pytest.mark.parametrize(
    ("content", "odd"), [(b"secret \n", "with a space"), (b"user\nsecret\n", "more than one line")]
)
def test_a_secret_that_is_more_than_it_seems_is_noted(acme: Installation, content: bytes, odd: str) -> None:
    (acme.folder / "secrets" / "ldap").write_bytes(content)
    answer = acme.rosterd("check")
    [(said, _)] = noted(answer)
    assert answer.code == 0
    assert odd in said


def test_a_key_that_is_too_short_is_named_before_somebody_needs_it(acme: Installation) -> None:
    (acme.folder / "secrets" / "pepper").write_text("short\n", encoding="utf-8")
    [(said, step)] = failed(acme.rosterd("check"))
    assert said.startswith(line_of(acme, "pepper =", "rosterd.toml"))
    assert "the key has 5 characters, fewer than 32" in said
    assert "openssl rand -base64 32" in step
    (acme.folder / "secrets" / "pepper").unlink()
    [(_, step)] = failed(acme.rosterd("check"))
    assert paste(step.partition("to begin anew: ")[2]) == 0
    assert acme.rosterd("check").code == 0


def test_an_override_of_the_environment_is_placed_there(acme: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROSTERD_SECRETS_PEPPER", "env:NO_PEPPER")
    [(said, _)] = failed(acme.rosterd("check"))
    assert said.startswith("environment: ROSTERD_SECRETS_PEPPER: secret env:NO_PEPPER")


def test_authorities_must_be_certificates_that_have_not_ended(acme: Installation) -> None:
    file = acme.folder / "organizations" / "ca.pem"
    acme.edit("organizations/acme.toml", "# more", 'tls_ca = "ca.pem"')
    good, key = certificate(200)
    ended, _ = certificate(-3)
    soon, _ = certificate(9)
    der = x509.load_pem_x509_certificate(good).public_bytes(serialization.Encoding.DER)
    for content, what, fix in (
        (b"not a certificate", "holds no certificate in PEM", "export the authority's certificate as PEM"),
        (key, "holds no certificate in PEM", "it holds a private key"),
        (der, "holds no certificate in PEM", "openssl x509 -inform DER -in "),
        (ended, "has ended: CN=acme authority on 2", "put the current certificate into"),
    ):
        file.write_bytes(content)
        [(said, step)] = failed(acme.rosterd("check"))
        assert said.startswith(line_of(acme, "tls_ca"))
        assert what in said
        assert fix in step
    file.write_bytes(ended + good)
    assert ["certificates in" in said and "have ended" in said for said, _ in noted(acme.rosterd("check"))] == [True]
    file.write_bytes(soon)
    assert ["end soon" in said for said, _ in noted(acme.rosterd("check"))] == [True]
    file.write_bytes(good)
    answer = acme.rosterd("check")
    assert (answer.code, noted(answer)) == (0, [])
    file.unlink()
    file.mkdir()
    assert "is no file" in failed(acme.rosterd("check"))[0][0]


def test_the_command_that_turns_der_into_pem_works_as_pasted(acme: Installation) -> None:
    file = acme.folder / "organizations" / "ca.der"
    good, _ = certificate(200)
    file.write_bytes(x509.load_pem_x509_certificate(good).public_bytes(serialization.Encoding.DER))
    acme.edit("organizations/acme.toml", "# more", 'tls_ca = "ca.der"')
    [(_, step)] = failed(acme.rosterd("check"))
    assert paste(step.partition(", and")[0]) == 0
    acme.edit("organizations/acme.toml", "ca.der", "ca.der.pem")
    assert acme.rosterd("check").code == 0


def test_our_own_certificate_and_its_key_belong_together(acme: Installation) -> None:
    folder = acme.folder / "organizations"
    simple = 'bind_dn = "cn=reader,dc=acme,dc=example"\nbind_password = "file:../secrets/ldap"\n'
    acme.edit("organizations/acme.toml", simple, 'bind = "external"\n')
    acme.edit("organizations/acme.toml", "# more", 'tls_certificate = "own.pem"\ntls_key = "own.key"')
    own, key = certificate(200)
    _, other = certificate(200)
    (folder / "own.pem").write_bytes(own)
    (folder / "own.key").write_bytes(other)
    [(said, _)] = failed(acme.rosterd("check"))
    assert said.startswith(line_of(acme, "tls_key"))
    assert "the key is of another certificate" in said
    locked = serialization.load_pem_private_key(key, None).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"x")
    )
    (folder / "own.key").write_bytes(locked)
    [(said, step)] = failed(acme.rosterd("check"))
    assert "has a passphrase" in said
    assert "openssl pkey -in " in step
    (folder / "own.key").write_bytes(key)
    assert acme.rosterd("check").code == 0


def test_a_group_outside_its_base_is_noted_and_a_name_needs_one(acme: Installation) -> None:
    acme.edit("organizations/acme.toml", "cn=design,ou=Groups,dc", "cn=design,ou=Other,dc")
    answer = acme.rosterd("check")
    [(said, _)] = noted(answer)
    assert answer.code == 0
    assert "lies outside groups_base (ou=Groups,dc=acme,dc=example)" in said
    acme.edit("organizations/acme.toml", "cn=design,ou=Other,dc=acme,dc=example", "design")
    assert acme.rosterd("check").code == 0
    acme.edit("organizations/acme.toml", 'groups_base = "ou=Groups,dc=acme,dc=example"\n', "")
    [(said, step)] = failed(acme.rosterd("check"))
    assert said.startswith(line_of(acme, 'group = "design"'))
    assert "set groups_base of corp, or give the group's DN" in step


@pytest.mark.parametrize(
    ("after", "what"),
    [
        ('sentinels = ["uid=canary,ou=Elsewhere,dc=acme,dc=example"]', "lies under no base that is read"),
        ('attributes = { email = ["mail"] }', "'email' is kept as one more attribute of people"),
        ('attributes = { given_nam = ["givenName"] }', "does not say what given_name is"),
        ("tls_verify = false", "lets anybody in between answer as the directory"),
    ],
)
def test_what_is_allowed_and_seldom_meant_is_noted(acme: Installation, after: str, what: str) -> None:
    acme.edit("organizations/acme.toml", "# more", after)
    answer = acme.rosterd("check")
    [(said, step)] = noted(answer)
    assert answer.code == 0
    assert said.startswith(line_of(acme, after))
    assert what in said
    assert step


def test_plaintext_is_noted_beyond_this_machine(acme: Installation) -> None:
    acme.edit("organizations/acme.toml", "ldaps://ldap.acme.example", "ldap://127.0.0.1:1389")
    acme.edit("organizations/acme.toml", "# more", "plaintext = true")
    assert noted(acme.rosterd("check")) == []
    acme.edit("organizations/acme.toml", "ldap://127.0.0.1:1389", "ldap://10.1.2.3")
    [(said, step)] = noted(acme.rosterd("check"))
    assert "unencrypted over the network" in said
    assert "StartTLS" in step


def test_files_that_a_directory_or_sso_names_are_there(acme: Installation) -> None:
    acme.append('\n[[directories]]\nid = "file"\nkind = "ldif"\nfile = "People.ldif"\n')
    acme.append('\n[sso]\nmetadata = "file:idp.xml"\n')
    (acme.folder / "organizations" / "people.ldif").write_text("version: 1\n", encoding="utf-8")
    first, second = failed(acme.rosterd("check"))
    assert first[0].startswith(line_of(acme, "People.ldif"))
    assert first[1] == "write 'people.ldif': letters count in capitals too"
    assert second[0].startswith(line_of(acme, "idp.xml"))
    (acme.folder / "organizations" / "idp.xml").touch()
    assert "is empty" in failed(acme.rosterd("check"))[1][0]


def test_the_listeners_are_two(acme: Installation) -> None:
    text = acme.file.read_text(encoding="utf-8")
    listen = next(line for line in text.splitlines() if line.startswith("listen"))
    acme.edit("rosterd.toml", 'operator_listen = "127.0.0.1:0"', f"operator_{listen}")
    [(said, _)] = failed(acme.rosterd("check"))
    assert said.startswith(line_of(acme, "operator_listen", "rosterd.toml"))
    acme.edit("rosterd.toml", f"operator_{listen}", 'operator_listen = "0.0.0.0:9090"')
    [(said, _)] = noted(acme.rosterd("check"))
    assert "shows metrics and health to other machines" in said


def test_no_organization_and_files_that_nobody_reads(acme: Installation) -> None:
    acme.organization.rename(acme.organization.with_name("acme.toml.txt"))
    answer = acme.rosterd("check")
    [(said, _)] = failed(answer)
    assert said.startswith(line_of(acme, "organizations =", "rosterd.toml"))
    [(said, step)] = noted(answer)
    assert "its name does not end in .toml" in said
    assert paste(step.removeprefix("if it is meant: ")) == 0
    assert acme.rosterd("check").code == 0


def test_two_organizations_of_one_id_are_found_whatever_space_is_around_it(acme: Installation) -> None:
    second = acme.organization.with_name("second.toml")
    second.write_text(acme.organization.read_text(encoding="utf-8").replace('"acme"', '" acme"', 1), encoding="utf-8")
    answer = acme.rosterd("check")
    assert answer.code == 2
    assert "organization 'acme' is also claimed by " in answer.err
    assert re.search(rf"{re.escape(shlex.quote(str(second)))}:\d+: organization\.id: ", answer.err)


def test_two_directories_of_one_id_and_a_directory_that_nobody_has(acme: Installation) -> None:
    acme.edit("organizations/acme.toml", 'directory = "corp"', 'directory = "crop"')
    acme.append('\n[[directories]]\nid = "corp "\nkind = "ldif"\nfile = "people.ldif"\n')
    said = acme.rosterd("check").err
    assert (
        line_of(acme, 'id = "corp "') + "directories[2].id: 'corp' is here twice: the first is directories[1]" in said
    )
    assert line_of(acme, "crop") + "mappings[1].directory: unknown directory 'crop': did you mean 'corp'?" in said


FORMS = {
    "UTF-16 with a mark": lambda text: text.encode("utf-16"),
    "UTF-16 without": lambda text: text.encode("utf-16-le"),
    "UTF-16, the other way": lambda text: text.encode("utf-16-be"),
    "lines of an old Macintosh": lambda text: text.replace("\n", "\r").encode(),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ["rosterd.toml", "organizations/acme.toml"])
def test_the_fix_of_another_form_of_text_works_as_pasted(acme: Installation, form: str, name: str) -> None:
    file = acme.folder / name
    file.write_bytes(FORMS[form](file.read_text(encoding="utf-8")))
    answer = acme.rosterd("check")
    assert answer.code == 2
    step = answer.err.partition("→ ")[2].strip()
    assert paste(step) == 0
    assert acme.rosterd("check").code == 0


def test_text_that_is_not_utf8_is_named_with_its_line(acme: Installation) -> None:
    text = acme.organization.read_text(encoding="utf-8").replace('name = "acme"', 'name = "Zażółć"')
    acme.organization.write_bytes(text.encode("cp1250"))
    answer = acme.rosterd("check")
    assert answer.code == 2
    line = text[: text.index("Zażółć")].count("\n") + 1
    assert f"{shlex.quote(str(acme.organization))}:{line}: is not UTF-8 text" in answer.err


@pytest.mark.parametrize("name", ["rosterd.toml", "organizations/acme.toml", "secrets/ldap", "secrets/pepper"])
def test_a_byte_order_mark_and_windows_lines_are_taken(acme: Installation, name: str) -> None:
    file = acme.folder / name
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes().replace(b"\n", b"\r\n"))
    answer = acme.rosterd("check")
    assert (answer.code, failed(answer), noted(answer)) == (0, [], [])


def test_a_byte_order_mark_is_taken_before_whatever_is_imported_and_in_an_ldif(acme: Installation) -> None:
    mark = b"\xef\xbb\xbf"
    for name, content in {
        "offerings.csv": b"code,name\r\nCAD,Cad\r\n",
        "offerings.ndjson": b'{"code": "CAD", "name": "Cad"}\r\n',
        "usage.csv": b"event_id,occurred_at,mail,offering,metric,value\r\n",
    }.items():
        (acme.folder / name).write_bytes(mark + content)
        answer = acme.rosterd("import", name.partition(".")[0], str(acme.folder / name))
        assert "\ufeff" not in answer.out + answer.err
        assert answer.code == 0 or name == "usage.csv", answer.err
    (acme.folder / "organizations" / "people.ldif").write_bytes(
        mark
        + b"version: 1\r\n\r\ndn: uid=a,dc=x\r\nobjectClass: person\r\nuid: a\r\nentryUUID: 1\r\nmail: a@b.example\r\n"
    )
    tables = acme.organization.read_text(encoding="utf-8")
    acme.organization.write_text(tables[: tables.index("[[directories]]\nid")], encoding="utf-8")
    acme.append('\n[[directories]]\nid = "file"\nkind = "ldif"\nfile = "people.ldif"\n')
    answer = acme.rosterd("check", "--live")
    assert "people:people.ldif: 1 entries" in answer.out, answer.out


def test_who_else_could_change_what_is_read_is_named(acme: Installation) -> None:
    acme.file.chmod(0o646)
    [(said, step)] = failed(acme.rosterd("check"))
    assert said == f"{shlex.quote(str(acme.file))} can be written by everybody"
    assert paste(step) == 0
    acme.organization.chmod(0o664)
    [(said, step)] = noted(acme.rosterd("check"))
    assert " can be written by the group " in said
    assert paste(step) == 0
    (acme.folder / "organizations").chmod(0o777)
    [(said, step)] = failed(acme.rosterd("check"))
    assert said.startswith(f"everybody can write into {shlex.quote(str(acme.folder / 'organizations'))}")
    assert paste(step) == 0
    (acme.folder / "secrets").chmod(0o1777)
    assert acme.rosterd("check").code == 0, "in a sticky folder everybody keeps to their own"
    (acme.folder / "secrets" / "ldap").chmod(0o640)
    [(said, step)] = noted(acme.rosterd("check"))
    assert " can be read by the group " in said
    assert paste(step) == 0
    (acme.folder / "secrets" / "ldap").chmod(0o604)
    [(said, step)] = failed(acme.rosterd("check"))
    assert " can be read by others" in said
    assert paste(step) == 0
    assert noted(acme.rosterd("check")) == failed(acme.rosterd("check")) == []


def test_a_key_of_somebody_else_is_named(acme: Installation) -> None:
    os.chown(acme.folder / "secrets" / "ldap", 12345, -1)
    [(said, step)] = failed(acme.rosterd("check"))
    assert "belongs to user 12345, who can change it at any time" in said
    assert step == f'sudo chown "$(id -un)" {shlex.quote(str(acme.folder / "organizations/../secrets/ldap"))}'
