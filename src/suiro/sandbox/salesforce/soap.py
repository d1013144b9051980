"""Signing in by SOAP: username, password and security token in one envelope."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from xml.sax.saxutils import escape

from suiro.sandbox.salesforce.accounts import ORG_ID, PASSWORD, SECURITY_TOKEN, USER_ID, USERNAME
from suiro.sandbox.salesforce.org import Org
from suiro.sandbox.salesforce.sessions import Sessions

#: The first version without login [WEB salesforcetrails.com/scenarios/soap-login-integration-fails].
GONE_FROM = 65.0
OLDEST = 31.0
LARGEST = 100_000


class Fault(Exception):
    """A SOAP fault, with HTTP 500."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message

    def body(self) -> str:
        return envelope(
            f"<soapenv:Fault><faultcode>sf:{self.code}</faultcode>"
            f"<faultstring>{self.code}: {escape(self.message)}</faultstring>"
            f'<detail><sf:LoginFault xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="sf:LoginFault">'
            f"<sf:exceptionCode>{self.code}</sf:exceptionCode>"
            f"<sf:exceptionMessage>{escape(self.message)}</sf:exceptionMessage></sf:LoginFault></detail>"
            "</soapenv:Fault>"
        )


def login(org: Org, sessions: Sessions, version: str, base: str, body: bytes) -> str:
    """The answer to a login, an envelope. Fault: INVALID_LOGIN, UNSUPPORTED_API_VERSION, ..."""
    try:
        number = float(version)
    except ValueError:
        number = 0.0
    if number < OLDEST:
        raise Fault("UNSUPPORTED_API_VERSION", f"The API version {version} is no longer supported.")
    if number >= GONE_FROM:
        raise Fault("INVALID_OPERATION", "login() isn't there from API version 65.0 on; use OAuth.")
    username, password = told(body)
    if not org.settings.soap_login:
        raise Fault("INVALID_OPERATION", "SOAP API login() is disabled by default in this org.")
    if username != USERNAME or password != PASSWORD + SECURITY_TOKEN:
        raise Fault("INVALID_LOGIN", "Invalid username, password, security token; or user locked out.")
    session = sessions.begin()
    seconds = int(org.settings.session_seconds)
    return envelope(
        "<loginResponse><result>"
        f"<metadataServerUrl>{base}/services/Soap/m/{version}/{ORG_ID[:15]}</metadataServerUrl>"
        "<passwordExpired>false</passwordExpired><sandbox>true</sandbox>"
        f"<serverUrl>{base}/services/Soap/u/{version}/{ORG_ID[:15]}</serverUrl>"
        f"<sessionId>{session}</sessionId><userId>{USER_ID}</userId>"
        f"<userInfo><organizationId>{ORG_ID}</organizationId><sessionSecondsValid>{seconds}</sessionSecondsValid>"
        f"<userId>{USER_ID}</userId><userName>{USERNAME}</userName></userInfo>"
        "</result></loginResponse>"
    )


def told(body: bytes) -> tuple[str, str]:
    """Username and password of an envelope."""
    # No document type is read: none of the entities that could grow.
    if len(body) > LARGEST or b"<!DOCTYPE" in body:
        raise Fault("INVALID_REQUEST", "the envelope can't be read")
    try:
        root = ET.fromstring(body)
    except ET.ParseError:
        raise Fault("INVALID_REQUEST", "the envelope can't be read") from None
    found = {element.tag.rpartition("}")[2]: element.text or "" for element in root.iter()}
    return found.get("username", ""), found.get("password", "")


def envelope(body: str) -> str:
    return (
        '<?xml version="1.0" encoding="UTF-8"?>'
        '<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"'
        ' xmlns="urn:partner.soap.sforce.com" xmlns:sf="urn:fault.partner.soap.sforce.com">'
        f"<soapenv:Body>{body}</soapenv:Body></soapenv:Envelope>"
    )
