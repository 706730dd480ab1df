"""What schemathesis does not know of the platform: how one signs in, newline-delimited JSON, and things that are there.

Every second request is left as it was drawn; the others are brought closer to what can succeed, so that answers of success
are compared with the document too and not refusals alone.
"""

import json
import os
import threading
import time
import urllib.request
import zlib

import schemathesis

KNOWN = json.loads(os.environ.get("RTC_CONFORMANCE_KNOWN", "{}"))
# Nobody where there is none.
CALLER = json.loads(os.environ.get("RTC_CONFORMANCE_CALLER", "null"))
# A token is good for fifteen minutes, a whole run takes longer.
RENEW_AFTER_S = int(os.environ.get("RTC_CONFORMANCE_RENEW_S", "300"))


def number_of(drawn):
    return zlib.crc32(repr(drawn).encode("utf-8", "surrogatepass")) >> 1


def is_helped(drawn):
    return number_of(drawn) % 2 == 0


class Session:
    """The caller's token, got anew well before it expires. Not an auth provider of schemathesis: that would have most requests
    refused for want of a good token, which is looked at as nobody."""

    def __init__(self):
        self.lock = threading.Lock()
        self.value = None
        self.good_until = 0.0

    def token(self):
        with self.lock:
            if time.monotonic() >= self.good_until:
                self.value = sign_in()
                self.good_until = time.monotonic() + RENEW_AFTER_S
            return self.value


def sign_in():
    said = json.dumps({"email": CALLER["email"], "password": CALLER["password"]}).encode()
    request = urllib.request.Request(
        f"{CALLER['api']}/api/v1/sessions", data=said, headers={"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)["access_token"]


SESSION = Session()


@schemathesis.hook
def before_call(ctx, case, kwargs):
    if CALLER is not None:
        case.headers["Authorization"] = f"Bearer {SESSION.token()}"


@schemathesis.hook
def map_path_parameters(ctx, path_parameters):
    if path_parameters and is_helped(path_parameters):
        for part, values in KNOWN.get("paths", {}).items():
            if part in ctx.operation.path:
                return {**path_parameters, **{name: value for name, value in values.items() if value is not None}}
    return path_parameters


@schemathesis.hook
def map_query(ctx, query):
    if isinstance(query, dict) and is_helped(query):
        query = {name: value for name, value in query.items() if name not in ("cursor", "user_id")}
        if "limit" in query:
            query["limit"] = 7
        if "source" in query:
            query["source"] = "conformance"
    return query


@schemathesis.hook
def map_headers(ctx, headers):
    # A header may hold what no tool and no proxy would send; versions and keys that exist are what is worth asking with.
    if headers and is_helped(headers):
        headers = dict(headers)
        if "If-Match" in headers:
            headers["If-Match"] = "*" if number_of(headers) % 4 else '"1"'
    return headers


@schemathesis.hook
def map_body(ctx, body):
    return likely(body, number_of(body)) if is_helped(body) else body


def likely(value, number):
    """The same shape with values that exist or that nobody has yet."""
    if isinstance(value, list):
        return [likely(one, number) for one in value]
    if not isinstance(value, dict):
        return value
    if set(value) == {"amount", "currency"}:
        return {"amount": 1_000 + number % 1_000, "currency": "KRW"}
    known = {
        **KNOWN.get("fields", {}),
        "email": f"shopper-{number}@example.com",
        "password": "a password of a shopper",
        "name": f"Name {number}",
        "key": f"key-{number}",
        "locale": "ko",
        "phone": None,
        "pin": "2468",
    }
    return {name: known[name] if name in known else likely(one, number) for name, one in value.items()}


@schemathesis.serializer("application/x-ndjson")
def lines_of_json(ctx, value):
    lines = value if isinstance(value, list) else [value]
    return "".join(json.dumps(line) + "\n" for line in lines).encode("utf-8", "replace")


@schemathesis.deserializer("application/x-ndjson")
def last_line(ctx, response):
    """The document describes one line; the last one is looked at."""
    lines = [line for line in response.content.decode("utf-8").split("\n") if line.strip()]
    return json.loads(lines[-1]) if lines else {}


@schemathesis.deserializer("image/*")
def picture(ctx, response):
    return response.content.decode("latin-1")
