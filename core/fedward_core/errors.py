"""Every error that a user of Fedward may meet.

    FedwardError
      SpecError          the spec contradicts itself, or asks for what does not exist
      DataError          a dataset, a file or a card cannot be used
      UpdateError        what a site sent cannot be used
      CheckpointError    a checkpoint is damaged, foreign or cannot be written
        UntrainedError   what should be evaluated was never trained
        BusyError        another process is at work where this one would write
      PrivateStateError  a site lacks the private state that an order builds on
      DivergedError      the loss or the weights are no longer finite
      RoundError         a round ended without a result
        QuorumError      too few sites contributed before the deadline

Messages say what was expected, what was found and what to do. They speak of sites, runs and counts, never of pixels,
report text, patients or paths at a hospital. Broken invariants of our own are assertions, not these.
"""

from pathlib import Path


class FedwardError(Exception):
    """The root: something that a message can explain to a person."""


class SpecError(FedwardError):
    """A spec contradicts itself, or asks for what does not exist."""


class DataError(FedwardError):
    """A dataset, a file or a card cannot be used."""


class UpdateError(FedwardError):
    """What a site sent cannot be used; the site is left out of the round."""


class CheckpointError(FedwardError):
    """A checkpoint is damaged, belongs to another run or architecture, or cannot be written."""


class UntrainedError(CheckpointError):
    """What should be evaluated was never trained, so that figures of it would say nothing."""


class BusyError(CheckpointError):
    """Another process is at work where this one would write; once that has ended, nothing is wrong."""


class PrivateStateError(FedwardError):
    """A site lacks the private state that an order builds on; the server then lets it join anew."""


class DivergedError(FedwardError):
    """The loss or the weights are no longer finite; the message names round and step, nothing of the data."""


class RoundError(FedwardError):
    """A round ended without a result."""


class QuorumError(RoundError):
    """Too few sites contributed before the deadline."""


def without_folder(error: Exception, path: Path) -> str:
    """What an error says of a file, without the folder that the file lies in: for messages that may leave a machine."""
    return str(error).replace(str(path), path.name)
