"""sso guide: the page of one identity provider, with this organization's values in place of the examples."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from importlib.resources import files
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ledger.errors import BadInput
from rosterd.verbs.console import Json, OneOrganization, Session, Shown, answer, choose

if TYPE_CHECKING:
    from connector.sso.saml.own_metadata import OwnSide
    from connector.sso.settings import SsoSettings

_KEYCLOAK = re.compile(r"(https://.+)/realms/([^/]+)/protocol/saml/descriptor")
_SETTINGS = re.compile(r"```toml\n(\[sso\]\n.*?)```", re.DOTALL)


def guide(
    context: typer.Context,
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="The identity provider, as entra-id or okta; none lists them.")
    ] = "",
    organization: OneOrganization = "",
    as_json: Json = False,
) -> None:
    """Print how one identity provider is set up, with your own addresses in it; needs neither daemon nor ledger."""
    from rosterd.own_side import own_side

    session: Session = context.obj
    session.as_json = session.as_json or as_json
    if not name:
        answer(session, Shown((*known(), "  → rosterd sso guide NAME"), {"guides": list(known())}))
    file = known()[_chosen(name)]
    settings = session.load()
    customer = settings.customer(choose(settings, organization))
    own = own_side(settings, customer.organization.id)
    domains = [item.name for item in customer.settings.domains]
    page = filled((files("rosterd.guides") / file).read_text(encoding="utf-8"), own, domains[0] if domains else "")
    facts = {
        "entity_id": own.entity_id,
        "acs": own.acs,
        "metadata": own.entity_id,
        "name_id_format": own.name_id_format,
        "domains": domains,
        "sso": own.sso.model_dump(exclude_defaults=True),
    }
    head = [
        f"entityID (audience): {own.entity_id}",
        f"ACS (reply address): {own.acs}",
        f"our metadata: {own.entity_id}, or the file of: rosterd sso metadata --out ours.xml",
        f"NameID that it asks for: {own.name_id_format}",
        f"domains: {', '.join(domains) or 'none → add [[domains]] to ' + str(customer.file)}",
        f"[sso] of {customer.file}:",
        *(f"  {line}" for line in _compared(own.sso, page)),
    ]
    if len(settings.customers) > 1:
        head.append(f"there are several organizations: add --organization {own.organization} to each command below")
    answer(session, Shown((*head, "", *page.rstrip("\n").split("\n")), {"name": _chosen(name), **facts, "text": page}))


def known() -> dict[str, str]:
    """Name of a guide → its file."""
    names = sorted(item.name for item in files("rosterd.guides").iterdir() if item.name.endswith(".md"))
    return {name.removesuffix(".md").removesuffix("-as-provider"): name for name in names}


def filled(page: str, own: OwnSide, domain: str) -> str:
    """A guide with these values in place of its examples; what only the provider knows stays in CAPITALS."""
    at = _KEYCLOAK.fullmatch(own.sso.metadata)
    server, realm = at.groups() if at else ("https://KEYCLOAK-ADDRESS", "REALM")
    examples = {
        re.escape("https://rosterd.acme.example/sso/acme/acs").replace("\\-", "-"): re.escape(own.acs),
        "https://rosterd.acme.example/sso/acme/metadata": own.entity_id,
        "https://rosterd.acme.example/sso/acme/acs": own.acs,
        "https://rosterd.acme.example": own.public_url,
        "https://keycloak.acme.example/realms/acme": f"{server}/realms/{realm}",
        "https://keycloak.acme.example": server,
        " -r acme ": f" -r {realm} ",
        "acme.example": domain or "YOUR-DOMAIN",
    }
    pattern = "|".join(re.escape(example) for example in examples)
    return re.sub(pattern, lambda found: examples[found[0]], page)


def _chosen(name: str) -> str:
    """The guide that was meant: its name, or how that begins; raises ``BadInput`` naming all of them."""
    asked = _letters(name.removesuffix(".md").removesuffix("-as-provider"))
    found = [item for item in known() if asked and _letters(item).startswith(asked)]
    if len(found) != 1:
        raise BadInput(
            f"there is no guide {name!r} (known: {', '.join(known())})",
            where="NAME",
            next_step="rosterd sso guide with one of them; any SAML 2.0 provider works as the nearest of them does",
        )
    return found[0]


def _letters(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _compared(sso: SsoSettings, page: str) -> Iterator[str]:
    """What the organization's file says, and where the guide says something else."""
    said = sso.model_dump(exclude_defaults=True)
    yield from (f"{key} = {_toml(value)}" for key, value in said.items())
    if not said:
        yield "nothing yet"
    found = _SETTINGS.search(page)
    wanted: dict[str, Any] = tomllib.loads(found[1])["sso"] if found else {}
    for key, value in wanted.items():
        if key != "metadata" and said.get(key) != value:
            yield f"→ this guide says: {key} = {_toml(value)}"
    if "metadata" in wanted and not sso.metadata:
        yield f"→ this guide says: metadata = {_toml(wanted['metadata'])}"


def _toml(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else f'"{value}"'


def add_to(sso: typer.Typer) -> None:
    """Register the verb below ``rosterd sso``."""
    sso.command()(guide)
