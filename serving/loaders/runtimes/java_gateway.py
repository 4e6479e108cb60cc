"""A Java virtual machine beside this process, for libraries that exist in Java only.

py4j's gateway listens on the loopback interface. Left at its defaults it obeys whoever connects, so
that any user of the machine could run Java code as this one; here it asks for a token. The machine
is a process of its own: it reads this process's pipe and ends when that closes, also after a
`kill -9`; a Ctrl-C at the terminal does not reach it, so that requests in flight are still
answered. A forked child cannot share the connection and starts a machine of its own.
"""

from __future__ import annotations

import atexit
import os
import shutil
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias

from consistency.errors import ConfigError

Java: TypeAlias = Any  # Any: py4j has no types; what it hands out are Java's classes and objects

_LOCK: Final = threading.Lock()


class JavaMachine:
    """Starts one virtual machine a process, at the first use, and again when it has died.

    Args:
        classpath: of the library.
        threads: processors that the machine believes to have.
    """

    def __init__(self, classpath: str, threads: int) -> None:
        self._classpath, self._threads = classpath, threads
        self._gateway: Java | None = None
        self._owner = 0

    def classes(self) -> Java:
        """Return the root of the machine's packages: `.org.pmml4s.model.Model` and so on.

        Raises:
            ConfigError: there is no Java, or it does not start.
        """
        with _LOCK:
            if self._gateway is None or self._owner != os.getpid():
                self._gateway, self._owner = _start(self._classpath, self._threads), os.getpid()
            return self._gateway.jvm

    @property
    def owner(self) -> int:
        """The process that started the machine in use; objects of another one are not valid."""
        return self._owner

    def forget(self) -> None:
        """Let the next use start anew: this machine does not answer any more."""
        with _LOCK:
            gateway, self._gateway = self._gateway, None
        if gateway is not None and self._owner == os.getpid():
            _stop(gateway)


def find_java() -> str:
    """Return the path of the `java` command: `$JAVA_HOME/bin/java`, else the one on `$PATH`.

    Raises:
        ConfigError: there is none.
    """
    home = os.environ.get("JAVA_HOME")
    found = shutil.which("java", path=str(Path(home) / "bin") if home else None)
    if found is None:
        where = f"in JAVA_HOME={home}" if home else "on PATH, and JAVA_HOME is not set"
        raise ConfigError(
            f"no Java {where}; install a Java runtime, version 8 or newer (Debian: apt-get install"
            " default-jre-headless), or export the model in another format"
        )
    return found


def _options(threads: int) -> Sequence[str]:
    # The serial collector starts no threads of its own; deep trees need a deep stack.
    return (f"-XX:ActiveProcessorCount={threads}", "-XX:+UseSerialGC", "-Xss8m")


def _start(classpath: str, threads: int) -> Java:
    from py4j.java_gateway import GatewayParameters, JavaGateway, launch_gateway
    from py4j.protocol import Py4JError

    java = find_java()
    try:
        port, token = launch_gateway(
            classpath=classpath,
            javaopts=list(_options(threads)),
            java_path=java,
            die_on_exit=True,
            create_new_process_group=True,
            enable_auth=True,
        )
    except (OSError, ValueError, Py4JError) as error:
        raise ConfigError(
            f"{java} does not start: {error}; version 8 or newer is needed"
        ) from error
    gateway = JavaGateway(gateway_parameters=GatewayParameters(port=port, auth_token=token))
    owner = os.getpid()
    atexit.register(lambda: _stop(gateway) if os.getpid() == owner else None)
    return gateway


def _stop(gateway: Java) -> None:
    from py4j.protocol import Py4JError

    try:
        gateway.shutdown()
    except (OSError, Py4JError):
        return  # it is gone already
