"""THE list of datasets: what is published, column by column.

The Iceberg tables, the query compiler, REST, OData, files and docs are all derived from this one list. A column is only
ever added, never renamed, retyped or removed; ``since`` says in which product version it appeared.

Pure: no I/O here.
"""

from __future__ import annotations

from collections.abc import Mapping

from ledger.published.shape import Column, ColumnType, Dataset, Privacy, arrow_table, row_id

__all__ = [
    "DATASETS",
    "OFFERINGS",
    "SEATS",
    "SUBSCRIPTIONS",
    "TEAMS",
    "USAGE_DAILY",
    "USERS",
    "Column",
    "ColumnType",
    "Dataset",
    "Privacy",
    "arrow_table",
    "row_id",
]


def _text(name: str, description: str, privacy: Privacy = Privacy.PUBLIC, *, nullable: bool = False) -> Column:
    return Column(name, ColumnType.STRING, description, privacy, nullable)


_ROW_ID = Column("row_id", ColumnType.STRING, "Key of the row: a hash of the declared key, equal in every publication.")
_TEAM = _text("team_id", "Team the row is attributed to; empty when the person was in no Team on that day.")
_USER = _text("user_key", "Pseudonym of the person, the same in every dataset of the organization.", Privacy.PSEUDONYM)
_OFFERING = _text("offering_code", "Code of the offering.")
_OFFERING_NAME = _text("offering_name", "Name of the offering.")

USAGE_DAILY = Dataset(
    "usage_daily",
    "Use of offerings: one row per person, Team, offering, version, source and day.",
    key=("usage_date", "team_id", "user_key", "offering_code", "version", "source"),
    day_column="usage_date",
    per_user=True,
    columns=(
        _ROW_ID,
        Column("usage_date", ColumnType.DATE, "Day of use in the organization's report zone."),
        Column(
            "usage_at", ColumnType.TIMESTAMP, "The same day as an instant, 00:00Z, for tools that filter by instants."
        ),
        Column("date_key", ColumnType.INT32, "The same day as the number YYYYMMDD, for tools that join on integers."),
        _TEAM,
        _USER,
        _OFFERING,
        _OFFERING_NAME,
        _text(
            "parent_offering_code",
            "Code of the collection the offering was used through; null when none.",
            nullable=True,
        ),
        _text("version", "Version of the product that was used; empty when the product did not say."),
        _text("source", "How use was paid: sus (a single-user seat) or flex (tokens)."),
        Column("is_active", ColumnType.BOOLEAN, "Whether use was observed on that day.", Privacy.PSEUDONYM),
        Column(
            "tokens", ColumnType.INT64, "Tokens consumed on that day; null for seats.", Privacy.PSEUDONYM, nullable=True
        ),
        _text(
            "collection_state",
            "observed, opted_out, unsupported or offline: what the row's silence proves.",
            Privacy.PSEUDONYM,
        ),
        _text("status", "provisional until the finalisation lag has passed, then final."),
        Column("definition_version", ColumnType.INT32, "Version of the definition of use behind the row."),
        Column("revision", ColumnType.INT32, "How often the day was changed after it had become final."),
        _text("snapshot_id", "Publication that last wrote the day; compare to find what changed."),
    ),
)

