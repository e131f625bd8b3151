"""The optional login, with a provider of its own: who is let in, who is not, and what closes the page."""

import http.client
import secrets
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit

import pytest
import streamlit
from cbir.ui import login
from hypothesis import given
from hypothesis import strategies as st
from playwright.sync_api import Browser, Page, expect
from streamlit import config
from streamlit.runtime.secrets import Secrets

from cbir.errors import UsageError
from cbir.settings import Settings
from tests.support.browser import served, window
from tests.support.building import both, build, unit_vectors
from tests.support.oidc_provider import CLIENT, SECRET, oidc_provider

COLLECTION = "private-things"
COOKIE_SECRET = secrets.token_hex(32)
ANN = {"sub": "1", "email": "ann@example.org", "email_verified": True, "name": "Ann"}
SECRETS = """[auth]
redirect_uri = "http://localhost:{port}/oauth2callback"
cookie_secret = "COOKIE"
client_id = "CLIENT"
client_secret = "SECRET"
server_metadata_url = "PROVIDER/.well-known/openid-configuration"
"""


def filled(text: str, provider: str = "http://localhost:1") -> str:
    """The secrets with the values of this run."""
    values = {"COOKIE": COOKIE_SECRET, "CLIENT": CLIENT, "SECRET": SECRET, "PROVIDER": provider}
    for name, value in values.items():
        text = text.replace(name, value)
    return text


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """A page with a login, for all accounts of example.org and bob@example.com."""
    folder = tmp_path_factory.mktemp("site")
    build(both(folder / "index"), unit_vectors(30), COLLECTION)
    (folder / ".env").write_text("CBIR_LOGIN_ALLOW=example.org, bob@example.com\n")
    (folder / ".streamlit").mkdir()
    file = folder / ".streamlit" / "secrets.toml"
    with oidc_provider() as provider:
        file.write_text(filled(SECRETS, provider.address))
        with served(["edge:index"], folder) as address:
            yield SimpleNamespace(address=address, provider=provider, file=file)


@pytest.fixture
def page(browser: Browser, site: SimpleNamespace) -> Iterator[Page]:
    with window(browser, 1280) as opened:
        yield opened


def log_in(page: Page, site: SimpleNamespace, **account: object) -> None:
    site.provider.account = account
    page.goto(site.address)
    page.get_by_role("button", name="Log in").click()


def log_out(page: Page) -> None:
    """Log out, and wait until the browser has come back: the page shows "Log in" even before it leaves."""
    with page.expect_navigation():
        page.get_by_role("button", name="Log out").click()


def closed(page: Page) -> None:
    """Check that nothing of the collections is shown."""
    assert COLLECTION not in page.content()
    shown = page.get_by_test_id("stApp").inner_text()
    for text in ("index", "Collections", "Bench", "made-up"):
        assert text not in shown
    expect(page.get_by_role("link", name="Collections")).to_have_count(0)


@pytest.mark.pages
@pytest.mark.parametrize("path", ["", "/collections", "/bench", f"/search?collection={COLLECTION}x"])
def test_no_page_is_shown_without_a_login(page: Page, site: SimpleNamespace, path: str) -> None:
    page.goto(f"{site.address}{path}")
    expect(page.get_by_role("button", name="Log in")).to_be_visible()
    expect(page.get_by_role("heading", name="Log in")).to_be_visible()
    if "?" not in path:
        closed(page)
    expect(page.get_by_role("combobox")).to_have_count(0)


@pytest.mark.pages
def test_a_visitor_logs_in_and_out(page: Page, site: SimpleNamespace) -> None:
    log_in(page, site, **ANN)
    expect(page.get_by_text("ann@example.org")).to_be_visible()
    page.get_by_role("link", name="Collections").click()
    expect(page.get_by_text(COLLECTION).first).to_be_visible()
    other = page.context.new_page()  # the same browser: still logged in
    other.goto(f"{site.address}/collections")
    expect(other.get_by_text(COLLECTION).first).to_be_visible()
    other.close()
    log_out(page)
    expect(page.get_by_role("button", name="Log in")).to_be_visible()
    closed(page)
    assert "/logout" in site.provider.asked
    page.goto(f"{site.address}/collections")
    expect(page.get_by_role("button", name="Log in")).to_be_visible()
    closed(page)


@pytest.mark.pages
@pytest.mark.parametrize(
    "account",
    [
        {**ANN, "email": "ann@elsewhere.org"},
        {**ANN, "email": "ann@evil.example.org"},
        {**ANN, "email_verified": False},
    ],
)
def test_an_account_that_is_not_allowed_may_log_in_with_another(
    page: Page, site: SimpleNamespace, account: dict[str, object]
) -> None:
    log_in(page, site, **account)
    expect(page.get_by_role("alert")).to_contain_text(f"{account['email']} may not see these pages.")
    closed(page)
    site.provider.account = {**ANN, "email": "BOB@example.com"}
    log_out(page)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_text("BOB@example.com")).to_be_visible()


