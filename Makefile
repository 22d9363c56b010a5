.PHONY: help run test lint bench soak

help:  ## this list
	@sed -n 's/^\([a-z]*\):.*## */\1|/p' Makefile | while IFS='|' read -r name what; do printf '  make %-6s %s\n' "$$name" "$$what"; done

run:  ## the daemon in the foreground, with etc/k3net.yaml
	@scripts/run

test:  ## all tests; those that need root or a real server are skipped without them
	@scripts/test

lint:  ## ruff (rules and format) and mypy
	@scripts/lint

bench:  ## the figures, each beside its reference
	@scripts/venv test
	@.venv/bin/python benchmarks/run.py

soak:  ## the tests with random seeds and thirty times the examples (half an hour)
	@HYPOTHESIS_PROFILE=soak scripts/test