SEATS = Dataset(
    "seats",
    "Seats, held now or released: who holds a unit of which subscription, since when, and whether it is used.",
    key=("seat_id",),
    per_user=True,
    columns=(
        _ROW_ID,
        _text("seat_id", "Id of the seat."),
        _text("subscription_id", "Subscription the seat is a unit of."),
        _text("team_id", "Team the seat is counted in."),
        _USER,
        _OFFERING,
        _OFFERING_NAME,
        _text("tier", "standard or business: tier of the subscription."),
        _text("state", "invited, active, paused or released.", Privacy.PSEUDONYM),
        Column("assigned_at", ColumnType.TIMESTAMP, "When the seat was assigned.", Privacy.PSEUDONYM),
        Column(
            "unassigned_at",
            ColumnType.TIMESTAMP,
            "When it was released; null while held.",
            Privacy.PSEUDONYM,
            nullable=True,
        ),
        _text("assignment", "direct (by a person), group (through a directory group) or default.", Privacy.PSEUDONYM),
        Column("days_used", ColumnType.INT32, "Days with observed use while the seat was held.", Privacy.PSEUDONYM),
        Column(
            "days_inactive",
            ColumnType.INT32,
            "Full days since the last observed use, or since assignment; null when use was not observed.",
            Privacy.PSEUDONYM,
            nullable=True,
        ),
        Column(
            "last_used_on",
            ColumnType.DATE,
            "Last day with observed use; null when none.",
            Privacy.PSEUDONYM,
            nullable=True,
        ),
        _text("last_activity_state", "used, never_used, not_observed or purged.", Privacy.PSEUDONYM),
        Column("monthly_average", ColumnType.DOUBLE, "Days used per 30 days held.", Privacy.PSEUDONYM),
        Column(
            "reclaimable",
            ColumnType.BOOLEAN,
            "Whether an admin may take the seat back on this evidence.",
            Privacy.PSEUDONYM,
        ),
        _text("reason", "Why it is reclaimable or not, as a code.", Privacy.PSEUDONYM),
    ),
)

SUBSCRIPTIONS = Dataset(
    "subscriptions",
    "Rights of a Team to a number of seats of an offering for a term.",
    key=("subscription_id",),
    columns=(
        _ROW_ID,
        _text("subscription_id", "Id of the subscription."),
        _text("team_id", "Team that owns the subscription."),
        _text("contract_number", "Number of the contract; empty when none was recorded."),
        _OFFERING,
        _OFFERING_NAME,
        Column("seat_quantity", ColumnType.INT32, "Seats bought."),
        _text("term", "Length of the term as an ISO 8601 duration (P12M, P45D)."),
        Column("start_date", ColumnType.DATE, "First day of the term."),
        Column("end_date", ColumnType.DATE, "First day after the term."),
        Column(
            "autorenew_date", ColumnType.DATE, "Day of automatic renewal; null when none is recorded.", nullable=True
        ),
        _text("status", "future, active or expired on the day of publication."),
        _text("tier", "standard or business."),
        _text("reseller_name", "Reseller; null when none is recorded.", nullable=True),
        _text("renews", "Subscription this one continues; empty when none."),
    ),
)

TEAMS = Dataset(
    "teams",
    "Teams of the organization.",
    key=("team_id",),
    columns=(
        _ROW_ID,
        _text("team_id", "Id of the Team."),
        _text("team_name", "Name of the Team."),
        _text("tier", "business when the Team has a running Business subscription, else standard."),
        Column("since", ColumnType.TIMESTAMP, "When the Team came into being."),
    ),
)

OFFERINGS = Dataset(
    "offerings",
    "What is sold.",
    key=("offering_code",),
    team_column="",
    columns=(
        _ROW_ID,
        _OFFERING,
        _OFFERING_NAME,
        _text("kind", "single_user or multi_user."),
        Column("eligible", ColumnType.BOOLEAN, "Whether the offering may carry the Business tier."),
    ),
)

USERS = Dataset(
    "users",
    "People under their pseudonyms; no name, no address.",
    key=("user_key",),
    team_column="",
    per_user=True,
    columns=(
        _ROW_ID,
        _USER,
        _text("department", "Department; empty when not mapped.", Privacy.NAMED),
        _text("cost_centre", "Cost centre; empty when not mapped.", Privacy.NAMED),
        _text("country", "Country; empty when not mapped.", Privacy.NAMED),
        _text("directory_status", "active, disabled, absent or removed.", Privacy.PSEUDONYM),
    ),
)

DATASETS: Mapping[str, Dataset] = {
    dataset.name: dataset for dataset in (USAGE_DAILY, SEATS, SUBSCRIPTIONS, TEAMS, OFFERINGS, USERS)
}
"""Every published dataset, by name."""
