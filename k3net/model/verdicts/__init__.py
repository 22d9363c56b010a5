"""What a connectivity matrix means: pictures in, the smallest explanation out (docs/verdicts.md)."""
