"""Downloads from a server that fails in the ways that servers do."""

import hashlib
import io
import json
import ssl
import time
import urllib.error
import zipfile
from collections import namedtuple

import pytest

from bench.errors import UserError
from bench.getting.check import Expected
from bench.getting.download import download
from bench.getting.http import Refused, _Redirects
from tests.bench.getting.server import CONTENT, HALF, MD5, Heard, names, one_line

SHA256 = hashlib.sha256(CONTENT).hexdigest()


def test_a_file_comes_whole_and_is_pinned(server, tmp_path, monkeypatch, heard):
    served, url = server.serve("a.bin")
    store = tmp_path / "store"
    monkeypatch.setenv("MASKBENCH_STORE", str(store))
    path = download(url, tmp_path / "deep" / "a.bin", MD5, report=heard)
    assert path.read_bytes() == CONTENT and names(path.parent) == ["a.bin"]
    assert served.asked == [None]
    assert [step for step in heard.steps if step[0] == "a.bin"][-1] == ("a.bin", len(CONTENT), len(CONTENT))
    pin = json.loads((store / "downloads.lock.json").read_text())[url]
    assert (pin["sha256"], pin["size"]) == (SHA256, len(CONTENT))


def test_a_file_that_is_there_is_checked_and_not_asked_for(server, tmp_path):
    served, url = server.serve("a.bin")
    path = tmp_path / "a.bin"
    path.write_bytes(CONTENT)
    assert download(url, path, MD5) == path and served.asked == []
    path.write_bytes(b"something of the user's")
    with pytest.raises(UserError, match=r"a\.bin: its md5 begins with \w{6}, published is \w{6}; delete it"):
        download(url, path, MD5)
    assert path.read_bytes() == b"something of the user's" and served.asked == []


def test_connections_that_drop_are_continued(server, tmp_path, patience, heard):
    """As often as they like, as long as each brings something."""
    tricks = [{"after": size} for size in (100_000, 1, 50_000, 9, 9, 9)]
    served, url = server.serve("a.bin", tricks=tricks)
    path = download(url, tmp_path / "a.bin", MD5, patience=patience, report=heard)
    assert path.read_bytes() == CONTENT and names(tmp_path) == ["a.bin"]
    assert served.asked[:4] == [None, "bytes=100000-", "bytes=100001-", "bytes=150001-"]
    assert served.asked[4:] == ["bytes=150010-", "bytes=150019-", "bytes=150028-"]
    assert heard.lines[0] == (
        "a.bin: the connection ended after 100,000 of 307,200 bytes; trying again in 0 s"
    )


def test_a_server_without_parts_is_asked_for_all_of_it_again(server, tmp_path, patience):
    served, url = server.serve("a.bin", ranges=False, tricks=[{"after": HALF}])
    assert download(url, tmp_path / "a.bin", MD5, patience=patience).read_bytes() == CONTENT
    assert served.asked == [None, f"bytes={HALF}-"]


def test_a_server_without_parts_that_never_comes_to_the_end(server, tmp_path, patience):
    tricks = [{"after": size} for size in (900, 500, 800, 400, 850, 100, 800)]
    served, url = server.serve("a.bin", ranges=False, tricks=tricks)
    with pytest.raises(UserError, match=r"400 of 307,200 bytes \(4 attempts\); 400 bytes are kept"):
        download(url, tmp_path / "a.bin", MD5, patience=patience)
    assert len(served.asked) == 4


def test_without_a_version_nothing_is_continued(server, tmp_path, patience):
    served, url = server.serve("a.bin", etag="", tricks=[{"after": HALF}])
    assert download(url, tmp_path / "a.bin", MD5, patience=patience).read_bytes() == CONTENT
    assert served.asked == [None, None]


@pytest.mark.parametrize("heed", [True, False])
def test_a_file_that_changes_between_attempts_comes_in_one_version(server, tmp_path, patience, heed):
    served, url = server.serve("a.bin", tricks=[{"after": HALF}])
    served.heed_if_range = heed

    class Swap(Heard):
        def say(self, line):
            if "trying again" in line:
                served.swap(CONTENT[::-1] + b"new")

    path = download(url, tmp_path / "a.bin", patience=patience, report=Swap())
    assert path.read_bytes() == CONTENT[::-1] + b"new"
    assert served.asked == [None, f"bytes={HALF}-"] + ([] if heed else [None])


