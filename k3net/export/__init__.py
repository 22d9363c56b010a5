"""The neighbour export: what the neighbour table holds, with names and vendors. Sends no probe."""
