"""Whether directory sync may run (R5): evidence, the decision for each domain, and what is told of it."""
