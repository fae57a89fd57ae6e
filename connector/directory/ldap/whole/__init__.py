"""Reading everything of one server: people, groups, members in parts, sentinels (D1–D6)."""
