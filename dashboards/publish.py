"""The one place that talks to Grafana: a thin adapter around grafana-api.

grafana-api 1.0.3 is no longer supported upstream. What the house needs of it is here: find a
folder, read a board, write a board; everything else stays away from it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

TIMEOUT_SECONDS: Final = 10.0
ROOT_FOLDER: Final = "General"
"""Grafana's name for the place of boards that are in no folder; its uid is empty."""


class GrafanaError(Exception):
    """Grafana could not be reached, or refused; the message says what to do.

    Attributes:
        status: of Grafana's answer, None when there was none.
    """

    def __init__(self, message: str, status: int | None = None) -> None:
        self.status = status
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class StoredBoard:
    """A board as Grafana holds it.

    Attributes:
        content: with the `id` and `version` that Grafana gave it.
        folder_uid: empty for the root.
    """

    content: Mapping[str, Any]
    folder_uid: str


class Grafana:
    """One Grafana server, for one token.

    Args:
        url: of its start page, for example ``https://grafana.example.org/sub/path``.
        token: of a service account that may write boards.

    Attributes:
        url: as it was given.
        is_open: the token goes over a network without TLS.

    Raises:
        GrafanaError: when the URL is none.
    """

    def __init__(self, url: str, token: str) -> None:
        from grafana_api.grafana_face import GrafanaFace

        address = _address(url)
        self.url = url
        self.is_open = address["protocol"] == "http" and address["host"] not in _LOOPBACK
        self._api = GrafanaFace(auth=token, timeout=TIMEOUT_SECONDS, **address)

    def folders(self) -> dict[str, str]:
        """Return the folders that the token may see: uid to title."""
        with self._asking("list the folders"):
            return {f["uid"]: f["title"] for f in self._api.folder.get_all_folders()}

    def create_folder(self, title: str) -> str:
        """Create a folder and return its uid."""
        with self._asking(f"create the folder {title!r}"):
            return str(self._api.folder.create_folder(title)["uid"])

    def board(self, uid: str) -> StoredBoard | None:
        """Return a board, or None when Grafana has none of that uid."""
        try:
            with self._asking(f"read the board {uid!r}"):
                answer = self._api.dashboard.get_dashboard(uid)
        except GrafanaError as e:
            if e.status == 404:
                return None
            raise
        return StoredBoard(answer["dashboard"], answer["meta"].get("folderUid") or "")

    def save(self, content: Mapping[str, Any], folder_uid: str, stored: StoredBoard | None) -> None:
        """Write a board; Grafana refuses when it was changed since `stored` was read."""
        version = {} if stored is None else {"version": stored.content["version"]}
        document = {
            "dashboard": {**content, "id": None, **version},
            "folderUid": folder_uid,
            "message": "samescore dashboards publish",
            "overwrite": False,
        }
        with self._asking(f"write the board {content['uid']!r}"):
            self._api.dashboard.update_dashboard(document)

    @contextmanager
    def _asking(self, what: str) -> Iterator[None]:
        """Turn grafana-api's errors, and those of its HTTP library, into ours."""
        from grafana_api.grafana_api import GrafanaException

        try:
            yield
        except GrafanaException as e:
            problem = f"cannot {what} on {self.url}: {e.message}"
            raise GrafanaError(f"{problem}; {_remedy(e.status_code)}", e.status_code) from e
        # The HTTP library's errors are OSErrors; JSON that is not Grafana's gives the rest.
        except OSError as e:
            raise GrafanaError(
                f"cannot {what} on {self.url}: {_reason(e)}; is Grafana running at this address, "
                f"and does it answer with JSON?"
            ) from e
        except (ValueError, KeyError, TypeError) as e:
            raise GrafanaError(
                f"cannot {what}: {self.url} does not answer as Grafana does ({e!r}); give the URL "
                f"of Grafana's start page"
            ) from e


_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})


def _address(url: str) -> dict[str, Any]:
    """Return a URL in the pieces that grafana-api wants."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as e:
        raise GrafanaError(f"--url {url!r} is no address of Grafana: {e}; {_FORM}") from e
    if "@" in parts.netloc:
        raise GrafanaError(
            f"--url holds credentials; {_FORM}, and put a token into the environment"
        )
    host = parts.hostname
    if parts.scheme not in {"http", "https"} or not host or parts.query or parts.fragment:
        raise GrafanaError(f"--url {url!r} is no address of Grafana: {_FORM}")
    path = parts.path.strip("/")
    return {
        "protocol": parts.scheme,
        "host": f"[{host}]" if ":" in host else host,
        "port": port,
        "url_path_prefix": f"{path}/" if path else "",
    }


_FORM: Final = "write it as http(s)://host[:port][/path]"


def _remedy(status: int) -> str:
    return _REMEDIES.get(status, "Grafana's own log has more")


_REMEDIES: Final = {
    400: "if the board is provisioned from a file, change that file instead",
    401: "the token is unknown or has expired: make a new one for a service account",
    403: "the token's service account needs the role Editor, or the right to write in this folder",
    404: "is the URL that of Grafana's start page?",
    412: "somebody changed it meanwhile, or the folder holds another board of this title: look at "
    "it in Grafana, then publish again",
}


def _reason(error: OSError) -> str:
    """Return the cause of a failed connection without the HTTP library's wrapping."""
    text = str(error)
    if "refused" in text:
        return "connection refused"
    return text or type(error).__name__
