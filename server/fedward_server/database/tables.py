"""All tables together, as migrations and their test see them."""

from sqlalchemy import MetaData

from fedward_server.database.base import Base
from fedward_server.keys.rows import ApiKeyRow
from fedward_server.runs.rows import EventRow, RunRow
from fedward_server.scheduler.leadership import LeadershipRow
from fedward_server.sites.rows import AnswerRow, InvitationRow, SiteRow
from fedward_server.studies.rows import StudyRow

TABLES = (ApiKeyRow, StudyRow, RunRow, EventRow, InvitationRow, SiteRow, AnswerRow, LeadershipRow)


def metadata() -> MetaData:
    """The tables as the code wants them."""
    return Base.metadata
