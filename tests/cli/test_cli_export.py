"""What `k3net export` says to options that are wrong."""

import pytest

from k3net.cli import main


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        (["--bogus"], "unrecognized arguments: --bogus"),
        (["lan", "\x1b[31m"], "unrecognized arguments: lan \\x1b[31m"),
        (["--dns-timeout", "-1s"], "argument --dns-timeout: expected one argument"),
        (["--watch", "--output", "lan.json"], "--watch and --output cannot go together"),
        (["--format=xml"], "unsupported --format=xml (json, yaml, cmd or table)"),
    ],
)
def test_a_wrong_option_is_one_line_and_exit_code_2(capsys, argv, line):
    try:
        code = main(["export", *argv])
    except SystemExit as left:
        code = left.code
    assert (code, *capsys.readouterr()) == (2, "", f"k3net export: {line}\n")


def test_other_commands_show_their_usage_above_what_is_wrong(capsys):
    with pytest.raises(SystemExit) as left:
        main(["nodes", "--bogus"])
    assert left.value.code == 2
    assert capsys.readouterr().err.startswith("usage: k3net")
