"""Single sign-on: an identity provider that speaks WS-Trust, and assertions read. All of it unverified.

Who signed an assertion isn't checked: there is no recorded provider to check against. Its subject must be known and it
must be valid now, and for this org where it names an audience.
"""

from __future__ import annotations

import base64
import binascii
import secrets
import xml.etree.ElementTree as ET
from datetime import UTC, datetime, timedelta
from xml.sax.saxutils import escape

VALID = timedelta(minutes=5)
LARGEST = 200_000
SAML = "{urn:oasis:names:tc:SAML:2.0:assertion}"
SECURITY = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd"
TRUST = "http://docs.oasis-open.org/ws-sx/ws-trust/200512"


class AssertionRefused(Exception):
    """An assertion that can't be read, or isn't valid here and now."""


def subject_of(encoded: str, audience: str, now: datetime) -> str:
    """Whom an assertion speaks of; base64, plain or for URLs. AssertionRefused says why it isn't believed."""
    plain = encoded.replace("-", "+").replace("_", "/")
    try:
        text = base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
        if len(text) > LARGEST or b"<!DOCTYPE" in text:
            raise AssertionRefused("invalid assertion")
        root = ET.fromstring(text)
    except (binascii.Error, ET.ParseError):
        raise AssertionRefused("invalid assertion") from None
    assertion = root if root.tag == f"{SAML}Assertion" else root.find(f".//{SAML}Assertion")
    name = assertion.find(f"./{SAML}Subject/{SAML}NameID") if assertion is not None else None
    if assertion is None or name is None or not (name.text or "").strip():
        raise AssertionRefused("invalid assertion")
    conditions = assertion.find(f"./{SAML}Conditions")
    if conditions is not None:
        until = conditions.get("NotOnOrAfter")
        if until is not None and now >= read_time(until):
            raise AssertionRefused("expired assertion")
        audiences = [(one.text or "").strip() for one in conditions.iter(f"{SAML}Audience")]
        if audiences and audience not in (one.rstrip("/") for one in audiences):
            raise AssertionRefused("audience is invalid")
    return (name.text or "").strip()


def read_time(text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise AssertionRefused("invalid assertion") from None
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)


def issued(body: bytes, username: str, password: str, audience: str, now: datetime) -> tuple[int, str]:
    """A WS-Trust 1.3 answer: status and SOAP envelope, with an assertion for a right user name and password."""
    try:
        root = ET.fromstring(body) if b"<!DOCTYPE" not in body and len(body) < LARGEST else ET.Element("none")
    except ET.ParseError:
        root = ET.Element("none")
    told = {element.tag.rpartition("}")[2]: (element.text or "").strip() for element in root.iter()}
    if told.get("Username") != username or told.get("Password") != password:
        return 500, envelope(
            f'<s:Fault><s:Code><s:Value>s:Sender</s:Value><s:Subcode><s:Value xmlns:w="{SECURITY}">'
            "w:FailedAuthentication</s:Value></s:Subcode></s:Code>"
            '<s:Reason><s:Text xml:lang="en">The user name or password is wrong.</s:Text></s:Reason></s:Fault>'
        )
    made, until = (at.strftime("%Y-%m-%dT%H:%M:%SZ") for at in (now, now + VALID))
    assertion = (
        f'<saml:Assertion xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion" ID="_{secrets.token_hex(16)}"'
        f' Version="2.0" IssueInstant="{made}"><saml:Issuer>suiro-sandbox</saml:Issuer>'
        f"<saml:Subject><saml:NameID>{escape(username)}</saml:NameID></saml:Subject>"
        f'<saml:Conditions NotBefore="{made}" NotOnOrAfter="{until}"><saml:AudienceRestriction>'
        f"<saml:Audience>{escape(audience)}</saml:Audience></saml:AudienceRestriction></saml:Conditions>"
        "</saml:Assertion>"
    )
    return 200, envelope(
        f'<t:RequestSecurityTokenResponseCollection xmlns:t="{TRUST}"><t:RequestSecurityTokenResponse>'
        f"<t:RequestedSecurityToken>{assertion}</t:RequestedSecurityToken>"
        "</t:RequestSecurityTokenResponse></t:RequestSecurityTokenResponseCollection>"
    )


def envelope(body: str) -> str:
    return (
        '<?xml version="1.0" encoding="UTF-8"?>'
        f'<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"><s:Body>{body}</s:Body></s:Envelope>'
    )
