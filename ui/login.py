"""The optional login: with an `[auth]` section in Streamlit's secrets, nobody sees a page who is not logged in.

The secrets are `.streamlit/secrets.toml` in the folder where the page was started (or in the home folder). What is
wrong with them closes the page instead of opening it: Streamlit itself takes a file that it cannot read for none.
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
SHORTEST_SECRET = 32
_DEFAULT = "default"


class LoginError(CbirError):
    """The login cannot work as it is set up."""


def let_in(settings: Settings) -> bool:
    """Return whether the visitor may see the pages; draw who is logged in, or else how to.

    Raises:
        LoginError: The login cannot work as it is set up; nobody is let in.
    """
    wanted = _required()
    found = _providers()
    wanted |= set(found)
    if not wanted:
        if settings.login_allow:
            raise LoginError(
                f"CBIR_LOGIN_ALLOW says who may log in, but {SECRETS} has no [auth] section to log in with"
            )
        return True
    if not st.user.get("is_logged_in"):
        st.title("Log in", anchor=False)
        st.markdown("These pages are for those who have an account.")
        for name in sorted(found):
            _offer(name)
        return False
    address = str(st.user.get("email") or "")
    if settings.login_allow and not allowed(st.user.to_dict(), settings.login_allow):
        st.title("No access", anchor=False)
        who = problems.literal(address or "This account")
        st.error(f"{who} may not see these pages. Log out, and log in with another account.", icon=":material/block:")
        st.button("Log out", icon=":material/logout:", on_click=st.logout)
        return False
    with st.sidebar, st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        st.caption(problems.literal(address or str(st.user.get("name") or "Logged in")), width="stretch")
        st.button("Log out", icon=":material/logout:", type="tertiary", on_click=st.logout)
    return True


def allowed(claims: Mapping[str, object], allow: Iterable[str]) -> bool:
    """Return whether one of these addresses or domains is the account's, which the provider must have verified.

    An address that was not verified may be anybody's: some providers let their users write what they like.
    """
    address = str(claims.get("email") or "").lower()
    verified = claims.get("email_verified") in (True, "true")
    name, at, domain = address.rpartition("@")
    return verified and bool(name and at) and (address in allow or domain in allow)


def _offer(provider: str) -> None:
    """Draw the button that leads to a provider."""
    name = "Log in" if provider == _DEFAULT else f"Log in with {problems.literal(provider)}"
    if st.button(name, icon=":material/login:", type="primary", key=f"log in {provider}"):
        try:
            st.login(provider)
        except StreamlitAuthError as error:
            raise LoginError(f"the login cannot work: {one_line(error)}") from None


@st.cache_resource
def _required() -> set[str]:
    """The providers that there were since the page was started; a file that vanishes opens nothing."""
    return set()


def _providers() -> list[str]:
    """Return the names of the providers that one can log in with; none if there is no login."""
    try:
        auth = st.secrets.get("auth")
    except StreamlitSecretNotFoundError as error:
        if error.error_id == "no-secrets-found":
            return []
        raise LoginError(f"{SECRETS} cannot be read as TOML, so that nobody can log in") from None
    except (OSError, UnicodeDecodeError):
        raise LoginError(f"{SECRETS} cannot be read, so that nobody can log in") from None
    if auth is None:
        return []
    if not isinstance(auth, Mapping):
        raise LoginError(f"auth in {SECRETS} must be a section: [auth]")
    if find_spec("authlib") is None:
        raise LoginError(f"{SECRETS} asks for a login, which needs Authlib: pip install 'cbir[login]'")
    if len(str(auth.get("cookie_secret") or "")) < SHORTEST_SECRET:
        raise LoginError(
            f"cookie_secret in {SECRETS} needs {SHORTEST_SECRET} random characters or more (openssl rand -hex 32),"
            " or anybody could forge a login"
        )
    named = [name for name, value in auth.items() if isinstance(value, Mapping) and "client_id" in value]
    found = [*([_DEFAULT] if "client_id" in auth else []), *named]
    if not found:
        raise LoginError(f"[auth] in {SECRETS} names no provider: client_id, client_secret and server_metadata_url")
    _required().update(found)
    return found
