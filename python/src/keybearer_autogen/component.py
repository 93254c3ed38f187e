"""What the components of this package have in common: the part of a configuration that says where the host is."""

from __future__ import annotations

from .extras import needs

with needs("autogen", "a component of AutoGen"):
    from pydantic import BaseModel, ConfigDict


class HostConfig(BaseModel):
    """Where the host is, by name; nothing in here is a secret.

    An unknown key is an error, and no error repeats what was in the configuration: a token that somebody put into one
    by mistake isn't printed.
    """

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    url: str | None = None
    url_env: str = "KEYBEARER_URL"
    token_env: str = "KEYBEARER_TOKEN"
    ca_file: str | None = None
    insecure_http: bool = False
    conversation: str | None = None
