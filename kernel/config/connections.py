"""Settings that the kernel decides nothing by: keys, hosts, logging. They enter no journal."""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import parse_qsl, urlsplit

from pydantic import SecretStr, field_validator

from kernel.config.fields import Section, Upper, said, secret, switch, whole

ADDRESSES = ("postgresql://", "postgres://")


class Connections(Section):
    """Keys, hosts, logging."""

    binance_api_key: SecretStr = secret("Binance key, with trading rights only")
    binance_api_secret: SecretStr = secret("the secret of the Binance key")
    binance_testnet: bool = switch(False, "Binance's test hosts; refused in production")
    bybit_api_key: SecretStr = secret("Bybit key, with trading rights only")
    bybit_api_secret: SecretStr = secret("the secret of the Bybit key")
    bybit_testnet: bool = switch(False, "Bybit's demo hosts; refused in production")
    database_url: SecretStr = said(
        SecretStr(""),
        "PostgreSQL as one address; comes before the DB_ names",
        allowed="an address postgresql://user:password@host:port/name (or postgres://); within"
        " user and password write @ : / ? # % as %40 %3A %2F %3F %23 %25",
    )
    db_host: str = said(
        "localhost",
        "PostgreSQL server; neither this nor DATABASE_URL set: an embedded one starts",
    )
    db_port: int = whole(5433, 1, 65535, "port of the database server")
    db_name: str = said("fox_crypto", "name of the database")
    db_user: str = said("elcrypto", "user of the database")
    db_password: SecretStr = secret("password of that user")
    db_pool_size: int = whole(10, 1, 100, "connections to the database that are kept")
    db_max_overflow: int = whole(20, 0, 100, "connections beyond them")
    db_statement_timeout_ms: int = whole(
        4000, 100, 60_000, "longest wait for a statement, a lock, a silent transaction"
    )
    events_kept: int = whole(
        100_000, 1_000, 100_000_000, "so many events are kept in the database, the newest"
    )
    events_kept_days: int = whole(90, 1, 3_650, "events are kept so many days at most")
    orders_kept_days: int = whole(
        90,
        2,
        3_650,
        "orders of positions that ended are kept so many days after their last change",
    )
    data_folder: str = said(
        "data", "where the embedded database and the spool are kept", min_length=1
    )
    signal_ws_url: str = said(
        "ws://localhost:8765",
        "the signal server (signal-feed.md)",
        allowed="an address that begins with ws:// or wss://",
        pattern=r"^wss?://\S+$",
        repr=False,  # may hold a token
    )
    signal_ws_token: SecretStr = secret("token for the signal server")
    debug: bool = switch(False, "more in the log")
    environment: str = said(
        "production", "a name; production, prod and live refuse test hosts", min_length=1
    )
    log_level: Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"], Upper] = said(
        "INFO", "least level that is logged"
    )
    log_file_max_mb: int = whole(100, 1, 10_000, "size at which a log file is rotated")
    log_files_kept: int = whole(10, 1, 1000, "rotated log files that are kept")
    metrics_port: int = whole(8000, 0, 65535, "where /metrics and health are served; 0: off")

    @field_validator("database_url", mode="after")
    @classmethod
    def _an_address(cls, value: SecretStr) -> SecretStr:
        told = value.get_secret_value()
        if told and not is_address(told):
            raise ValueError("no address of a PostgreSQL server")
        return value


def is_address(told: str) -> bool:
    """Whether an address says what it seems to.

    An unescaped sign of a password moves all that follows; a password elsewhere would be shown.
    """
    try:
        parts = urlsplit(told)
        hosts = parts.netloc.rpartition("@")[2]
        if "," not in hosts:  # one of several has a port of its own
            _ = parts.port
    except ValueError:
        return False
    strayed = "@" in parts.path + parts.query or "#" in told
    secret = any(name.endswith("password") for name, _ in parse_qsl(parts.query))
    return told.startswith(ADDRESSES) and not strayed and not secret
