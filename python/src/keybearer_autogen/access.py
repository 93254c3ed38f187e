"""Where the host is, and as whom to speak to it.

The address and the token are read when they are used, from environment variables that are known here by name. So a
component that is dumped, printed or logged has nothing to give away, and a token that was renewed is taken up.
"""

from __future__ import annotations

import ipaddress
import os
import re
from typing import TypedDict

import httpx

from .errors import ConfigurationError
from .token import Token

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}", re.ASCII)


class AccessConfig(TypedDict):
    """What of an :class:`Access` may be stored."""

    url: str | None
    url_env: str
    token_env: str
    ca_file: str | None
    insecure_http: bool


class Access:
    """Where the host is, and the token to show it.

    Args:
        url: The host's address, for example `https://keybearer.internal`. Without it, `url_env` is read.
        url_env: The name of the environment variable that holds the address.
        token_env: The name of the environment variable that holds the token.
        token: The token itself, for factories that have just minted one. A component with such a token can't be
            dumped.
        ca_file: A PEM file of authorities for a host with a certificate of your own. They replace the public ones.
            Variables such as `SSL_CERT_FILE` aren't looked at.
        insecure_http: Allows `http://` beyond loopback, where others may read the token on its way.

    Raises:
        ConfigurationError: The address or a variable's name can't be right.
    """

    def __init__(
        self,
        *,
        url: str | None = None,
        url_env: str = "KEYBEARER_URL",
        token_env: str = "KEYBEARER_TOKEN",
        token: Token | str | None = None,
        ca_file: str | None = None,
        insecure_http: bool = False,
    ) -> None:
        self._insecure_http = insecure_http
        self._url = None if url is None else str(self._checked(url, "the address given"))
        self._url_env = _variable(url_env, "url_env")
        self._token_env = _variable(token_env, "token_env")
        self._token = Token(token) if isinstance(token, str) else token
        self._ca_file = ca_file

    @property
    def ca_file(self) -> str | None:
        """The PEM file of authorities."""
        return self._ca_file

    @property
    def insecure_http(self) -> bool:
        """Whether `http://` beyond loopback is allowed."""
        return self._insecure_http

    def url(self) -> httpx.URL:
        """The host's address, now.

        Raises:
            ConfigurationError: The variable isn't set, or what it holds is no address of a host.
        """
        if self._url is not None:
            return httpx.URL(self._url)
        found = os.environ.get(self._url_env, "").strip()
        if not found:
            raise ConfigurationError(
                f"the environment variable {self._url_env} isn't set; it holds the host's address, for example "
                "http://127.0.0.1:7411"
            )
        return self._checked(found, f"what the environment variable {self._url_env} holds")

    def token(self, *, operator: bool | None = None) -> Token:
        """The token, now.

        Args:
            operator: Which kind it has to be: an operator's, an agent's, or (`None`) either.

        Raises:
            ConfigurationError: The variable isn't set, or holds no token of that kind.
        """
        token = self._token or self._from_environment()
        if operator is not None and token.is_operator != operator:
            raise ConfigurationError(
                "this takes an operator's token (kbo_…), and was given an agent's"
                if operator
                else "this takes an agent's token (kbt_…), and was given an operator's, which no agent should have; "
                "`keybearer token mint` makes one for an agent"
            )
        return token

    def for_config(self) -> AccessConfig:
        """What a component's configuration holds: names, and no token.

        Raises:
            ConfigurationError: The token was given directly: there's no name to store for it.
        """
        if self._token is not None:
            raise ConfigurationError(
                "this component was given its token directly, and a dump must not hold a token; name the environment "
                "variable that holds it instead (token_env)"
            )
        return {
            "url": self._url,
            "url_env": self._url_env,
            "token_env": self._token_env,
            "ca_file": self._ca_file,
            "insecure_http": self._insecure_http,
        }

    def __repr__(self) -> str:
        where = self._url or f"${self._url_env}"
        whose = "a token of its own" if self._token else f"${self._token_env}"
        return f"{type(self).__name__}({where}, {whose})"

    def _from_environment(self) -> Token:
        found = os.environ.get(self._token_env, "").strip()
        if not found:
            raise ConfigurationError(
                f"the environment variable {self._token_env} isn't set; it holds the token, which "
                "`keybearer token mint` makes"
            )
        try:
            return Token(found)
        except ConfigurationError:
            pass
        raise ConfigurationError(
            f"the environment variable {self._token_env} holds neither an agent's token (kbt_…) nor an operator's "
            "(kbo_…). If it's a vendor's key, it belongs into the host's vault"
        )

    def _checked(self, text: str, what: str) -> httpx.URL:
        """An address of a host. What is wrong with one is said without repeating it: it may hold a password."""
        try:
            url = httpx.URL(text)
        except (httpx.InvalidURL, ValueError):
            url = httpx.URL()
        if url.scheme not in ("http", "https") or not url.host:
            raise ConfigurationError(f"{what} isn't an address such as http://127.0.0.1:7411")
        if url.userinfo or url.query or url.fragment:
            raise ConfigurationError(f"{what} holds more than scheme, host, port and path; tokens don't go there")
        if url.scheme == "http" and not self._insecure_http and not _is_loopback(url.host):
            raise ConfigurationError(
                f"{what} would send the token in clear to {url.host}; use https, or say insecure_http=True if the "
                "network between is yours"
            )
        return url.copy_with(path=url.path.rstrip("/") + "/")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _variable(name: str, what: str) -> str:
    if name.startswith(("kbt_", "kbo_", "kbm_")):
        raise ConfigurationError(f"{what} takes the NAME of an environment variable, and was given a token")
    if not _VARIABLE.fullmatch(name):
        raise ConfigurationError(f"{what} takes the name of an environment variable, for example KEYBEARER_TOKEN")
    return name
