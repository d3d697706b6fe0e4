"""What a command that refuses has to say."""


def one_line(result, code, message):
    """Its exit code, nothing on stdout, and one line on stderr that holds ``message``."""
    assert (result[0], result[1], result[2].count("\n")) == (code, "", 1), result
    assert result[2].startswith("fastmlp ")
    assert message in result[2]
