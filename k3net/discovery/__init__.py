"""Sources: each reduces its world to Observations."""