def test_a_length_that_is_too_large(server, tmp_path, patience):
    served, url = server.serve("a.bin")
    served.surplus = 10
    with pytest.raises(UserError) as error:
        download(url, tmp_path / "a.bin", patience=patience)
    assert one_line(error) == (
        f"{url}: the connection ended after 307,200 of 307,210 bytes (4 attempts); "
        f"307,200 bytes are kept in {tmp_path / 'a.bin.part'}"
    )
    assert served.asked == [None] + 3 * ["bytes=307200-"]
    assert names(tmp_path) == ["a.bin.part", "a.bin.part.json"]


def test_a_length_that_is_too_large_once(server, tmp_path, patience):
    """The server then answers 416: there is nothing after what has come."""
    served, url = server.serve("a.bin", tricks=[{"length": len(CONTENT) + 10}])
    assert download(url, tmp_path / "a.bin", MD5, patience=patience).read_bytes() == CONTENT
    assert served.asked == [None, "bytes=307200-", None]


def test_a_length_that_is_too_small_is_told_from_the_published_size(server, tmp_path):
    served, url = server.serve("a.bin", tricks=[{"length": 1000}])
    with pytest.raises(UserError) as error:
        download(url, tmp_path / "a.bin", Expected(size=len(CONTENT)))
    assert one_line(error) == f"{url}: the server has 1,000 bytes, 307,200 were published"
    assert names(tmp_path) == [] and len(served.asked) == 1


def test_a_length_that_is_too_small_is_told_from_the_hash(server, tmp_path):
    _, url = server.serve("a.bin", tricks=[{"length": 1000}])
    with pytest.raises(UserError, match="what came is not what was published: its md5 begins with"):
        download(url, tmp_path / "a.bin", MD5)
    assert names(tmp_path) == []


def test_a_length_that_is_too_small_is_told_from_the_form(server, tmp_path):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a.txt", "text" * 100)
    _, url = server.serve("a.zip", buffer.getvalue(), tricks=[{"length": 300}])
    with pytest.raises(UserError, match="it is not a whole zip archive; it was deleted"):
        download(url, tmp_path / "a.zip")
    assert names(tmp_path) == []
    assert download(url, tmp_path / "a.zip").read_bytes() == buffer.getvalue()


def test_a_file_of_unknown_length(server, tmp_path):
    _, url = server.serve("a.bin", tricks=[{"length": None}])
    assert download(url, tmp_path / "a.bin", MD5).read_bytes() == CONTENT


def test_wrong_bytes(server, tmp_path):
    served, url = server.serve("a.bin", CONTENT[:-1] + b"?")
    with pytest.raises(UserError) as error:
        download(url, tmp_path / "a.bin", MD5)
    assert one_line(error).startswith(f"{url}: what came is not what was published: its md5 begins with ")
    assert names(tmp_path) == [] and len(served.asked) == 1


def test_a_web_page_instead(server, tmp_path, heard):
    _, url = server.serve("model.pkl", b"<!doctype html><title>Sign in</title>")
    with pytest.raises(UserError, match="it is a web page; it was deleted"):
        download(url, tmp_path / "model.pkl", report=heard)
    assert heard.lines == ["model.pkl: no hash of it is printed; it is trusted as it comes, and pinned then"]
    assert names(tmp_path) == []


def test_pieces_that_do_not_fit_together_are_not_kept(server, tmp_path, patience, heard):
    served, url = server.serve("a.bin", tricks=[{"body": b"?" * len(CONTENT), "after": HALF}])
    path = download(url, tmp_path / "a.bin", MD5, patience=patience, report=heard)
    assert path.read_bytes() == CONTENT
    assert served.asked == [None, f"bytes={HALF}-", None]
    assert "downloading it again from the start" in heard.lines[-1]


def test_wrong_bytes_in_pieces_end_after_the_second_time(server, tmp_path, patience):
    served, url = server.serve("a.bin", CONTENT[:-1] + b"?", tricks=3 * [{"after": HALF}])
    with pytest.raises(UserError, match="what came is not what was published"):
        download(url, tmp_path / "a.bin", MD5, patience=patience)
    assert served.asked == 2 * [None, f"bytes={HALF}-"]
    assert names(tmp_path) == []


