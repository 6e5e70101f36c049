"""TLS for Dask clusters: only holders of the key can connect, as a connection can run code."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sacd.runs.store import RunError


def own_tls() -> Any:
    """Certificates of one local cluster, None where `cryptography` is not installed.

    Anyone who can reach the port of a scheduler can run code: on a shared machine, every user. With
    these certificates, only this process and its workers can connect.
    """
    from distributed.security import Security  # slow to import

    return Security.temporary() if find_spec("cryptography") else None


def client_tls(cluster: str) -> Any:
    """Certificate and key with which this process connects to a scheduler at a `tls://` address.

    Dask reads their paths from its settings, which variables of the environment set.

    Raises:
        RunError: a path is not set, there is no file, or the files are no certificate with its key.
    """
    from distributed.security import Security  # slow to import

    found = Security()
    files = {"CA_FILE": found.tls_ca_file, "CLIENT__CERT": found.tls_client_cert}
    if found.tls_client_key:  # else it stands in the file of the certificate
        files["CLIENT__KEY"] = found.tls_client_key
    fix = "docs/clusters.md says how to make the files and set the variables"
    for name, path in files.items():
        variable = f"DASK_DISTRIBUTED__COMM__TLS__{name}"
        if not path:
            raise RunError(f"CLUSTER={cluster}: TLS needs {variable}, which is not set; {fix}")
        if not Path(path).is_file():
            raise RunError(f"CLUSTER={cluster}: {variable}={path}: no such file; {fix}")
    try:
        found.get_connection_args("client")
    except OSError as error:  # also what the ssl module raises
        named = ", ".join(dict.fromkeys(map(str, files.values())))
        problem = f"{named}: no certificate with its key that can be read ({error})"
        raise RunError(f"CLUSTER={cluster}: {problem}; {fix}") from None
    return found
