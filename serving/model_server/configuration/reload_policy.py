"""Who may replace the configuration over the network: it names paths, and models are code."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from serving.model_server.status import Code, StatusError


@dataclass(frozen=True, slots=True)
class ReloadPolicy:
    """What a reload over the network may do. The operator's own file is not asked.

    Attributes:
        loopback_only: nobody but this machine can connect: everything is allowed, as upstream.
        allow_config_reload: the operator allows everything beyond loopback, too.
        allowed_base_paths: otherwise every base path must lie in or below one of these folders,
            links resolved; with none given, every reload is refused.
    """

    loopback_only: bool = True
    allow_config_reload: bool = False
    allowed_base_paths: tuple[Path, ...] = ()

    def check(self, base_paths: Iterable[Path]) -> None:
        """Refuse a reload that is not allowed.

        Args:
            base_paths: all of the new configuration's.

        Raises:
            StatusError: PERMISSION_DENIED; it says what the operator can do.
        """
        if self.loopback_only or self.allow_config_reload:
            return
        if not self.allowed_base_paths:
            raise StatusError(
                Code.PERMISSION_DENIED,
                "A config reload is refused: this server listens beyond loopback, and a model is "
                "code. Its operator can allow it with --allow_config_reload, or for some folders "
                "with --allowed_base_paths.",
            )
        self._check_each(base_paths)

    def _check_each(self, base_paths: Iterable[Path]) -> None:
        roots = [_real(root) for root in self.allowed_base_paths]
        for path in base_paths:
            real = _real(path)
            if not any(real.is_relative_to(root) for root in roots):
                raise StatusError(
                    Code.PERMISSION_DENIED,
                    f"A config reload is refused: base path {str(path)!r} lies below none of the "
                    "folders that --allowed_base_paths names.",
                )


def _real(path: Path) -> Path:
    try:
        return Path(os.path.realpath(path))
    except ValueError as error:  # a null byte
        raise StatusError(Code.PERMISSION_DENIED, f"{str(path)!r} is no path: {error}") from error
