"""Settings from flags, the environment and a file: who comes first, and what is wrong with them."""

from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel.config import Settings, show, sources
from kernel.config.origins import Line, choose
from kernel.errors import SettingsError
from tests.conventions.tree import ROOT

SECRETS = (
    "BINANCE_API_KEY", "BINANCE_API_SECRET", "BYBIT_API_KEY", "BYBIT_API_SECRET", "DB_PASSWORD",
    "SIGNAL_WS_TOKEN",
)  # fmt: skip


@pytest.fixture
def written(tmp_path):
    def write(content):
        path = tmp_path / "settings.env"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def problems(file, assignments=(), environment=None):
    with pytest.raises(SettingsError) as refused:
        sources.read(assignments, file, environment or {})
    return [problem.replace(str(file), "FILE") for problem in refused.value.problems]


# ------------------------------------------------------------------------ who comes first


def test_a_flag_comes_before_the_environment_before_the_file_before_the_default(written):
    file = written("MAX_POSITIONS=6\nLEVERAGE=6\nPOSITION_SIZE_USD=206\n")
    read = sources.read(
        ["MAX_POSITIONS=8"], file, {"MAX_POSITIONS": "7", "LEVERAGE": "7", "PATH": "/bin"}
    )
    assert (read.settings.max_positions, read.place("max_positions")) == (8, "flag")
    assert (read.settings.leverage, read.place("leverage")) == (7, "environment")
    assert read.settings.position_size_usd == 206
    assert read.place("position_size_usd") == f"{file} line 3"
    assert (read.settings.max_trades_per_15min, read.place("max_trades_per_15min")) == (
        10,
        "default",
    )


def test_the_environment_of_the_process_and_the_file_of_the_folder_are_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MAX_POSITIONS", "9")
    monkeypatch.setenv("leverage", "4")
    (tmp_path / ".env").write_text("WAVE_CONCURRENCY=3\n")
    read = sources.read()
    assert (read.settings.max_positions, read.place("max_positions")) == (9, "environment")
    assert (read.settings.leverage, read.place("leverage")) == (4, "environment")
    assert read.place("wave_concurrency") == ".env line 1"


def test_no_file_is_needed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert sources.read(environment={}).settings == Settings()


def test_an_empty_text_leaves_the_next_source_its_say_and_an_empty_flag_asks_for_the_default(
    written,
):
    file = written("TRAILING_BREAKEVEN_PERCENT=1\nMAX_POSITIONS=6\nLEVERAGE=\n")
    read = sources.read(["TRAILING_BREAKEVEN_PERCENT="], file, {"MAX_POSITIONS": ""})
    assert read.settings.trailing_breakeven_percent is None
    assert read.place("trailing_breakeven_percent") == "flag"
    assert (read.settings.max_positions, read.place("max_positions")) == (6, f"{file} line 2")
    assert read.place("leverage") == "default"


# ------------------------------------------------------------------------ the file


@pytest.mark.parametrize(
    ("content", "password"),
    [
        ("DB_PASSWORD=a=b==", "a=b=="),
        ("DB_PASSWORD='p w # ${HOME} $x'", "p w # ${HOME} $x"),
        ('DB_PASSWORD="p w # ${HOME}"', "p w # ${HOME}"),
        ("DB_PASSWORD=${HOME}", "${HOME}"),
        ("export DB_PASSWORD=plain", "plain"),
        ("DB_PASSWORD = spaced  # a comment", "spaced"),
        ("DB_PASSWORD=with#mark", "with#mark"),
        ("\ufeffDB_PASSWORD=marked", "marked"),
        ("# first\r\nDB_PASSWORD=crlf\r\nMAX_POSITIONS=5\r\n", "crlf"),
        ("db_password=lower", "lower"),
        ("DB_PASSWORD=пароль", "пароль"),
    ],
)
def test_the_forms_of_a_line_are_understood(written, content, password):
    read = sources.read((), written(content), {})
    assert read.settings.db_password.get_secret_value() == password


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"MAX_POSITIONS=5\nDB_PASSWORD=\xff\xfehush\n", ["FILE line 2: not UTF-8"]),
        (b"MAX_POSITIONS=5\n\nDEBUG\x00=hush\n", ["FILE line 3: a zero byte"]),
        ("MAX_POSITIONS 5\n", ["FILE line 1: not NAME=value"]),
        ("\n\nDB_PASSWORD='hush\nLEVERAGE=4\n", ["FILE line 3: not NAME=value"]),
        ("DB_PASSWORD\n", ["FILE line 1: no = after the name"]),
        ("=hush\n", ["FILE line 1: not NAME=value"]),
        (
            "MAX_POSITION=5\n",
            ["FILE line 1: MAX_POSITION: no such setting; did you mean MAX_POSITIONS?"],
        ),
        (
            "LEVERAGE=4\n# between\nleverage=5\n",
            ["FILE line 3: leverage is set in line 1 too; keep one of them"],
        ),
        (
            "MIICdwIBADANBgkqhkiG9w0BAQhush=\n",
            ["FILE line 1: no setting begins this line"],
        ),
    ],
)
def test_what_is_wrong_with_a_file_is_told_with_its_line_and_without_values(written, content, told):
    found = problems(written(content))
    assert len(found) >= len(told)
    assert all(line.startswith(begin) for line, begin in zip(found, told, strict=False))
    assert "hush" not in "\n".join(found)


