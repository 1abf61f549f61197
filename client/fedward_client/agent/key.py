"""The site's key: made here, kept here, and used to prove who a node is and to sign what the steward approves.

An elliptic key on the curve P-384, as Flower's node authentication takes, in OpenSSH's format, which Flower reads.
"""

from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    SECP384R1,
    EllipticCurvePrivateKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_ssh_private_key,
)

from fedward_client.agent.errors import AgentError
from fedward_core.atomic import write_secret

OTHERS = 0o077  # the permissions of everybody but the file's owner


class SiteKey:
    """A private key.

    Args:
        key: The key.
    """

    def __init__(self, key: EllipticCurvePrivateKey) -> None:
        self._key = key

    @classmethod
    def make(cls, path: Path) -> "SiteKey":
        """Make a key and write it to a file that only its owner can read."""
        key = generate_private_key(SECP384R1())
        write_secret(path, key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
        return cls(key)

    @classmethod
    def read(cls, path: Path) -> "SiteKey":
        """Read a key.

        Raises:
            AgentError: There is none, it is damaged, or others can read it.
        """
        try:
            if path.stat().st_mode & OTHERS:
                raise AgentError("others can read the site's key: chmod 600 key.pem in its home folder")
            key = load_ssh_private_key(path.read_bytes(), password=None)
        except FileNotFoundError:
            raise AgentError("there is no key here: enrol the site first, with `fedward agent enrol`") from None
        except OSError as error:
            raise AgentError(f"the site's key cannot be read ({error.strerror}): is this the agent's user?") from None
        except (ValueError, UnsupportedAlgorithm):
            raise AgentError("the site's key is damaged: restore it, or enrol the site anew") from None
        if not isinstance(key, EllipticCurvePrivateKey):
            raise AgentError("the site's key is of another kind than `fedward agent enrol` makes: enrol the site anew")
        return cls(key)

    @property
    def public_pem(self) -> str:
        """The public half, which may be told."""
        public = self._key.public_key()
        return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode("ascii")

    def sign(self, message: bytes) -> str:
        """A signature, in hexadecimal."""
        return self._key.sign(message, ECDSA(SHA384())).hex()

    def has_signed(self, message: bytes, signature: str) -> bool:
        """Whether a signature is this key's, over this message."""
        try:
            self._key.public_key().verify(bytes.fromhex(signature), message, ECDSA(SHA384()))
        except (InvalidSignature, ValueError):
            return False
        return True