@pytest.mark.parametrize("told", ["bytes 5-9/307200", "bytes 153600-307199/*", "all of it"])
def test_a_part_that_was_not_asked_for_is_not_taken(server, tmp_path, patience, heard, told):
    served, url = server.serve("a.bin", tricks=[{"after": HALF}, {"range": told}])
    path = download(url, tmp_path / "a.bin", MD5, patience=patience, report=heard)
    assert path.read_bytes() == CONTENT
    assert served.asked == [None, f"bytes={HALF}-", f"bytes={HALF}-"]
    assert "the server sends another part than it was asked for" in heard.lines[1]


def test_a_size_that_changes_between_attempts(server, tmp_path, patience, heard):
    told = f"bytes {HALF}-307300/307301"
    served, url = server.serve("a.bin", tricks=[{"after": HALF}, {"range": told}])
    path = download(url, tmp_path / "a.bin", MD5, patience=patience, report=heard)
    assert path.read_bytes() == CONTENT and served.asked == [None, f"bytes={HALF}-", None]
    assert "the server has 307,301 bytes now, it had 307,200" in heard.lines[1]


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_an_answer_that_will_not_change_ends_it_at_once(server, tmp_path, status):
    served, url = server.serve("a.bin", tricks=[{"status": status}])
    with pytest.raises(UserError) as error:
        download(url, tmp_path / "a.bin")
    assert one_line(error).startswith(f"{url}: the server answers {status} ")
    assert len(served.asked) == 1 and names(tmp_path) == []


def test_a_server_that_is_down_for_a_moment(server, tmp_path, patience):
    tricks = [{"status": 500}, {"status": 503, "headers": {"Retry-After": "0"}}, {"status": 429}]
    served, url = server.serve("a.bin", tricks=tricks)
    assert download(url, tmp_path / "a.bin", MD5, patience=patience).read_bytes() == CONTENT
    assert len(served.asked) == 4


def test_a_server_that_stays_down(server, tmp_path, patience):
    served, url = server.serve("a.bin", tricks=[{"after": HALF}] + 20 * [{"status": 500}])
    with pytest.raises(UserError) as error:
        download(url, tmp_path / "a.bin", patience=patience)
    part = tmp_path / "a.bin.part"
    assert one_line(error) == (
        f"{url}: the server answers 500 Internal Server Error (4 attempts); 153,600 bytes are kept in {part}"
    )
    assert names(tmp_path) == ["a.bin.part", "a.bin.part.json"] and part.read_bytes() == CONTENT[:HALF]
    served.tricks.clear()
    assert download(url, tmp_path / "a.bin", MD5).read_bytes() == CONTENT
    assert served.asked[-1] == f"bytes={HALF}-" and names(tmp_path) == ["a.bin"]


def test_nobody_there(tmp_path, patience):
    with pytest.raises(UserError, match=r"no connection \(Connection refused\) \(4 attempts\)$"):
        download("http://127.0.0.1:9/a.bin", tmp_path / "a.bin", patience=patience)
    assert names(tmp_path) == []


def test_redirects_are_followed_with_the_part_that_is_asked_for(server, tmp_path, patience):
    served, url = server.serve("real.bin", tricks=[{"after": HALF}])
    moved = {"status": 302, "headers": {"Location": url}, "body": b""}
    _, old = server.serve("old.bin", tricks=[moved, moved])
    assert download(old, tmp_path / "a.bin", MD5, patience=patience).read_bytes() == CONTENT
    assert served.asked == [None, f"bytes={HALF}-"]


def test_redirects_in_a_circle_and_out_of_the_web(server, tmp_path):
    circle, url = server.serve("circle.bin")
    circle.tricks = 20 * [{"status": 302, "headers": {"Location": url}, "body": b""}]
    with pytest.raises(UserError, match="the server answers 302") as error:
        download(url, tmp_path / "a.bin")
    one_line(error)
    for target in ("file:///etc/hostname", "ftp://127.0.0.1/a"):
        _, url = server.serve(
            "out.bin", tricks=[{"status": 302, "headers": {"Location": target}, "body": b""}]
        )
        with pytest.raises(UserError, match="not safe to follow|302"):
            download(url, tmp_path / "a.bin")
    assert names(tmp_path) == []


