"""What tests of several parts share. See `fixtures` for the fixtures and `postgres` for the real PostgreSQL."""
