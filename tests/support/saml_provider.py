"""An identity provider of SAML: a key, responses that it signs, and its sign-in page."""

from __future__ import annotations

import base64
import datetime as dt
import html
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import xmlsec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID
from lxml import etree

ENTITY = "https://login.example.org/saml"
ASSERTION = "urn:oasis:names:tc:SAML:2.0:assertion"
PROTOCOL = "urn:oasis:names:tc:SAML:2.0:protocol"
PERSISTENT = "urn:oasis:names:tc:SAML:2.0:nameid-format:persistent"
TRANSIENT = "urn:oasis:names:tc:SAML:2.0:nameid-format:transient"
LIFE = dt.timedelta(minutes=5)


class Key:
    """A private key and its certificate."""

    def __init__(self, ends: dt.timedelta = dt.timedelta(days=100)) -> None:
        """Make a key whose certificate expires after this time."""
        key = rsa.generate_private_key(65_537, 2048)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "provider")])
        now = dt.datetime.now(dt.UTC)
        self.certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=200))
            .not_valid_after(now + ends)
            .sign(key, hashes.SHA256())
        )
        self.secret = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )

    @property
    def pem(self) -> str:
        """The certificate."""
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()

    def sign(self, element: Any) -> None:
        """Put an enveloped signature behind the issuer of a response or assertion."""
        signature = xmlsec.template.create(
            element,
            xmlsec.constants.TransformExclC14N,
            xmlsec.constants.TransformRsaSha256,
            ns="ds",
        )
        element.insert(1, signature)
        reference = xmlsec.template.add_reference(
            signature, xmlsec.constants.TransformSha256, uri=f"#{element.get('ID')}"
        )
        xmlsec.template.add_transform(reference, xmlsec.constants.TransformEnveloped)
        xmlsec.template.add_transform(reference, xmlsec.constants.TransformExclC14N)
        xmlsec.template.add_x509_data(xmlsec.template.ensure_key_info(signature))
        context = xmlsec.SignatureContext()
        context.key = xmlsec.Key.from_memory(
            self.secret, xmlsec.constants.KeyDataFormatPem
        )
        context.key.load_cert_from_memory(
            self.pem.encode(), xmlsec.constants.KeyDataFormatPem
        )
        context.register_id(element, "ID")
        context.sign(signature)


@dataclass
class Answer:
    """A response of the provider, by default a valid one, in all that tests change."""

    asked: str  # id of the request
    acs: str  # address that receives the response
    audience: str | None
    subject: str | None = "ada"
    format: str = PERSISTENT
    attributes: dict[str, list[str]] = field(default_factory=dict)
    age: dt.timedelta = dt.timedelta()
    issuer: str = ENTITY
    signed: str = "Assertion"  # or Response, or nothing
    outside: str = ""  # an audience outside the assertion
    confirmed: str | None = None  # id of the request in the assertion; None: `asked`

    def encoded(self, key: Key) -> str:
        """Return the response as it is sent."""
        return base64.b64encode(etree.tostring(self.document(key))).decode()

    def document(self, key: Key) -> Any:
        """Return the signed response."""
        root = etree.fromstring(self._text().encode())
        if self.signed:
            found = next(root.iter(f"{{*}}{self.signed}"))
            key.sign(found)
        return root

    def _text(self) -> str:
        now = dt.datetime.now(dt.UTC) - self.age
        issued, ends = f"{now:%Y-%m-%dT%H:%M:%SZ}", f"{now + LIFE:%Y-%m-%dT%H:%M:%SZ}"
        confirmed = self.asked if self.confirmed is None else self.confirmed
        names = "".join(
            f'<saml:Attribute Name="{html.escape(name)}">'
            + "".join(
                f"<saml:AttributeValue>{html.escape(one)}</saml:AttributeValue>"
                for one in values
            )
            + "</saml:Attribute>"
            for name, values in self.attributes.items()
        )
        statement = f"<saml:AttributeStatement>{names}</saml:AttributeStatement>"
        audience = f"<saml:Audience>{self.audience}</saml:Audience>"
        restriction = f"<saml:AudienceRestriction>{audience}</saml:AudienceRestriction>"
        outside = f"<saml:Audience>{self.outside}</saml:Audience>"
        extensions = f"<samlp:Extensions>{outside}</samlp:Extensions>"
        name_id = f'<saml:NameID Format="{self.format}">{self.subject}</saml:NameID>'
        to = f'InResponseTo="{confirmed}" ' if confirmed else ""
        return f"""<samlp:Response xmlns:samlp="{PROTOCOL}" xmlns:saml="{ASSERTION}"
 ID="_{uuid4().hex}" Version="2.0" IssueInstant="{issued}" Destination="{self.acs}"
 InResponseTo="{self.asked}"><saml:Issuer>{self.issuer}</saml:Issuer>
{extensions if self.outside else ""}<samlp:Status>
<samlp:StatusCode Value="urn:oasis:names:tc:SAML:2.0:status:Success"/></samlp:Status>
<saml:Assertion ID="_{uuid4().hex}" Version="2.0" IssueInstant="{issued}">
<saml:Issuer>{self.issuer}</saml:Issuer>
<saml:Subject>{name_id if self.subject else ""}
<saml:SubjectConfirmation Method="urn:oasis:names:tc:SAML:2.0:cm:bearer">
<saml:SubjectConfirmationData {to}NotOnOrAfter="{ends}" Recipient="{self.acs}"/>
</saml:SubjectConfirmation></saml:Subject>
<saml:Conditions NotBefore="{issued}" NotOnOrAfter="{ends}">
{"" if self.audience is None else restriction}</saml:Conditions>
<saml:AuthnStatement AuthnInstant="{issued}" SessionIndex="_1"><saml:AuthnContext>
<saml:AuthnContextClassRef>urn:oasis:names:tc:SAML:2.0:ac:classes:Password
</saml:AuthnContextClassRef></saml:AuthnContext></saml:AuthnStatement>
{statement if self.attributes else ""}</saml:Assertion></samlp:Response>"""


def answer_to(address: str, **changes: Any) -> Answer:
    """Return the response to the request in the address to which a browser is sent."""
    [packed] = parse_qs(urlsplit(address).query)["SAMLRequest"]
    request = etree.fromstring(zlib.decompress(base64.b64decode(packed), -15))
    given = {
        "asked": request.get("ID"),
        "acs": request.get("AssertionConsumerServiceURL"),
        "audience": request.findtext(f"{{{ASSERTION}}}Issuer"),
    }
    return Answer(**{**given, **changes})


@contextmanager
def running(key: Key, **changes: Any) -> Iterator[str]:
    """Provide the address of a sign-in page that signs everyone in as one person."""

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if "SAMLRequest=" not in self.path:  # the icon of the page
                self.send_error(404)
                return
            answer = answer_to(self.path, **changes)
            body = (
                f'<form method="post" action="{answer.acs}"><input name="SAMLResponse"'
                f' value="{answer.encoded(key)}"><button>Continue</button></form>'
            ).encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        # another host name than that of the server, so that forms come from another site
        yield f"http://localhost:{server.server_port}/sso"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
