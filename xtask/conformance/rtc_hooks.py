"""What schemathesis does not know of the platform: newline-delimited JSON, and things that are there."""

import json
import os
import zlib

import schemathesis

KNOWN = json.loads(os.environ.get("RTC_CONFORMANCE_KNOWN", "{}"))


@schemathesis.hook
def map_path_parameters(ctx, path_parameters):
    """Every second request is about a thing that exists, the others about one that hardly does."""
    if not path_parameters:
        return path_parameters
    drawn = repr(sorted(path_parameters.items())).encode("utf-8", "surrogatepass")
    for part, values in KNOWN.items():
        if part in ctx.operation.path and zlib.crc32(drawn) % 2 == 0:
            return {**path_parameters, **{name: value for name, value in values.items() if value is not None}}
    return path_parameters


@schemathesis.serializer("application/x-ndjson")
def lines_of_json(ctx, value):
    lines = value if isinstance(value, list) else [value]
    return "".join(json.dumps(line) + "\n" for line in lines).encode("utf-8", "replace")


@schemathesis.deserializer("application/x-ndjson")
def last_line(ctx, response):
    """The document describes one line; each is described, the last one is looked at."""
    lines = [line for line in response.content.decode("utf-8").splitlines() if line.strip()]
    return json.loads(lines[-1]) if lines else {}


@schemathesis.deserializer("image/*")
def picture(ctx, response):
    return response.content.decode("latin-1")
