"""What `rosterd sso` can do, one file per part; each adds its verbs."""
