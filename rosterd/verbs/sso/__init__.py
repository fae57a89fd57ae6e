"""What `rosterd sso` and `rosterd lab` can do, one file per part; each adds its verbs."""
