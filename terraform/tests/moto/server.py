#!/usr/bin/env python3
"""moto_server -H HOST -p PORT, which knows a request that it has answered when it is asked again.

The AWS SDK gives every operation an id (amz-sdk-invocation-id) and counts its attempts (amz-sdk-request: attempt=2). On a
busy machine an answer of moto is lost on its way now and then: moto has said 200, the provider has got nothing and asks
again. AWS knows the operation by its token and answers as before; moto makes the thing a second time, or says that it
exists already. Here an attempt after the first gets the answer that the first one got, if that was a success.

With MOTO_REPEATS=FILE each answer that is given again is a line in that file.
"""

import argparse
import collections
import io
import os
import re
import signal
import sys
import threading

from werkzeug.serving import run_simple

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app

ANSWERS_MAX = 2_000
# So long an attempt waits for an earlier one that is still at work.
PATIENCE_S = 60


class Answer:
    """What an operation was answered, once it has been."""

    def __init__(self):
        self.is_there = threading.Event()
        self.status = None
        self.headers = []
        self.body = b""

    def is_success(self):
        return self.status is not None and self.status.startswith("2")


class Remembering:
    """A WSGI application that answers an operation once."""

    def __init__(self, app, told):
        self.app = app
        self.told = told
        self.lock = threading.Lock()
        self.answers = collections.OrderedDict()

    def __call__(self, environ, start_response):
        operation = environ.get("HTTP_AMZ_SDK_INVOCATION_ID")
        if not operation:
            return self.app(environ, start_response)
        attempt = re.search(r"attempt=(\d+)", environ.get("HTTP_AMZ_SDK_REQUEST", ""))
        # The body is read before anything is answered: a connection that is closed with a part of it unread is reset.
        if environ.get("CONTENT_LENGTH"):
            environ["wsgi.input"] = io.BytesIO(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
        if attempt and int(attempt[1]) > 1:
            with self.lock:
                earlier = self.answers.get(operation)
            if earlier and earlier.is_there.wait(PATIENCE_S) and earlier.is_success():
                self.tell(environ, operation, attempt[1])
                start_response(earlier.status, earlier.headers)
                return [earlier.body]
        answer = Answer()
        with self.lock:
            self.answers[operation] = answer
            while len(self.answers) > ANSWERS_MAX:
                self.answers.popitem(last=False)
        return self.answered(answer, environ, start_response)

    def answered(self, answer, environ, start_response):
        def begin(status, headers, exc_info=None):
            answer.status, answer.headers = status, list(headers)
            return lambda data: None

        try:
            parts = self.app(environ, begin)
            try:
                answer.body = b"".join(parts)
            finally:
                if hasattr(parts, "close"):
                    parts.close()
        except BaseException:
            answer.status = None
            raise
        finally:
            answer.is_there.set()
        start_response(answer.status, answer.headers)
        return [answer.body]

    def tell(self, environ, operation, attempt):
        if self.told:
            what = environ.get("HTTP_X_AMZ_TARGET") or f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}"
            with self.lock, open(self.told, "a", encoding="utf-8") as file:
                file.write(f"{operation} attempt {attempt}: {what}\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-H", "--host", default="127.0.0.1")
    parser.add_argument("-p", "--port", type=int, default=5000)
    arguments = parser.parse_args()
    # moto names itself by this in what it answers.
    os.environ.setdefault("MOTO_PORT", str(arguments.port))
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit(0))
    app = Remembering(DomainDispatcherApplication(create_backend_app), os.environ.get("MOTO_REPEATS"))
    run_simple(arguments.host, arguments.port, app, threaded=True, request_handler=MotoRequestHandler)


if __name__ == "__main__":
    main()
