"""The rooms: one module per family of losses."""
