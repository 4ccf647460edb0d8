"""Talking to the hub through huggingface_hub: its session, its token, its endpoint; our errors.

`HF_ENDPOINT`, `HF_TOKEN`, the saved token, `HTTPS_PROXY` and `SSL_CERT_FILE` are honoured by
huggingface_hub and its HTTP client; the variables that `requests` and curl read for a custom CA are
added here, because that client does not know them.
"""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import quote

from huggingface_hub import constants, get_session, get_token, hf_hub_url, set_client_factory
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    OfflineModeIsEnabled,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import hf_raise_for_status  # type: ignore[attr-defined]

from turboprop import __version__
from turboprop.errors import DownloadError, ModelNotFoundError
from turboprop.models.hub.files import RemoteFile
from turboprop.models.hub.http import httpx

if TYPE_CHECKING:
    from collections.abc import Callable

_COMMIT = re.compile(r"[0-9a-f]{40}")
_ETAG = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_MAX_RENAMES = 5
RETRIED_STATUS = (408, 429, 500, 502, 503, 504)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How long to wait before each new try, in seconds, while nothing gets through.

    `longest` is the most that a server's Retry-After is waited for; a longer one is told to the user.
    """

    waits: tuple[float, ...] = (0.5, 1.0, 2.0, 4.0, 8.0)
    longest: float = 120.0


class UnreachableError(DownloadError):
    """The hub could not be reached at all: no route, no name, a proxy or a certificate in the way."""


@dataclass(frozen=True, slots=True)
class Listing:
    """What a repository holds at one commit. `repo` is its name now, which a rename may have changed."""

    repo: str
    commit: str
    files: tuple[RemoteFile | str, ...]
    """A bare name where the server gave no size or hash with the list (some mirrors)."""


def prepare_session() -> httpx.Client:
    """The shared HTTP client of huggingface_hub, made to trust a custom CA where one is named."""
    bundle = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE")
    named = os.environ.get("SSL_CERT_FILE") or os.environ.get("SSL_CERT_DIR")
    if bundle and not named and Path(bundle).exists():
        _trust(bundle)
    return get_session()


@cache
def _trust(bundle: str) -> None:
    """Once per bundle: a new factory closes the client that other downloads are using."""
    import ssl

    if Path(bundle).is_dir():
        context = ssl.create_default_context(capath=bundle)
    else:
        context = ssl.create_default_context(cafile=bundle)
    set_client_factory(lambda: httpx.Client(verify=context, follow_redirects=True, timeout=None))


def request_headers() -> dict[str, str]:
    """The user's token, if there is one, and nothing about the user.

    huggingface_hub's own headers also name the installed libraries and the coding assistant that it runs
    under, and it asks the hub for a list of those; none of that is anyone's business here. Encoding
    `identity`: a range is of the file's own bytes.
    """
    headers = {"user-agent": f"turboprop/{__version__}", "accept-encoding": "identity"}
    if not constants.HF_HUB_DISABLE_IMPLICIT_TOKEN and (token := get_token()):
        headers["authorization"] = f"Bearer {token}"
    return headers


def endpoint() -> str:
    """The hub: `HF_ENDPOINT` as it is now, not as it was when huggingface_hub was imported."""
    return os.environ.get("HF_ENDPOINT", "").rstrip("/") or constants.ENDPOINT


def file_url(repo: str, commit: str, name: str) -> str:
    """The address of one file at one commit; it may redirect to another host."""
    return hf_hub_url(repo, name, revision=commit, endpoint=endpoint())


def list_repository(repo: str, revision: str, retry: RetryPolicy, say: Callable[[str], None]) -> Listing:
    """Ask the hub what a repository holds, with sizes and hashes."""
    url = f"{endpoint()}/api/models/{repo}/revision/{quote(revision, safe='')}?blobs=true"
    answer = _request("GET", url, repo, revision, retry, say)
    try:
        values = answer.json()
        commit = values["sha"]
        files = tuple(_listed(sibling) for sibling in values["siblings"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DownloadError(f"{endpoint()} gives no list of {repo}; is it a Hugging Face hub?") from error
    if not isinstance(commit, str) or not _COMMIT.fullmatch(commit):
        raise DownloadError(f"{endpoint()} gives no commit of {repo}; is it a Hugging Face hub?")
    return Listing(str(values.get("id", repo)), commit, files)


def _listed(sibling: dict[str, Any]) -> RemoteFile | str:
    name = str(sibling["rfilename"])
    lfs = sibling.get("lfs") or {}
    size = lfs.get("size", sibling.get("size"))
    etag = lfs.get("sha256", sibling.get("blobId"))
    if isinstance(size, int) and isinstance(etag, str) and _ETAG.fullmatch(etag):
        return RemoteFile(name, size, etag)
    return name


def complete_file(
    repo: str, commit: str, file: RemoteFile | str, retry: RetryPolicy, say: Callable[[str], None]
) -> RemoteFile:
    """Size and hash of a file that the list gave the name of only: the headers of its own address."""
    if isinstance(file, RemoteFile):
        return file
    answer = _request("HEAD", file_url(repo, commit, file), repo, commit, retry, say)
    etag = answer.headers.get("x-linked-etag") or answer.headers.get("etag") or ""
    etag = etag.removeprefix("W/").strip('"')
    size = answer.headers.get("x-linked-size") or answer.headers.get("content-length") or ""
    if not size.isdecimal() or not _ETAG.fullmatch(etag):
        raise DownloadError(
            f"{endpoint()} tells neither size nor hash of {repo}:{file}, so it cannot be checked; "
            "unset HF_ENDPOINT, or bring the files yourself with `tp model import PATH`"
        )
    return RemoteFile(file, int(size), etag)


def retry_after(response: httpx.Response) -> float | None:
    """Seconds that the server asks us to wait, if it does."""
    value = response.headers.get("Retry-After", "")
    return float(value) if value.isdecimal() else None


def _request(
    method: str, url: str, repo: str, revision: str, retry: RetryPolicy, say: Callable[[str], None]
) -> httpx.Response:
    """One small question to the hub itself, asked again while the hub is busy or at fault.

    A renamed repository redirects within the hub and is followed; a redirect to another host (the CDN) is
    the answer itself, because the headers that matter are the hub's.
    """
    client = prepare_session()
    for wait in (*retry.waits, None):
        try:
            answer = client.request(
                method,
                url,
                headers=request_headers(),
                timeout=constants.HF_HUB_ETAG_TIMEOUT,
                follow_redirects=False,
            )
            for _ in range(_MAX_RENAMES):
                target = answer.next_request
                if target is None or target.url.host != answer.url.host or target.url.port != answer.url.port:
                    break
                answer = client.send(target, follow_redirects=False)
            if answer.is_redirect:
                return answer
            hf_raise_for_status(answer)
            return answer
        except HfHubHTTPError as error:
            if error.response.status_code not in RETRIED_STATUS or wait is None:
                raise_for_user(error, repo, revision)
            pause = max(wait, retry_after(error.response) or 0.0)
            if pause > retry.longest:
                raise_for_user(error, repo, revision)
            say(f"{endpoint()} answers {error.response.status_code}; trying again in {pause:.0f} s")
            time.sleep(pause)
        except (httpx.ReadError, httpx.RemoteProtocolError) as error:
            # A connection that broke in the middle, not one that could not be made: worth another try.
            if wait is None:
                raise_for_user(error, repo, revision)
            time.sleep(wait)
        except (httpx.HTTPError, httpx.InvalidURL, OfflineModeIsEnabled, OSError) as error:
            raise_for_user(error, repo, revision)
    raise AssertionError("the last try returns or raises")


def raise_for_user(error: Exception, repo: str, revision: str, file: str = "") -> NoReturn:
    """Turn what huggingface_hub or its HTTP client raised into an error that says what to do."""
    hub = endpoint()
    what = f"{repo}:{file}" if file else repo
    if isinstance(error, OfflineModeIsEnabled):
        raise UnreachableError("HF_HUB_OFFLINE is set") from error
    if isinstance(error, GatedRepoError):
        raise DownloadError(
            f"{repo} is gated: open {hub}/{repo} in a browser and accept its terms, then set HF_TOKEN to a "
            f"token of {hub}/settings/tokens (or run `hf auth login`) and try again"
        ) from error
    if isinstance(error, RevisionNotFoundError):
        raise ModelNotFoundError(f"{repo} has no revision {revision!r} on {hub}; `main` is the usual one") from error
    if isinstance(error, RemoteEntryNotFoundError):
        raise ModelNotFoundError(f"{what} is not on {hub} any more; look at {hub}/{repo}/tree/main") from error
    if isinstance(error, RepositoryNotFoundError):
        raise ModelNotFoundError(
            f"there is no model {repo} on {hub}, or it is private; check the spelling at {hub}/models, and "
            "for a private one set HF_TOKEN"
        ) from error
    if isinstance(error, HfHubHTTPError):
        raise DownloadError(_status_message(error, what, hub)) from error
    if isinstance(error, httpx.ProxyError):
        raise UnreachableError(f"the proxy refused the way to {hub} ({error}); look at HTTPS_PROXY") from error
    if isinstance(error, httpx.TransportError):
        raise UnreachableError(_transport_message(error, hub)) from error
    raise DownloadError(f"{what} could not be fetched from {hub}: {error}") from error


def _status_message(error: HfHubHTTPError, what: str, hub: str) -> str:
    status = error.response.status_code
    if status == 401:
        return f"{hub} refused the token (401) for {what}; set HF_TOKEN to a valid one, or unset it"
    if status == 403:
        return f"{hub} forbids {what} (403); the token in HF_TOKEN needs read access to it"
    if status == 429:
        wait = retry_after(error.response)
        when = f"in {wait:.0f} s" if wait else "in some minutes"
        return f"{hub} limits the rate of requests (429); try again {when}, or set HF_TOKEN for a higher limit"
    if status >= 500:
        return f"{hub} has a fault of its own ({status}) for {what}; what has arrived is kept, try again later"
    return f"{hub} answers {status} for {what}: {error.server_message or error}"


def _transport_message(error: httpx.TransportError, hub: str) -> str:
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        return f"the certificate of {hub} is not trusted here; set SSL_CERT_FILE to your network's CA bundle"
    if isinstance(error, httpx.TimeoutException):
        return f"{hub} does not answer in time"
    return f"{hub} cannot be reached ({error})"
