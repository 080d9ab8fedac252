"""One request for the rest of a file, and what the server made of it."""

from __future__ import annotations

import http.client
import re
import ssl
import urllib.error
import urllib.request
from dataclasses import dataclass
from email.message import Message
from typing import IO
from urllib.parse import urlsplit

_AGENT = "maskbench"
_TRY_AGAIN = {408, 425, 429, 500, 502, 503, 504}
_NUMBER = r"[0-9]{1,18}"
_RANGE = re.compile(rf"bytes ({_NUMBER})-({_NUMBER})/({_NUMBER})")


class Broken(Exception):
    """The connection failed; another attempt may do better. wait: seconds that the server asks for."""

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait


class Changed(Broken):
    """The rest would be that of another version of the file."""


class Refused(Exception):
    """The server answered, and will not answer otherwise."""


@dataclass
class Answer:
    """A file from byte `start` on.

    Attributes:
        total: bytes of the whole file, as the server says; None: it does not.
        validator: what tells this version of the file from another (ETag, or date of change); "" for none.
        body: the bytes.
    """

    start: int
    total: int | None
    validator: str
    body: http.client.HTTPResponse

    def read(self, size: int) -> bytes:
        """Up to `size` bytes; none at the end. Raises Broken."""
        try:
            return self.body.read1(size)
        except (OSError, http.client.HTTPException) as error:
            raise Broken(_reason(error)) from error


def request(url: str, start: int, validator: str, timeout: float) -> Answer:
    """Asks for a file from byte `start` on, provided it still is the version of `validator`.

    The answer may start at 0 instead: the server does not send parts, or has another version now.

    Raises:
        Broken: no connection, a server's fault, or an answer that cannot be right.
        Refused: the server has no such file, or it may not be had.
    """
    headers = {"User-Agent": _AGENT, "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
        headers["If-Range"] = validator
    try:
        body = _OPENER.open(urllib.request.Request(url, headers=headers), timeout=timeout)
    except urllib.error.HTTPError as error:
        with error:
            if error.code == 416 and start:  # nothing is left after `start`, or the file is shorter now
                return request(url, 0, "", timeout)
            if error.code not in _TRY_AGAIN:
                raise Refused(f"the server answers {error.code} {_line(error.reason)}") from error
            asked = _number(error.headers.get("Retry-After", ""))
            raise Broken(f"the server answers {error.code} {_line(error.reason)}", asked) from error
    except (OSError, http.client.HTTPException) as error:
        cause = getattr(error, "reason", error)
        if isinstance(cause, ssl.SSLCertVerificationError):
            raise Refused(f"the server's certificate cannot be verified ({_line(cause.strerror)})") from error
        raise Broken(_reason(error)) from error
    except ValueError as error:  # an address that is none, which only a redirection can bring
        raise Refused(f"the server redirects to an address that is none ({_line(error)})") from error
    try:
        return _answer(body, start, validator)
    except (Broken, Refused):
        body.close()
        raise


def _answer(body: http.client.HTTPResponse, start: int, validator: str) -> Answer:
    headers = body.headers
    if headers.get("Content-Encoding", "identity") != "identity":
        raise Refused(f"the server sends it packed ({headers['Content-Encoding']})")
    size = _number(headers.get("Content-Length", ""))
    if body.status != 206:
        return Answer(0, size, _validator(headers), body)
    match = _RANGE.fullmatch(headers.get("Content-Range", "").strip())
    if match is None or int(match[1]) != start:
        raise Broken("the server sends another part than it was asked for")
    kind = "ETag" if validator.startswith('"') else "Last-Modified"
    if validator and headers.get(kind, validator).strip() != validator:  # it did not heed If-Range
        raise Changed("the file has changed on the server")
    return Answer(start, int(match[3]), validator, body)


def _validator(headers: Message) -> str:
    tag = headers.get("ETag", "").strip()
    return tag if tag.startswith('"') else headers.get("Last-Modified", "").strip()


def _number(text: str) -> int | None:
    return int(text) if re.fullmatch(_NUMBER, text) else None


def _reason(error: Exception) -> str:
    cause = getattr(error, "reason", error)
    if isinstance(cause, TimeoutError):
        return "the server has gone silent"
    if isinstance(error, http.client.IncompleteRead):
        return "the connection broke off"
    text = getattr(cause, "strerror", None) or str(cause) or type(cause).__name__
    return f"no connection ({_line(text)})" if isinstance(error, urllib.error.URLError) else _line(text)


def _line(text: object) -> str:
    return " ".join(str(text).split())


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows to web addresses only, and never from an encrypted one to one that is not."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Message, newurl: str
    ) -> urllib.request.Request | None:
        old, new = urlsplit(req.full_url).scheme, urlsplit(newurl).scheme
        if new not in ("http", "https") or (old == "https" and new == "http"):
            raise Refused(f"the server redirects to {newurl}, which is not safe to follow")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


_OPENER = urllib.request.build_opener(_Redirects)
