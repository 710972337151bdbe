"""What `config show` prints of a value."""

import pytest
from pydantic import SecretStr

from kernel.config import words
from kernel.config.show import masked


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("postgresql://bot:hush@db:5432/fox", "postgresql://bot:(hidden)@db:5432/fox"),
        ("postgres://bot@db/fox", "postgres://bot:(hidden)@db/fox"),
        ("postgresql://bot:hu/sh@db/fox", "postgresql://bot:(hidden)@db/fox"),
        ("postgresql://bot:hush@db/fox?password=hush", "postgresql://bot:(hidden)@db/fox?(hidden)"),
        ("postgresql://bot:hu@sh@db/fox", "(hidden)"),
        ("postgresql://bot:hu?sh@db/fox", "(hidden)"),
        ("postgresql://db/fox?password=hu@sh", "(hidden)"),
        ("postgresql://bot:hush", "(hidden)"),
        ("", ""),
    ],
)
def test_a_database_address_shows_its_host_and_never_its_password(address, shown):
    assert masked(SecretStr(address)) == shown


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("ws://localhost:8765", "ws://localhost:8765"),
        ("wss://u:hush@h/p", "wss://(hidden)@h/p"),
        ("wss://u:hu@sh@h/p", "wss://(hidden)@h/p"),
        ("wss://h/p?token=hush", "wss://h/p?(hidden)"),
        ("wss://h/p?token=hu@sh", "wss://(hidden)"),
        ("wss://u:hu?sh@h/p", "wss://(hidden)"),
    ],
)
def test_a_feed_address_shows_neither_user_nor_options(address, shown):
    assert words.shown(address) == shown
