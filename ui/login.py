"""The optional login: with an `[auth]` section in Streamlit's secrets, visitors must log in to see a page.

The secrets are `.streamlit/secrets.toml` in the folder where the page was started, or in the home folder. A mistake in
them closes the page instead of opening it: Streamlit itself treats a file that it cannot read as missing.
"""

from collections.abc import Iterable, Mapping
from importlib.util import find_spec

import streamlit as st
from streamlit.errors import StreamlitAuthError, StreamlitSecretNotFoundError

from cbir.errors import CbirError
from cbir.settings import Settings
from cbir.text import one_line

from .components import problems

SECRETS = ".streamlit/secrets.toml"
MIN_SECRET_LENGTH = 32
_DEFAULT = "default"


class LoginError(CbirError):
    """The login is not set up correctly."""


def let_in(settings: Settings) -> bool:
    """Return whether the visitor may see the pages; draw the visitor's account, or how to log in."""
    required = _required()
    providers = _providers()
    if not required | set(providers):
        if settings.login_allow:
            raise LoginError(f"CBIR_LOGIN_ALLOW is set, but {SECRETS} has no [auth] section. Add one to log in with")
        return True
    if not st.user.get("is_logged_in"):
        st.title("Log in", anchor=False)
        st.markdown("You need an account to see these pages.")
        for name in sorted(providers):
            _login_button(name)
        return False
    email = str(st.user.get("email") or "")
    if settings.login_allow and not allowed(st.user.to_dict(), settings.login_allow):
        st.title("No access", anchor=False)
        account = problems.literal(email or "This account")
        st.error(
            f"{account} may not see these pages. Log out, then log in with another account.", icon=":material/block:"
        )
        st.button("Log out", icon=":material/logout:", on_click=st.logout)
        return False
    with st.sidebar, st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        st.caption(problems.literal(email or str(st.user.get("name") or "Logged in")), width="stretch")
        st.button("Log out", icon=":material/logout:", type="tertiary", on_click=st.logout)
    return True


def allowed(claims: Mapping[str, object], allow: Iterable[str]) -> bool:
    """Return whether the account's email address or its domain is in `allow`, and verified by the provider.

    An address that was not verified may belong to anybody: some providers let users enter any address.
    """
    email = str(claims.get("email") or "").lower()
    verified = claims.get("email_verified") in (True, "true")
    name, _, domain = email.rpartition("@")
    return verified and bool(name) and (email in allow or domain in allow)


def _login_button(provider: str) -> None:
    name = "Log in" if provider == _DEFAULT else f"Log in with {problems.literal(provider)}"
    if st.button(name, icon=":material/login:", type="primary", key=f"log in {provider}"):
        try:
            st.login(provider)
        except StreamlitAuthError as error:
            raise LoginError(f"the login failed: {one_line(error)}") from None


@st.cache_resource
def _required() -> set[str]:
    """Return the providers since the page was started: a file that vanishes must not open the page."""
    return set()


def _providers() -> list[str]:
    """Return the names of the login providers; none without a login."""
    try:
        auth = st.secrets.get("auth")
    except StreamlitSecretNotFoundError as error:
        if error.error_id == "no-secrets-found":
            return []
        raise LoginError(f"{SECRETS} cannot be read as TOML, so nobody can log in") from None
    except (OSError, UnicodeDecodeError):
        raise LoginError(f"{SECRETS} cannot be read, so nobody can log in") from None
    if auth is None:
        return []
    if not isinstance(auth, Mapping):
        raise LoginError(f"auth in {SECRETS} must be a section: [auth]")
    if find_spec("authlib") is None:
        raise LoginError(f"the login in {SECRETS} needs Authlib. Install it with: pip install 'cbir[login]'")
    if len(str(auth.get("cookie_secret") or "")) < MIN_SECRET_LENGTH:
        raise LoginError(
            f"cookie_secret in {SECRETS} needs at least {MIN_SECRET_LENGTH} random characters, or logins can be forged."
            " Create one with: openssl rand -hex 32"
        )
    named = [name for name, value in auth.items() if isinstance(value, Mapping) and "client_id" in value]
    providers = [*([_DEFAULT] if "client_id" in auth else []), *named]
    if not providers:
        raise LoginError(f"[auth] in {SECRETS} has no provider. Add client_id, client_secret and server_metadata_url")
    _required().update(providers)
    return providers
