"""The files that a port with TLS needs; they are read where the port is opened."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class TLSFiles:
    """Three PEM files.

    Attributes:
        certificate: The port's own certificate, with those between it and the authority, if there are any.
        key: Its private key.
        authority: The certificate of the authority that signed it, which whoever connects trusts.
    """

    certificate: Path
    key: Path
    authority: Path