def test_a_file_that_was_named_must_be_there(tmp_path):
    assert problems(tmp_path / "absent.env")[0].startswith("FILE: No such file")
    assert problems(tmp_path)[0].startswith("FILE: Is a directory")


def test_a_file_without_end_is_refused_and_not_read(written):
    told = "FILE: more than 1000000 bytes are no settings; name another file"
    assert problems(Path("/dev/zero")) == [told]
    large = written("# " + "x" * 999_998)
    assert sources.read([], large, {}).settings == Settings()
    assert "more than 1000000 bytes" in problems(written("# " + "x" * 999_999))[0]


def test_all_problems_of_all_sources_are_told_at_once(written):
    file = written("MAX_POSITIONS=0\nSTOP_LOS_PERCENT=2\nnonsense here\n")
    found = problems(
        file,
        ["LEVERAGE=200", "BYBIT_API_KEY=hush", "WHAT", "LEVERAGE=5", "MAX_SIZE=1"],
        {"POSITION_SIZE_USD": "9"},
    )
    assert [line.partition(";")[0] for line in found] == [
        "--set takes NAME=VALUE",
        "--set LEVERAGE: is given twice",
        "FILE line 3: not NAME=value",
        "--set BYBIT_API_KEY: a secret on the command line is seen by every user of the machine",
        "--set MAX_SIZE: no such setting",
        "FILE line 2: STOP_LOS_PERCENT: no such setting",
        "MAX_POSITIONS=0: must be a whole number from 1 to 200",
        "LEVERAGE=200: must be a whole number from 1 to 125",
        (
            "MIN_POSITION_SIZE_USD=10, POSITION_SIZE_USD=9, MAX_POSITION_SIZE_USD=5000: the size"
            " must lie between the minimum and the maximum"
        ),
    ]
    assert found[6].endswith("(MAX_POSITIONS from FILE line 1)")
    assert found[7].endswith("(LEVERAGE from flag)")
    assert found[8].endswith("(POSITION_SIZE_USD from environment)")
    assert "hush" not in "\n".join(found)


def test_a_variable_that_is_almost_a_setting_is_told(written):
    read = sources.read((), written(""), {"MAX_POSITION": "3", "PATH": "/bin", "HOME": "/"})
    assert [line for line in read.warnings if line.startswith("environment")] == [
        "environment: MAX_POSITION: no such setting; did you mean MAX_POSITIONS?"
    ]


# ------------------------------------------------------------------------ the example file


def test_the_example_file_sets_nothing():
    read = sources.read((), ROOT / ".env.example", {})
    assert read.settings == Settings()
    assert read.places == {}
    assert not read.settings.database_is_set


def test_the_example_file_with_every_line_in_force_is_the_defaults(written):
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    lines = [line.removeprefix("#") for line in example.splitlines() if not line.startswith("# ")]
    read = sources.read((), written("\n".join(lines)), {})
    assert read.settings == Settings()
    assert len([line for line in lines if line]) == len(Settings.model_fields)


# ------------------------------------------------------------------------ secrets


TEXT = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=6, max_size=20)


@given(secret=TEXT.map(lambda told: f"hush{told}hush"), wrong=st.booleans())
def test_no_secret_is_in_any_output(secret, wrong):
    lines = [Line(number, name, secret) for number, name in enumerate(SECRETS, start=1)]
    escaped = quote(secret, safe="")
    lines += [Line(7, "DATABASE_URL", f"postgresql://u:{escaped}@h:1/d?options={escaped}")]
    lines += [Line(8, "SIGNAL_WS_URL", f"wss://u:{secret}@h/p?token={secret}")]
    if wrong:
        lines += [Line(9, "MAX_POSITIONS", "0"), Line(10, "DB_PASSWORDS", secret)]
        lines += [Line(11, "BYBIT_API_SECRET", secret)]
    try:
        read = choose({}, {}, lines, file="FILE")
    except SettingsError as error:
        output = "\n".join(error.problems)
        assert wrong
    else:
        output = show.table(read) + show.document(read) + repr(read)
        assert not wrong
    assert secret not in output
    assert escaped not in output


def test_no_problem_brings_a_control_character_to_a_terminal():
    with pytest.raises(SettingsError) as raised:
        sources.read(["SIGNAL_WS_URL=x\x1b[31m", "DEB\x07UG=1"], environment={})
    assert len(raised.value.problems) == 2
    assert all(problem.isprintable() for problem in raised.value.problems)
