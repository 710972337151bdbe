"""Settings: defaults suffice, and whatever is wrong is told at once."""

import re
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel.config import Settings, reference
from kernel.config.advice import RECOMMENDED, WITHOUT_EFFECT
from kernel.config.values import OUTSIDE, SECTIONS, Values
from kernel.errors import SettingsError
from kernel.model.orders import PriceSource
from tests.conventions.tree import ROOT

OWNERS = {
    "POSITION_SIZE_USD": "200",
    "MIN_POSITION_SIZE_USD": "10",
    "MAX_POSITION_SIZE_USD": "5000",
    "MAX_POSITIONS": "10",
    "MAX_EXPOSURE_USD": "30000",
    "STOP_LOSS_PERCENT": "2.0",
    "TRAILING_ACTIVATION_PERCENT": "1.5",
    "TRAILING_CALLBACK_PERCENT": "0.5",
    "TRAILING_MIN_UPDATE_INTERVAL_SECONDS": "60",
    "TRAILING_MIN_IMPROVEMENT_PERCENT": "0.1",
    "TRAILING_ALERT_IF_UNPROTECTED_WINDOW_MS": "500",
    "MAX_POSITION_AGE_HOURS": "3",
    "AGED_GRACE_PERIOD_HOURS": "8",
    "AGED_LOSS_STEP_PERCENT": "0.5",
    "AGED_MAX_LOSS_PERCENT": "10.0",
    "AGED_ACCELERATION_FACTOR": "1.2",
    "AGED_CHECK_INTERVAL_MINUTES": "60",
    "COMMISSION_PERCENT": "0.1",
    "MIN_SCORE_WEEK": "0",
    "MIN_SCORE_MONTH": "50",
    "MAX_SPREAD_PERCENT": "2.0",
    "WAVE_CHECK_MINUTES": "6,20,35,50",
    "WAVE_CHECK_DURATION_SECONDS": "120",
    "MAX_TRADES_PER_15MIN": "10",
    "SIGNAL_BUFFER_PERCENT": "33",
    "SIGNAL_WS_URL": "ws://localhost:8765",
    "SIGNAL_WS_AUTO_RECONNECT": "true",
    "SIGNAL_WS_RECONNECT_INTERVAL": "5",
    "SIGNAL_WS_MAX_RECONNECT_ATTEMPTS": "-1",
    "SIGNAL_BUFFER_SIZE": "100",
    "DB_HOST": "localhost",
    "DB_PORT": "5433",
    "DB_NAME": "fox_crypto",
    "DB_USER": "elcrypto",
    "DB_POOL_SIZE": "10",
    "DB_MAX_OVERFLOW": "20",
    "BINANCE_TESTNET": "false",
    "BYBIT_TESTNET": "false",
    "DEBUG": "false",
    "ENVIRONMENT": "production",
    "LOG_LEVEL": "INFO",
}


def problems(values: dict[str, str]) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as refused:
        Settings.load(values)
    return refused.value.problems


@pytest.mark.parametrize("name", OWNERS)
def test_the_defaults_are_the_owners(name):
    written = Settings.load({name: OWNERS[name]})
    assert getattr(written, name.lower()) == getattr(Settings(), name.lower())


def test_every_problem_is_told_at_once_with_name_value_range_and_fix():
    found = problems(
        {
            "POSITION_SIZE_USD": "abc",
            "MAX_POSITIONS": "0",
            "WAVE_CHECK_MINUTES": "6,99",
            "STOP_LOS_PERCENT": "2",
            "MARGIN_MODE": "portfolio",
            "LEVERAGE": "60",
        }
    )
    assert found == (
        "STOP_LOS_PERCENT: no such setting; did you mean STOP_LOSS_PERCENT?",
        (
            "WAVE_CHECK_MINUTES=6,99: must be minutes from 0 to 59, separated by commas;"
            " correct it, or remove it for the default 6,20,35,50"
        ),
        (
            "POSITION_SIZE_USD=abc: must be a number from 1 to 10000000;"
            " correct it, or remove it for the default 200"
        ),
        (
            "MAX_POSITIONS=0: must be a whole number from 1 to 200;"
            " correct it, or remove it for the default 10"
        ),
        (
            "MARGIN_MODE=portfolio: must be one of isolated, cross;"
            " correct it, or remove it for the default isolated"
        ),
        (
            "STOP_LOSS_PERCENT=2, LIQUIDATION_BUFFER_PERCENT=0.5, LEVERAGE=60: the stop would lie"
            " beyond the liquidation price, 100 / LEVERAGE percent away;"
            " lower the leverage or the stop distance"
        ),
    )


