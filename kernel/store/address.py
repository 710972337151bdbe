"""Where the database is: an address that never shows its password."""

from __future__ import annotations

from urllib.parse import quote, unquote, urlsplit, urlunsplit

import msgspec

from kernel.config import Settings


class Address(msgspec.Struct, frozen=True):
    """An address of PostgreSQL; what prints it sees `told`."""

    url: str

    @property
    def told(self) -> str:
        """Host, port and name of the database."""
        parts = urlsplit(self.url)
        try:
            place = f"{parts.hostname or 'socket'}{f':{parts.port}' if parts.port else ''}"
        except ValueError:  # a port that is none
            place = "?"
        return f"{place}{parts.path}"

    @property
    def password(self) -> str:
        """What must not be told."""
        return urlsplit(self.url).password or ""

    @property
    def without_password(self) -> str:
        """What may stand among the arguments of a program."""
        parts = urlsplit(self.url)
        user, at, host = parts.netloc.rpartition("@")
        name = quote(unquote(user.partition(":")[0]))
        return urlunsplit(parts._replace(netloc=f"{name}{at}{host}"))

    def hidden(self, words: str) -> str:
        """The words without the password, as it stands in the address and as it is."""
        for secret in (self.password, unquote(self.password)):
            if secret:
                words = words.replace(secret, "***")
        return words

    def __repr__(self) -> str:
        return f"Address({self.told})"

    def __str__(self) -> str:
        return self.told


def configured(settings: Settings) -> Address | None:
    """The database that the settings name; None: neither `DB_HOST` nor `DATABASE_URL` is set."""
    url = settings.database_url.get_secret_value()
    if url:
        return Address(url)
    if "db_host" not in settings.model_fields_set:
        return None
    user = quote(settings.db_user, safe="")
    password = quote(settings.db_password.get_secret_value(), safe="")
    name = quote(settings.db_name, safe="")
    who = f"{user}:{password}" if password else user
    if settings.db_host.startswith("/"):
        where = quote(settings.db_host, safe="")
        return Address(f"postgresql://{who}@/{name}?host={where}&port={settings.db_port}")
    host = f"[{settings.db_host}]" if ":" in settings.db_host else settings.db_host
    return Address(f"postgresql://{who}@{host}:{settings.db_port}/{name}")