@pytest.mark.pages
def test_a_forged_cookie_is_not_a_login(page: Page, site: SimpleNamespace) -> None:
    log_in(page, site, **ANN)
    expect(page.get_by_text("ann@example.org")).to_be_visible()
    (cookie,) = (cookie for cookie in page.context.cookies() if cookie["name"] == "_streamlit_user")
    value = cookie["value"]
    page.context.clear_cookies()
    changed = {**cookie, "value": value[:-6] + ("000000" if not value.endswith("000000") else "111111")}
    page.context.add_cookies([changed])  # type: ignore[list-item]
    page.goto(f"{site.address}/collections")
    expect(page.get_by_role("button", name="Log in")).to_be_visible()
    closed(page)


@pytest.mark.pages
def test_the_secrets_cannot_be_fetched(site: SimpleNamespace) -> None:
    paths = (
        "/.streamlit/secrets.toml",
        "/app/static/.streamlit/secrets.toml",
        "/app/static/../.streamlit/secrets.toml",
        "/static/..%2f..%2f.streamlit/secrets.toml",
        "/component/cbir.ui/../../.streamlit/secrets.toml",
        f"/{site.file}",
    )
    for path in paths:
        with closing(http.client.HTTPConnection(urlsplit(site.address).netloc, timeout=20)) as connection:
            connection.request("GET", path)
            body = connection.getresponse().read()
        assert COOKIE_SECRET.encode() not in body, path
        assert SECRET.encode() not in body, path


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where Streamlit looks for secrets in this process."""
    path, before = tmp_path / "secrets.toml", config.get_option("secrets.files")
    config.set_option("secrets.files", [str(path)])
    monkeypatch.setattr(streamlit, "secrets", Secrets())
    login._required.clear()
    yield path
    config.set_option("secrets.files", before)
    login._required.clear()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[auth\n", "cannot be read as TOML"),
        ("auth = 1\n", "must be a section"),
        (SECRETS.replace("COOKIE", "xxx"), "needs at least 32 random characters"),
        (SECRETS.replace("cookie_secret", "other"), "needs at least 32 random characters"),
        ('[auth]\ncookie_secret = "COOKIE"\n', "has no provider"),
    ],
)
def test_invalid_secrets_let_nobody_in(file: Path, text: str, message: str) -> None:
    """Streamlit takes a file that it cannot read for no secrets at all, and signs cookies with an empty string."""
    file.write_text(filled(text))
    with pytest.raises(login.LoginError, match=message) as caught:
        login.let_in(Settings())
    assert str(file) not in str(caught.value)


def test_secrets_that_are_deleted_at_run_time_let_nobody_in(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert login.let_in(Settings()), "no secrets, no login"
    file.write_text(filled(SECRETS))
    assert not login.let_in(Settings())
    file.unlink()
    monkeypatch.setattr(streamlit, "secrets", Secrets())
    assert not login.let_in(Settings())


def test_an_allow_list_without_a_login_lets_nobody_in(file: Path) -> None:
    file.write_text("[other]\n")
    with pytest.raises(login.LoginError, match=r"has no \[auth\] section"):
        login.let_in(Settings(login_allow=("example.org",)))


def test_a_missing_authlib_is_one_sentence(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text(filled(SECRETS))
    monkeypatch.setattr(login, "find_spec", lambda name: None)
    with pytest.raises(login.LoginError, match=r"needs Authlib. Install it with: pip install 'cbir\[login\]'"):
        login.let_in(Settings())


@given(
    st.sampled_from(
        ["ann@example.org", "ANN@Example.Org", "ann@sub.example.org", "ann@example.org.evil.com", "", "ann"]
    ),
    st.sampled_from([True, "true", False, None, "false", 1.5]),
)
def test_only_verified_addresses_on_the_list_are_allowed(address: str, verified: object) -> None:
    good = address.lower() == "ann@example.org" and verified in (True, "true")
    claims = {"email": address, "email_verified": verified}
    assert login.allowed(claims, ["example.org"]) is good
    assert login.allowed(claims, ["ann@example.org"]) is good
    assert login.allowed(claims, ["bob@example.org", "example.com"]) is False
    assert login.allowed({"email": address}, ["example.org"]) is False, "it does not say that it was verified"


def test_the_allow_list_is_read_from_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CBIR_LOGIN_ALLOW", "Ann@Example.org, @example.com,other.net,")
    assert Settings().login_allow == ("ann@example.org", "example.com", "other.net")
    monkeypatch.setenv("CBIR_LOGIN_ALLOW", "ann@example.org bob@example.org")
    with pytest.raises(UsageError, match="CBIR_LOGIN_ALLOW"):
        Settings()
