"""The connectivity checker: who reaches whom, and what that means (spec/3-checker.md)."""
