"""The files of the demo's installation: admin files, catalogue, keys. Text only; nothing is started here."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

from rosterd.demo.company import DOMAIN, Company, group_dn
from rosterd.first.files import key

ORGANIZATION = "acme"

TEAMS: dict[str, str] = {"Design": "design", "Engineering": "engineering", "Site": "site", "Visual": "visual"}
"""Team → the directory group that fills it."""

OFFERINGS = """\
code,name,kind,eligible
CAD,Aria CAD,single_user,true
RENDER,Aria Render,single_user,true
FIELD,Aria Field,single_user,true
"""

_SEATS: tuple[tuple[str, str, str, float], ...] = (
    ("Design", "CAD", "business", 1.05),
    ("Design", "RENDER", "business", 0.80),  # too few: a waitlist
    ("Engineering", "CAD", "business", 1.10),
    ("Site", "FIELD", "business", 1.10),
    ("Visual", "RENDER", "standard", 1.20),  # no Business tier: no reporting API
)
"""Team, offering, tier, seats as a share of the Team's people."""

_MAPPED: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("design", "Design", ("CAD", "RENDER")),
    ("engineering", "Engineering", ("CAD",)),
    ("site", "Site", ("FIELD",)),
    ("visual", "Visual", ("RENDER",)),
)


def team_size(company: Company, team: str) -> int:
    """People of a Team's group, nested ones included."""
    group = TEAMS[team]
    return sum(1 for person in company.people.values() if person.department == group)


def subscriptions(company: Company, today: date) -> str:
    """Subscriptions for a year that began a month ago, as the vendor's order system exports them."""
    start, end = today - timedelta(days=30), today + timedelta(days=335)
    lines = ["id,team,offering,quantity,tier,starts_on,ends_on,contract_number"]
    for number, (team, offering, tier, share) in enumerate(_SEATS, start=1):
        quantity = max(1, int(team_size(company, team) * share))
        lines.append(f"SUB-{number:03d},{team},{offering},{quantity},{tier},{start},{end},PO-2026-{number:03d}")
    return "\n".join(lines) + "\n"


def first_of(company: Company, team: str) -> str:
    """Mail address of the Team's Primary Admin: the first person of its group."""
    return next(person.mail for person in company.people.values() if person.department == TEAMS[team])


def installation(port: int, resolvers: tuple[str, str], mail_port: int = 0) -> str:
    """``rosterd.toml`` of the demo; without a mail server where ``mail_port`` is 0."""
    return f"""\
organizations = "organizations/*.toml"

[server]
listen = "127.0.0.1:{port}"
operator_listen = "127.0.0.1:0"
public_url = "http://127.0.0.1:{port}"

[database]
url = "sqlite:///var"

[storage]
warehouse = "file:var/warehouse"

[secrets]
pepper = "file:secrets/pepper"
pseudonym_key = "file:secrets/pseudonym-key"

[dns]
resolvers = ["{resolvers[0]}", "{resolvers[1]}"]

[saml]
signing_key = "file:secrets/saml-key.pem"
signing_certificate = "file:secrets/saml-certificate.pem"
allow_http_on_loopback = true
{_mail(mail_port) if mail_port else ""}"""


def _mail(port: int) -> str:
    return f"""
[mail]
host = "127.0.0.1"
port = {port}
security = "none"
sender = "accounts@vendor.example"
rate = 100000
connections = 4
"""


LDIF_DIRECTORY = """\
[[directories]]
id = "corp"
kind = "ldif"
file = "../people.ldif"
require_count = true
attributes = { mail = ["mail"], department = ["departmentNumber"] }
disabled = { attribute = "employeeType", values = ["disabled"] }
"""


def organization(
    company: Company, *, directory: str = LDIF_DIRECTORY, metadata: str = "file:../idp-metadata.xml"
) -> str:
    """``organizations/acme.toml``; only ``directory``, its ``[[directories]]`` table, differs for a real server."""
    parts = [
        f'[organization]\nid = "{ORGANIZATION}"\nname = "Acme Sp. z o.o."\nreport_zone = "Europe/Warsaw"\n',
        f'[[domains]]\nname = "{DOMAIN}"\n',
        f'[sso]\nmetadata = "{metadata}"\n',
        directory,
        *(f'[[teams]]\nname = "{team}"\nprimary_admin = "{first_of(company, team)}"\n' for team in TEAMS),
    ]
    for priority, (group, team, offerings) in enumerate(_MAPPED, start=1):
        codes = ", ".join(f'"{code}"' for code in offerings)
        parts.append(
            f'[[mappings]]\nid = "{group}"\ndirectory = "corp"\ngroup = "{group_dn(group)}"\n'
            f'team = "{team}"\nofferings = [{codes}]\npriority = {priority * 10}\n'
        )
    return "\n".join(parts)


def write(
    folder: Path, company: Company, *, today: date, port: int, resolvers: tuple[str, str], mail_port: int = 0
) -> Path:
    """Write everything but the identity provider's metadata; returns the path of ``rosterd.toml``."""
    for name in ("organizations", "secrets", "var", "import"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "rosterd.toml").write_text(
        installation(port=port, resolvers=resolvers, mail_port=mail_port), encoding="utf-8"
    )
    (folder / "organizations" / f"{ORGANIZATION}.toml").write_text(organization(company), encoding="utf-8")
    (folder / "import" / "offerings.csv").write_text(OFFERINGS, encoding="utf-8")
    (folder / "import" / "subscriptions.csv").write_text(subscriptions(company, today), encoding="utf-8")
    (folder / "people.ldif").write_text(company.to_ldif(), encoding="utf-8")
    for name in ("pepper", "pseudonym-key"):
        path = folder / "secrets" / name
        path.write_bytes(key())
        path.chmod(0o600)
    return folder / "rosterd.toml"