@pytest.mark.parametrize(
    ("values", "concerned"),
    [
        ({"POSITION_SIZE_USD": "5"}, "POSITION_SIZE_USD=5"),
        ({"POSITION_SIZE_USD": "6000"}, "MAX_POSITION_SIZE_USD=5000"),
        ({"MAX_EXPOSURE_USD": "100"}, "MAX_EXPOSURE_USD=100"),
        ({"TRAILING_BREAKEVEN_PERCENT": "1.6"}, "TRAILING_BREAKEVEN_PERCENT=1.6"),
        ({"WAVE_CHECK_MINUTES": "20,6"}, "WAVE_CHECK_MINUTES=20,6"),
        ({"WAVE_CHECK_MINUTES": "6,7", "WAVE_CHECK_DURATION_SECONDS": "61"}, "a check would"),
        ({"WAVE_CHECK_MINUTES": "0,59", "WAVE_CHECK_DURATION_SECONDS": "61"}, "a check would"),
        ({"WAVE_CHECK_MINUTES": ","}, "WAVE_CHECK_MINUTES"),
        ({"PROTECTION_CALL_TIMEOUT_SECONDS": "5", "UNPROTECTED_DEADLINE_SECONDS": "5"}, "deadline"),
        ({"POSITION_SIZE_USD": "NaN"}, "POSITION_SIZE_USD=NaN"),
        ({"POSITION_SIZE_USD": "Infinity"}, "POSITION_SIZE_USD=Infinity"),
        ({"SIGNAL_WS_URL": "http://signals"}, "ws:// or wss://"),
        ({"DEBUG": "perhaps"}, "true or false"),
        ({"TRAILING_CALLBACK_PERCENT": "1.5"}, "TRAILING_CALLBACK_PERCENT=1.5"),
        ({"TRAILING_MIN_IMPROVEMENT_PERCENT": "1.1"}, "TRAILING_EMERGENCY_IMPROVEMENT_PERCENT=1"),
        ({"TRAILING_STEP_GAIN_PERCENT": "1.1"}, "TRAILING_STEP_PERCENT=1"),
        ({"TRAILING_STRATEGY": "breakeven"}, "TRAILING_BREAKEVEN_PERCENT="),
        ({"TRAILING_STRATEGY": "magic"}, "one of percent, atr, step, breakeven"),
        ({"AGED_LOSS_STEP_PERCENT": "11"}, "AGED_MAX_LOSS_PERCENT=10"),
        ({"AGED_GRACE_PERIOD_HOURS": "0.5"}, "AGED_CHECK_INTERVAL_MINUTES=60"),
        ({"SIGNAL_AUTH_RETRY_SECONDS": "4000"}, "SIGNAL_AUTH_RETRY_MAX_SECONDS=3600"),
        ({"GUARD_ACTIONS": "critical,low"}, "words of medium, high, critical, emergency"),
        ({"MAX_POSITIONS": "1_0"}, "MAX_POSITIONS=1_0"),
        ({"MAX_SPREAD_PERCENT": "0_5"}, "MAX_SPREAD_PERCENT=0_5"),
        ({"POSITION_SIZE_USD": "\u0663\u0660\u0660"}, "from 1 to 10000000"),
        ({"WAVE_CHECK_MINUTES": "6,2_0"}, "WAVE_CHECK_MINUTES=6,2_0"),
        ({"BINANCE_TESTNET": "true"}, "BINANCE_TESTNET=true, ENVIRONMENT=production"),
        ({"BYBIT_TESTNET": "true", "ENVIRONMENT": "Production"}, "refused in production"),
        ({"BINANCE_API_KEY": "k"}, "BINANCE_API_KEY=(hidden), BINANCE_API_SECRET="),
        ({"DATABASE_URL": "mysql://u:p@h/d"}, "DATABASE_URL=(hidden): must be an address"),
        ({"MAX_POSITIONS": "3", "max_positions": "4"}, "max_positions: is set as MAX_POSITIONS"),
    ],
)
def test_a_wrong_or_contradicting_value_is_refused(values, concerned):
    found = problems(values)
    assert len(found) == 1
    assert concerned in found[0]


def test_secrets_appear_in_no_text():
    settings = Settings.load(
        {
            "BINANCE_API_KEY": "hush",
            "BINANCE_API_SECRET": "hush",
            "DATABASE_URL": "postgresql://u:hush@h/d",
        }
    )
    shown = settings.canonical_json() + repr(settings) + str(settings)
    assert "hush" not in shown


def test_the_guard_can_be_told_to_act_nowhere():
    assert Settings.load({"GUARD_ACTIONS": "None"}).guard_actions == ()
    assert Settings.load({"GUARD_ACTIONS": "HIGH, emergency"}).guard_actions == (
        "high",
        "emergency",
    )


def test_an_empty_text_is_not_set():
    settings = Settings.load(
        {"TRAILING_BREAKEVEN_PERCENT": "", "DB_HOST": " ", "MAX_POSITIONS": ""}
    )
    assert settings.trailing_breakeven_percent is None
    assert settings.max_positions == 10
    assert not settings.database_is_set


