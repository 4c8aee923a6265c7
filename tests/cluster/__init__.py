"""Three nodes on one PostgreSQL, everything that can befall them, and a checker over what was seen."""
