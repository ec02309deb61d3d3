"""SMTP sink: each mail it takes becomes a file in DIRECTORY. Usage: sink.py DIRECTORY; see ../smtp.sh for the environment.

Three listeners on 127.0.0.1: STARTTLS and a login, TLS from the first byte and a login, and neither. A fourth is like the
first with a certificate that has expired. A file `reject` beside DIRECTORY, if there is one, holds the code with which
every recipient is refused.
"""

import itertools
import os
import pathlib
import signal
import ssl
import sys
import threading

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword

directory = pathlib.Path(sys.argv[1])
reject = directory.parent / "reject"
tls = pathlib.Path(os.environ["SVC_TLS"])
login = (os.environ["SMTP_USER"].encode(), os.environ["SMTP_PASSWORD"].encode())
numbers = itertools.count(len(list(directory.iterdir())) + 1)
one_at_a_time = threading.Lock()  # each listener has a thread of its own


class Sink:
    """Writes down what arrives, and how it arrived."""

    def __init__(self, listener):
        self.listener = listener

    async def handle_RCPT(self, server, session, envelope, address, options):
        if reject.exists():
            return f"{reject.read_text().strip()} refused on request"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        head = [
            ("X-Envelope-From", envelope.mail_from),
            ("X-Envelope-To", ", ".join(envelope.rcpt_tos)),
            ("X-Listener", self.listener),
            ("X-Login", "yes" if session.authenticated else "no"),
        ]
        text = "".join(f"{name}: {value}\r\n" for name, value in head)
        with one_at_a_time:
            file = directory / f"{next(numbers):05}.eml"
        partial = file.with_suffix(".partial")
        partial.write_bytes(text.encode() + envelope.content)
        partial.rename(file)  # a reader never sees half a mail
        return "250 OK"


def authenticate(server, session, envelope, mechanism, data):
    good = isinstance(data, LoginPassword) and (data.login, data.password) == login
    return AuthResult(success=good, handled=False)  # not handled: the server sends the 535


def certificate(name):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tls / f"{name}.pem", tls / f"{name}.key")
    return context


class Listener(Controller):
    """Answers with the name the certificates have."""

    def factory(self):
        return SMTP(self.handler, hostname="localhost", **self.SMTP_kwargs)


def listen(name, variable, **options):
    Listener(Sink(name), hostname="127.0.0.1", port=int(os.environ[variable]), **options).start()


with_login = {"authenticator": authenticate, "auth_required": True}
listen("starttls", "SMTP_PORT", tls_context=certificate("server"), require_starttls=True, **with_login)
listen("expired", "SMTP_EXPIRED_PORT", tls_context=certificate("expired"), require_starttls=True, **with_login)
listen("tls", "SMTP_TLS_PORT", ssl_context=certificate("server"), auth_require_tls=False, **with_login)
listen("plain", "SMTP_PLAIN_PORT")
signal.sigwait({signal.SIGTERM, signal.SIGINT})