def test_a_database_is_set_only_by_name():
    assert Settings.load({"DB_HOST": "localhost"}).database_is_set
    assert Settings.load({"DATABASE_URL": "postgresql://h/d"}).database_is_set
    assert not Settings.load({"DB_PORT": "5434"}).database_is_set


def test_other_variables_of_an_environment_are_left_alone():
    environment = {"PATH": "/usr/bin", "MAX_POSITIONS": "7", "log_level": "debug"}
    assert Settings.known(environment) == {"MAX_POSITIONS": "7", "log_level": "debug"}
    assert Settings.load(Settings.known(environment)).log_level == "DEBUG"


def test_lists_and_words_are_read_in_any_case():
    settings = Settings.load(
        {"STOPLIST_SYMBOLS": " dogeusdt, 币安人生usdt ,", "STOP_TRIGGER_PRICE": "LAST"}
    )
    assert settings.stoplist_symbols == ("DOGEUSDT", "币安人生USDT")
    assert settings.stop_source is PriceSource.LAST


@given(
    size=st.decimals("10", "5000", places=2),
    positions=st.integers(1, 200),
    stop=st.decimals("0.1", "19", places=1),
    breakeven=st.none() | st.decimals("0.1", "1.5", places=1),
    minutes=st.sampled_from([(6, 20, 35, 50), (6,), (0, 30)]),
)
def test_the_journaled_settings_are_the_settings(size, positions, stop, breakeven, minutes):
    settings = Settings(
        position_size_usd=size,
        max_positions=positions,
        stop_loss_percent=stop,
        trailing_breakeven_percent=breakeven,
        wave_check_minutes=minutes,
    )
    document = settings.canonical_json()
    again = Settings.from_json(document)
    assert again == settings
    assert again.canonical_json() == document
    assert again.settings_hash() == settings.settings_hash()


def test_the_hash_follows_what_the_kernel_depends_on_and_nothing_else():
    base = Settings()
    assert Settings(max_positions=9).settings_hash() != base.settings_hash()
    assert Settings(db_host="elsewhere", log_level="DEBUG").settings_hash() == base.settings_hash()
    assert Settings(stop_loss_percent=Decimal("2.00")).settings_hash() == base.settings_hash()


@pytest.mark.parametrize(
    "document", ["", "[]", "{", '{"max_position": 3}', '{"max_positions": "x"}']
)
def test_a_damaged_journal_header_is_refused(document):
    with pytest.raises(SettingsError):
        Settings.from_json(document)


def test_the_owners_recommendations_are_advice():
    settings = Settings(max_positions=20, wave_check_duration_seconds=180)
    assert settings.advice() == ("MAX_POSITIONS=20: 5 to 10 is advised",)
    assert any("180" in line for line in Settings().advice())


def test_the_tables_name_settings_that_exist():
    named = [*OUTSIDE, *WITHOUT_EFFECT, *(name for name, _, _ in RECOMMENDED)]
    assert [name for name in named if name not in Values.model_fields] == []


def test_the_settings_stand_in_the_order_of_the_sections():
    assert list(Values.model_fields) == [name for part in SECTIONS for name in part.model_fields]


def test_the_page_of_settings_is_the_generated_one():
    page = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    assert reference.into_page(page) == page, "run: make docs"


def test_the_page_of_settings_tells_every_name_default_range_and_meaning():
    page = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in page.splitlines()]
    written = [(row[0].split("`")[1], row[1], row[2]) for row in cells if row and "`" in row[0]]
    assert written == Settings.table()
    assert all(row[3] for row in cells if row and "`" in row[0])


def test_the_example_file_is_the_generated_one():
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    assert example == reference.env_example(), "run: make docs"


def test_names_without_effect_are_told():
    assert (
        "EPOCH_HOURS: accepted, but this release does not act on it"
        in Settings(epoch_hours=12).advice()
    )
    assert Settings(wave_check_duration_seconds=180).advice() == ()


def test_a_setting_is_said_to_be_without_effect_exactly_while_no_code_reads_it():
    code = "".join(
        path.read_text(encoding="utf-8")
        for folder in ("kernel", "venues", "replay", "scenarios")
        for path in sorted((ROOT / folder).rglob("*.py"))
        if "config" not in path.parent.parts
    )
    inside = [name for name in Values.model_fields if name not in (*OUTSIDE, "stop_trigger_price")]
    read = [name for name in inside if re.search(rf"\.{name}\b", code)]
    assert [name for name in read if name in WITHOUT_EFFECT] == [], "read: take them off the list"
    assert [name for name in inside if name not in (*read, *WITHOUT_EFFECT)] == []