def test_a_certificate_that_does_not_hold_ends_it_at_once(tmp_path, monkeypatch):
    def opened(*args, **kwargs):
        raise urllib.error.URLError(ssl.SSLCertVerificationError(1, "certificate verify failed"))

    monkeypatch.setattr("bench.getting.http._OPENER.open", opened)
    with pytest.raises(UserError, match=r"certificate cannot be verified \(certificate verify failed\)$"):
        download("https://example.org/a.bin", tmp_path / "a.bin")


def test_redirects_do_not_leave_encryption():
    request = namedtuple("Request", "full_url")("https://example.org/a")
    with pytest.raises(Refused, match=r"redirects to http://example\.org/a, which is not safe to follow"):
        _Redirects().redirect_request(request, None, 302, "Found", {}, "http://example.org/a")


def test_a_silent_server_is_left_and_asked_again(server, tmp_path, patience, heard):
    served, url = server.serve("a.bin", tricks=[{"after": HALF, "silent": 2}])
    start = time.monotonic()
    path = download(url, tmp_path / "a.bin", MD5, patience=patience, report=heard)
    assert path.read_bytes() == CONTENT and time.monotonic() - start < 1.5
    assert served.asked == [None, f"bytes={HALF}-"]
    assert heard.lines == ["a.bin: the server has gone silent; trying again in 0 s"]


def test_a_packed_answer_is_refused(server, tmp_path):
    _, url = server.serve("a.bin", tricks=[{"headers": {"Content-Encoding": "gzip"}}])
    with pytest.raises(UserError, match=r"the server sends it packed \(gzip\)"):
        download(url, tmp_path / "a.bin")


@pytest.mark.parametrize("number", ["\xb2", "9" * 5000, "-5"])
def test_numbers_that_are_none_are_not_believed(server, tmp_path, patience, number):
    """Content-Length and Retry-After: digits of other kinds, too many, a sign."""
    tricks = [{"status": 503, "headers": {"Retry-After": number}}, {"length": number}]
    _, url = server.serve("a.bin", tricks=tricks)
    assert download(url, tmp_path / "a.bin", MD5, patience=patience).read_bytes() == CONTENT


def test_a_part_of_a_total_that_is_no_number(server, tmp_path, patience):
    odd = {"range": f"bytes {HALF}-307199/" + "9" * 5000}
    served, url = server.serve("a.bin", tricks=[{"after": HALF}, odd])
    assert download(url, tmp_path / "a.bin", MD5, patience=patience).read_bytes() == CONTENT
    assert served.asked == [None] + 2 * [f"bytes={HALF}-"]


def test_more_than_there_should_be_is_not_stored(server, tmp_path, patience):
    """A stream without end fills no disk, whether its size is published or told by the server."""
    _, url = server.serve("a.bin", tricks=[{"length": None}])
    with pytest.raises(UserError, match="the server sends more than the 1,000 bytes of the file"):
        download(url, tmp_path / "a.bin", Expected(size=1000), patience=patience)
    odd = {"range": f"bytes {HALF}-{HALF + 99}/{HALF + 100}", "length": None}
    _, url = server.serve("b.bin", tricks=[{"after": HALF, "length": HALF + 100}, odd])
    with pytest.raises(UserError, match=f"sends more than the {HALF + 100:,} bytes of the file"):
        download(url, tmp_path / "b.bin", patience=patience)
    assert names(tmp_path) == []


@pytest.mark.parametrize("place", ["http://[bad/", "http://" + "a" * 300 + ".com/"])
def test_redirects_to_what_is_no_address(server, tmp_path, place):
    _, url = server.serve("a.bin", tricks=[{"status": 302, "headers": {"Location": place}}])
    with pytest.raises(UserError) as error:
        download(url, tmp_path / "a.bin")
    assert one_line(error).startswith(f"{url}: the server redirects to an address that is none (")


def test_a_version_without_quotes_is_no_version(server, tmp_path, patience):
    """Such a tag cannot be told from a date, and is against the standard."""
    served, url = server.serve("a.bin", etag="1", tricks=[{"after": HALF}])
    assert download(url, tmp_path / "a.bin", MD5, patience=patience).read_bytes() == CONTENT
    assert served.asked == [None, None]
