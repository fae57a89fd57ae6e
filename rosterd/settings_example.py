"""The values of the example files: a company that could exist. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

INSTALLATION: dict[str, Any] = {
    "organizations": "organizations/*.toml",
    "server": {"listen": "127.0.0.1:8080", "public_url": "https://rosterd.acme.example"},
    "database": {"url": "sqlite:///var"},
    "storage": {"warehouse": "file:var/warehouse"},
    "secrets": {"pepper": "file:secrets/pepper", "pseudonym_key": "file:secrets/pseudonym-key"},
    "schedule": {"reconcile_every": "15m", "publish_every": "1h", "full_reading_every": "24h"},
    "dns": {"resolvers": ["9.9.9.9:53", "1.1.1.1:53"]},
    "logging": {"format": "text", "level": "info"},
}

ORGANIZATION: dict[str, Any] = {
    "organization": {"id": "acme", "name": "Acme Sp. z o.o.", "report_zone": "Europe/Warsaw"},
    "domains": [{"name": "acme.example"}],
    "sso": {
        "entity_id": "https://idp.acme.example/metadata",
        "metadata": "file:acme-idp-metadata.xml",
        "mail_attribute": "",
        "subject_attribute": "",
        "fold_subject": False,
        "response_signed_only": False,
    },
    "teams": [{"name": "Design", "primary_admin": "anna.kowalska@acme.example"}],
    "directories": [
        {
            "id": "corp",
            "kind": "ldap",
            "servers": ["ldaps://ldap1.acme.example", "ldaps://ldap2.acme.example"],
            "bind_dn": "cn=reader,dc=acme,dc=example",
            "bind_password": "env:ACME_LDAP_PASSWORD",
            "people_base": "ou=People,dc=acme,dc=example",
            "people_filter": "(objectClass=inetOrgPerson)",
            "groups_base": "ou=Groups,dc=acme,dc=example",
            "sentinels": [],
            "tls_ca": "",
            "attributes": {
                "mail": ["mail"],
                "given_name": ["givenName"],
                "family_name": ["sn"],
                "display_name": ["displayName", "cn"],
                "employee_number": ["employeeNumber"],
                "department": ["departmentNumber"],
                "country": ["c"],
            },
        }
    ],
    "mappings": [
        {
            "id": "design",
            "directory": "corp",
            "group": "cn=design,ou=Groups,dc=acme,dc=example",
            "team": "Design",
            "offerings": ["CAD", "RENDER"],
            "priority": 10,
        },
        {
            "id": "research-pl",
            "directory": "corp",
            "where": {"department": ["R&D", "Research"], "country": ["PL"]},
            "exclude": ["visitor@acme.example"],
            "exclude_groups": ["cn=interns,ou=Groups,dc=acme,dc=example"],
            "team": "Design",
            "offerings": ["CAD"],
            "priority": 20,
            "limits": {"day_percent": 10, "day_floor": 3},
        },
    ],
    "guests": [{"domains": ["partner.example"], "mappings": ["design"], "mails": []}],
    "offboarding": {"release_after": "7d", "remove_after": "30d", "confirm_after": "15m"},
    "limits": {
        "day_percent": 10,
        "day_floor": 5,
        "day_ceiling": 200,
        "month_percent": 25,
        "team_day_percent": 20,
        "team_day_floor": 2,
        "on_held": "apply-additions",
        "approval_expires": "72h",
        "approvers": 1,
        "freeze": [
            {
                "from": datetime(2026, 12, 24, tzinfo=UTC),
                "until": datetime(2027, 1, 2, tzinfo=UTC),
                "reason": "nobody is here to look at removals",
            }
        ],
    },
    "sync": {"protected": []},
    "invites": {"send": True, "expire_after": "30d", "release_expired": False},
    "reporting": {"min_group_size": 5, "finalise_after_days": 3, "lateness_days": 35},
}
