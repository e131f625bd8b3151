"""An OpenID Connect provider on this machine, for tests: authorisation code flow with PKCE, RS256.

Whoever comes is logged in at once, as the account that the test has set.
"""

import base64
import hashlib
import json
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import RSAKey

CLIENT, SECRET = "cbir", "the client's secret"


@dataclass
class Provider:
    """A running provider: its address, the account that logs in next, and what it was asked."""

    address: str
    account: dict[str, Any] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    _codes: dict[str, dict[str, str]] = field(default_factory=dict)
    _key: RSAKey = field(default_factory=lambda: RSAKey.generate_key(2048, {"kid": "one", "use": "sig"}))

    def answer(self, path: str, query: dict[str, str], basic: str) -> dict[str, Any] | str:
        """Return JSON, or the address that the browser is sent to."""
        self.asked.append(path)
        match path:
            case "/.well-known/openid-configuration":
                paths = {"authorization": "authorize", "token": "token", "end_session": "logout"}
                return {
                    "issuer": self.address,
                    "jwks_uri": f"{self.address}/keys",
                    "code_challenge_methods_supported": ["S256"],
                    "id_token_signing_alg_values_supported": ["RS256"],
                    **{f"{name}_endpoint": f"{self.address}/{where}" for name, where in paths.items()},
                }
            case "/keys":
                return {"keys": [self._key.as_dict(private=False)]}
            case "/authorize":
                assert query["client_id"] == CLIENT
                assert query["response_type"] == "code"
                code = secrets.token_urlsafe()
                self._codes[code] = {**query, "account": json.dumps(self.account)}
                return f"{query['redirect_uri']}?{urlencode({'code': code, 'state': query['state']})}"
            case "/token":
                return self._token(query, basic)
            case "/logout":
                return query["post_logout_redirect_uri"]
        raise LookupError(path)

    def _token(self, query: dict[str, str], basic: str) -> dict[str, Any]:
        given = self._codes.pop(query["code"])
        assert basic == base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
        digest = hashlib.sha256(query["code_verifier"].encode()).digest()
        assert base64.urlsafe_b64encode(digest).decode().rstrip("=") == given["code_challenge"]
        assert query["redirect_uri"] == given["redirect_uri"]
        now = int(time.time())
        claims = {"iss": self.address, "aud": CLIENT, "iat": now, "exp": now + 300, "nonce": given["nonce"]}
        token = jwt.encode({"alg": "RS256", "kid": "one"}, {**claims, **json.loads(given["account"])}, self._key)
        return {"access_token": secrets.token_urlsafe(), "token_type": "Bearer", "expires_in": 300, "id_token": token}


@contextmanager
def oidc_provider() -> Iterator[Provider]:
    """Serve on a free port of this machine."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
            parts = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(f"{parts.query}&{body}").items()}
            basic = (self.headers.get("Authorization") or "").removeprefix("Basic ")
            try:
                found = provider.answer(parts.path, query, basic)
            except (LookupError, AssertionError) as error:
                self.send_error(400, type(error).__name__)
                return
            content = b"" if isinstance(found, str) else json.dumps(found).encode()
            self.send_response(302 if isinstance(found, str) else 200)
            if isinstance(found, str):
                self.send_header("Location", found)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_POST = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        provider = Provider(f"http://localhost:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield provider
        finally:
            server.shutdown()
            thread.join()
