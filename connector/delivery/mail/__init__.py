"""Mail as a target: who is written to, in which words, through which server (L5–L7)."""
